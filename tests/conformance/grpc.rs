//! gRPC: calls in both engines, streams from Wasm, which alone has them.

use std::net::SocketAddr;

use harness::{Certificate, Edge, Grpc, Origin, list};

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

pub const CALL: &str = r#"
local plugin = {}
local function call()
  local header = forebay.request.headers.get
  local message = header("x-size") and ("x"):rep(tonumber(header("x-size"))) or header("x-message") or "hi"
  local answer, why = forebay.grpc.call(header("x-target") or "side", {
    service = "test.Echo", method = header("x-method"), message = message, metadata = { ["x-ask"] = "1" },
    timeout = (header("x-timeout") or 5000) / 1000,
  })
  if not answer then return why.code end
  local told = #answer.message > 200 and #answer.message .. " bytes" or answer.message
  return answer.status .. " " .. told .. (answer.text or "")
end
local how
function plugin.on_configure(config) how = config end
function plugin.on_request_headers()
  if how ~= "grpc response" then forebay.request.headers.set("x-told", call()) end
end
function plugin.on_response_headers()
  if how == "grpc response" then forebay.response.headers.set("x-told", call()) end
end
return plugin
"#;

pub const BACKGROUND: &str = r#"
local plugin = {}
local function call(of)
  local answer = assert(forebay.grpc.call("side", {
    service = "test.Echo", method = "Echo", message = "hi", metadata = { ["x-ask"] = "1" }, timeout = 5,
  }))
  forebay.log.info("case grpc: " .. of .. ": " .. answer.status .. " " .. answer.message)
end
local ticks
function plugin.on_configure(config)
  if config == "grpc tick" then forebay.timer.every(0.02) end
end
function plugin.on_tick()
  if not ticks then ticks = true; call("tick") end
end
local log = {}
function plugin.on_log()
  if forebay.request.headers.get("x-log") then call("log") end
end
return plugin
"#;

/// Granted, and a second plugin's worth of names beside.
pub fn grpc(lua: &str, how: &str) -> Plugin {
    plugin("grpc", lua).words(&format!("grpc {how}")).keys("    capabilities: [\"callout:side\", \"callout:plain\"]")
}

pub struct Scene {
    pub edge: Edge,
    pub shop: Origin,
}

impl Scene {
    /// Two pools beside: one that speaks HTTP/2, and one that does not.
    fn start(engine: Engine, plugin: Plugin, server: &Grpc) -> Scene {
        Scene::before(engine, plugin, server.address)
    }

    pub fn before(engine: Engine, plugin: Plugin, server: SocketAddr) -> Scene {
        let shop = Origin::saying("ok");
        let pools = format!(
            "  - name: side\n    http2: true\n    origins: {0}\n  - name: plain\n    origins: {0}\n",
            list(&[server])
        );
        let edge = setup(&[(engine, plugin)], shop.address, None).also(&pools).start();
        Scene { edge, shop }
    }

    /// What the plugin was told.
    #[track_caller]
    pub fn ask(&self, headers: &[(&str, &str)]) -> String {
        let mut client = self.edge.connect();
        client.request("GET", "/x", headers, b"");
        assert_eq!(client.response().text(), "ok");
        self.shop.last().headers.get("x-told").unwrap_or_default().to_owned()
    }
}

/// A stream of the guest's, as it was told.
#[track_caller]
fn stream(how: &str) -> (Scene, Grpc, String) {
    let server = Grpc::start();
    let scene = Scene::start(Engine::Wasm, grpc("return {}", how).keys("    limits: {exchange_cpu: 10s}"), &server);
    let told = scene.ask(&[]);
    (scene, server, told)
}

on_both_engines! {
    fn a_call_brings_its_message_or_its_status(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(CALL, "call"), &server);
        let told = [
            ("Echo", "0 hi"),
            ("Fail", "5 no such"),
            ("Only", "7 not you"),
            ("Proxy", "14 HTTP status 503"),
            ("Compressed", "13 a compressed message, which nobody asked for"),
            ("Large", "8 a message of 2097152 bytes (allowed: 1048576, the plugin's limit buffer)"),
            ("Twice", "13 more than one message"),
            ("None", "13 it ended well and without a message"),
            ("Nothing", "12 no such method"),
        ];
        for (method, wanted) in told {
            let told = scene.ask(&[("x-method", method)]);
            // A status without trailers of a message has none of either.
            assert!(told == wanted || told.starts_with(wanted), "{method}: {told}");
        }
        let broken = scene.ask(&[("x-method", "Break")]);
        assert!(broken.starts_with("13 it was broken off"), "{broken}");
        let line = server.wait_for("Echo content-type=application/grpc te=trailers grpc-timeout=5000m x-ask=1");
        assert!(line.ends_with(":authority=side :path=/test.Echo/Echo hi"), "{line}");
        assert_eq!(scene.edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_call_ends_at_its_deadline_and_is_reset(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(CALL, "call"), &server);
        let told = scene.ask(&[("x-method", "Never"), ("x-timeout", "200")]);
        assert_eq!(told, "4 no end of it within 200ms");
        server.wait_for("grpc-timeout=200m");
        server.wait_for("Never dropped");
        assert_eq!(scene.ask(&[("x-method", "Echo")]), "0 hi", "the connection serves on");
    }

    fn an_upstream_that_is_none_is_told_apart_from_one_that_is_not_granted(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(CALL, "call"), &server);
        let ask = |target| scene.ask(&[("x-method", "Echo"), ("x-target", target)]);
        let wanted = match engine {
            Engine::Lua => ["NOT_FOUND", "CAPABILITY_DENIED", "UNAVAILABLE"],
            // Envoy's answer to a cluster that it does not know; ours to the others.
            _ => ["code 4", "code 2", "code 10"],
        };
        assert_eq!([ask("nobody"), ask("shop"), ask("plain")], wanted);
        assert_eq!(server.seen(), Vec::<String>::new());
    }

    fn a_tick_may_call(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(BACKGROUND, "tick"), &server);
        scene.edge.process.wait_for_log(&["case grpc: tick: 0 hi"]);
    }

    fn a_log_may_call_when_the_client_has_its_answer(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(BACKGROUND, "log"), &server);
        scene.ask(&[("x-log", "1")]);
        scene.edge.process.wait_for_log(&["case grpc: log: 0 hi"]);
    }

    fn a_call_that_waits_ends_with_its_exchange(engine) {
        let server = Grpc::start();
        let scene = Scene::start(engine, grpc(CALL, "call"), &server);
        let mut client = scene.edge.connect();
        client.request("GET", "/x", &[("x-method", "Never"), ("x-timeout", "60000")], b"");
        server.wait_for("Never content-type");
        drop(client);
        server.wait_for("Never dropped");
        assert_eq!(scene.shop.requests(), 0);
    }

    fn calls_count_as_callouts(engine) {
        let server = Grpc::start();
        let plugin = grpc(CALL, "call").keys("    limits: {callouts: 0}");
        let scene = Scene::start(engine, plugin, &server);
        let mut client = scene.edge.connect();
        client.request("GET", "/x", &[("x-method", "Echo")], b"");
        assert_eq!(client.response().status, 503);
        scene.edge.process.wait_for_log(&["CALLOUT", "more than 0 callouts"]);
        assert_eq!(server.seen(), Vec::<String>::new());
    }
}

#[test]
fn a_cluster_in_a_message_of_envoys_is_a_name() {
    let server = Grpc::start();
    let scene = Scene::start(Engine::Wasm, grpc("return {}", "call"), &server);
    let ask = |target| scene.ask(&[("x-method", "Echo"), ("x-target", target), ("x-proto", "1")]);
    assert_eq!([ask("side"), ask("nobody"), ask("shop")], ["code 0", "code 4", "code 2"]);
    server.wait_for("Echo content-type");
}

#[test]
fn a_stream_goes_both_ways_and_ends_with_trailers_and_a_status() {
    let (_scene, server, told) = stream("chat");
    assert_eq!(told, "first one|re:one|re:two|last true 2|closed 0");
    assert_eq!(server.seen(), ["Chat got one", "Chat got two", "Chat ended"]);
}

#[test]
fn a_stream_that_is_closed_ends_on_this_side_only() {
    let (_scene, server, told) = stream("close");
    assert_eq!(told, "first one|re:one|last true 1|closed 0");
    assert_eq!(server.seen(), ["Chat got one", "Chat ended"]);
}

#[test]
fn a_stream_that_is_cancelled_is_reset_and_tells_nothing_more() {
    let (scene, server, told) = stream("cancel");
    assert_eq!(told, "first one|re:one|cancelled");
    let reset = server.wait_for("Chat reset");
    assert!(reset.contains("no longer needed"), "the reason is CANCEL: {reset}");
    assert!(!scene.edge.process.log_has("case grpc: late"));
}

#[test]
fn a_stream_that_is_left_ends_with_its_exchange() {
    let (scene, server, _) = stream("abandon");
    let reset = server.wait_for("Chat reset");
    assert!(reset.contains("no longer needed"), "the reason is CANCEL: {reset}");
    assert_eq!(scene.edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

#[test]
fn a_stream_that_the_server_resets_is_closed_as_internal() {
    let (_scene, _server, told) = stream("break");
    assert!(told.starts_with("first one|half|last false |closed 13 it was broken off: "), "{told}");
}

#[test]
fn a_stream_that_brings_nothing_but_trailers_has_no_initial_metadata() {
    let (_scene, _server, told) = stream("only");
    assert_eq!(told, "first |last true |closed 7 not you");
}

#[test]
fn a_stream_that_floods_is_read_as_it_is_told_and_can_be_cancelled() {
    let (scene, server, told) = stream("flood");
    assert_eq!(told, "first one|cancelled");
    server.wait_for("Flood dropped");
    assert!(!scene.edge.process.log_has("case grpc: late"));
}

#[test]
fn what_nobody_reads_is_refused_at_the_buffer_limit() {
    let (_scene, server, told) = stream("deaf");
    // In one callback nothing goes out: 16 pieces of 64 KiB are the limit, and the 17th is refused.
    assert_eq!(told, "refused 2 after 16|true|Some(NotFound)");
    assert!(!server.seen().iter().any(|line| line.contains("got")));
}

#[test]
fn a_target_is_called_over_tls_with_alpn_or_in_cleartext_as_it_says() {
    let folder = harness::Folder::new();
    let certificate = Certificate::write(folder.path());
    let (clear, tls) = (Grpc::start(), Grpc::start_tls(&certificate, &[b"h2"]));
    let old = Grpc::start_tls(&certificate, &[b"http/1.1"]);
    let shop = Origin::saying("ok");
    let roots = certificate.certificate.display();
    let target = |name: &str, port: u16, more: &str| {
        format!("  - name: {name}\n    address: localhost:{port}\n    tls: {{roots: {roots}}}\n{more}")
    };
    let targets = format!(
        "targets:\n  - name: clear\n    address: {}\n    http2: true\n    path_prefix: /test.Echo\n{}{}{}",
        clear.address,
        target("far", tls.address.port(), "    http2: true\n"),
        target("old", old.address.port(), "    http2: true\n"),
        target("one", tls.address.port(), ""),
    );
    let plugin = plugin("grpc", CALL)
        .keys("    capabilities: [\"callout:clear\", \"callout:far\", \"callout:old\", \"callout:one\"]");
    let edge = setup(&[(Engine::Lua, plugin)], shop.address, None).also(&targets).start();
    let scene = Scene { edge, shop };
    let ask = |target: &str| scene.ask(&[("x-method", "Echo"), ("x-target", target)]);
    assert_eq!([ask("clear"), ask("far"), ask("far")], ["0 hi", "0 hi", "0 hi"]);
    // By its address, as other hosts name it.
    assert_eq!(ask(&format!("dns:///{}", clear.address)), "0 hi");
    assert_eq!(ask("one"), "UNAVAILABLE", "a target without http2");
    let old = ask("old");
    assert!(old.starts_with("14 ") && (old.contains("ALPN") || old.contains("NoApplicationProtocol")), "{old}");
    let line = tls.wait_for("Echo content-type");
    assert!(line.contains(&format!(":authority=localhost:{}", tls.address.port())), "{line}");
}
