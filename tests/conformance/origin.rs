//! Which origin gets a request: chosen by plugins among the members of the region's pools, and
//! never past them.

use std::net::SocketAddr;

use harness::{Edge, Origin, PATIENCE, Port, Response, Setup, list, wait_until};

use crate::pair::{Engine, Plugin, on_both_engines, plugin};

/// Does what the request's headers say: `x-early-pool` in the request phase, `x-pool`, `x-host` and
/// `x-exclude` before the first attempt, `x-again-pool` before the second. The second word of the
/// configuration stands in place of `x`.
const ORIGIN: &str = r#"
local plugin = {}
local origin, header, log = forebay.origin, forebay.request.headers, forebay.log.info
local prefix

local function said(call, argument, ok, why)
  log("case origin: " .. call .. " " .. argument .. " " .. (ok and "done" or why.code .. " " .. why.message))
end
local function steer(when)
  local pool, host = header.get(when .. "pool"), header.get(when .. "host")
  if pool then said("set_pool", pool, origin.set_pool(pool)) end
  for _, address in ipairs(header.get_all(when .. "exclude")) do
    said("exclude", address, origin.exclude(address))
  end
  if host then said("set_host", host, origin.set_host(host)) end
end
local function got()
  local picked = origin.get()
  return picked and picked.address .. " " .. picked.pool .. " " .. picked.attempt or "nobody"
end

function plugin.on_configure(config)
  prefix = config:match("^origin (%S+)") or "x"
end
function plugin.on_request_headers()
  steer(prefix .. "-early-")
end
function plugin.on_origin_select(pool, attempt)
  log("case origin: select " .. pool .. " " .. attempt .. " after " .. got())
  if header.get("x-fault") == tostring(attempt) then error("a sentence of the plugin") end
  steer(prefix .. (attempt == 1 and "-" or "-again-"))
end
function plugin.on_response_headers()
  forebay.response.headers.set("x-origin", got())
  local lines = {}
  for _, one in ipairs(origin.stats() or {}) do
    local known = one.latency and one.latency > 0 and one.latency < 60 and "measured" or "unmeasured"
    lines[#lines + 1] = ("%s %s %s %d %d %d %s"):format(one.address, one.stage, tostring(one.healthy),
      one.share * 100, one.in_flight, one.requests, known)
  end
  forebay.response.headers.set("x-stats", table.concat(lines, ","))
end
function plugin.on_log()
  log("case origin: log " .. got())
end
return plugin
"#;

const GRANTS: &str = "    capabilities: [origin.select, \"origin:side\"]";

fn steering() -> Plugin {
    plugin("origin", ORIGIN)
}

/// An edge with these plugins before the pool `shop`; `keys` are more of it, indented by four.
fn before(plugins: &[(Engine, Plugin)], shop: &[SocketAddr], side: SocketAddr, keys: &str) -> Edge {
    let entries: String = plugins.iter().map(|(engine, plugin)| plugin.entry(*engine)).collect();
    let names: Vec<_> = plugins.iter().map(|(_, plugin)| plugin.name).collect();
    let mut setup = Setup::new(format!(
        "plugins:\n{entries}routes:\n  - {{name: all, plugins: [{}], pool: shop}}\npools:\n  - name: shop\n    \
         origins: {}\n{keys}  - name: side\n    origins: {}\n",
        names.join(", "),
        list(shop),
        list(&[side])
    ));
    for (_, plugin) in plugins.iter().filter(|(engine, _)| *engine == Engine::Lua) {
        setup = setup.file(&format!("{}.lua", plugin.name), &plugin.lua);
    }
    setup.start()
}

fn ask(edge: &Edge, headers: &[(&str, &str)]) -> Response {
    let mut client = edge.connect();
    client.request("GET", "/a", headers, b"");
    client.response()
}

/// Waits for the line of a call that was refused with this text, and reads its code.
#[track_caller]
fn refused(edge: &Edge, engine: Engine, call: &str, code: (&str, &str), message: &str) {
    let code = if engine == Engine::Lua { code.0 } else { code.1 };
    edge.process.wait_for_log(&["case origin: ", call, &format!(" {code}")]);
    edge.process.wait_for_log(&[message]);
}

const BAD_ARGUMENT: (&str, &str) = ("BAD_ARGUMENT", "2");
const CAPABILITY_DENIED: (&str, &str) = ("CAPABILITY_DENIED", "100");
const UNAVAILABLE: (&str, &str) = ("UNAVAILABLE", "104");

on_both_engines! {
    fn a_request_goes_to_the_pool_that_a_plugin_chose(engine) {
        let (shop, side) = (Origin::saying("shop"), Origin::saying("side"));
        let edge = before(&[(engine, steering().keys(GRANTS))], &[shop.address], side.address, "");
        assert_eq!(ask(&edge, &[]).text(), "shop");
        for (n, header) in ["x-pool", "x-early-pool"].into_iter().enumerate() {
            let response = ask(&edge, &[(header, "side")]);
            assert_eq!(response.text(), "side", "{header}");
            assert_eq!(response.header("x-origin"), Some(&*format!("{} side 1", side.address)));
            wait_until("the pool that was asked is counted", PATIENCE, || {
                let counted = edge.metrics().sum("forebay_requests_total", &["pool=\"side\""]);
                (counted == n as f64 + 1.0).then_some(())
            });
        }
        edge.process.wait_for_log(&["case origin: select shop 1 after nobody"]);
        edge.process.wait_for_log(&["case origin: select side 1 after nobody"]);
        edge.process.wait_for_log(&[&format!("case origin: log {} side 1", side.address)]);
        assert_eq!((shop.requests(), side.requests()), (1, 2));
    }

    fn another_pool_takes_a_grant_of_its_own(engine) {
        let (shop, side) = (Origin::saying("shop"), Origin::saying("side"));
        let plugin = steering().keys("    capabilities: [origin.select]");
        let edge = before(&[(engine, plugin)], &[shop.address], side.address, "");
        assert_eq!(ask(&edge, &[("x-pool", "side")]).text(), "shop");
        refused(&edge, engine, "set_pool", CAPABILITY_DENIED, "origin.set_pool: capability origin:side is not granted");
        assert_eq!(side.requests(), 0);
        let edge = before(&[(engine, steering().keys(GRANTS))], &[shop.address], side.address, "");
        assert_eq!(ask(&edge, &[("x-pool", "shpo")]).text(), "shop");
        refused(&edge, engine, "set_pool", CAPABILITY_DENIED, "origin.set_pool: capability origin:shpo is not granted");
    }

    fn nothing_of_it_is_granted_by_default(engine) {
        let (shop, side) = (Origin::saying("shop"), Origin::saying("side"));
        let edge = before(&[(engine, steering())], &[shop.address], side.address, "");
        let response = ask(&edge, &[("x-exclude", &shop.address.to_string())]);
        assert_eq!((response.status, response.header("x-origin"), response.header("x-stats")), (200, Some("nobody"), Some("")));
        refused(&edge, engine, "exclude", CAPABILITY_DENIED, "origin.exclude: capability origin.select is not granted");
    }

    fn a_chosen_host_gets_the_request_if_it_is_in_the_pool_and_only_then(engine) {
        let (shops, side) = ([(); 3].map(|()| Origin::saying("shop")), Origin::saying("side"));
        let addresses = shops.each_ref().map(|shop| shop.address);
        let edge = before(&[(engine, steering().keys(GRANTS))], &addresses, side.address, "");
        for n in 1..=6 {
            let response = ask(&edge, &[("x-host", &addresses[1].to_string())]);
            assert_eq!(response.header("x-origin"), Some(&*format!("{} shop 1", addresses[1])));
            assert_eq!(shops[1].requests(), n, "each of them");
        }
        // An origin of another pool, and an address that the region does not know.
        for stranger in [side.address.to_string(), "169.254.169.254:80".to_owned()] {
            let response = ask(&edge, &[("x-host", &stranger)]);
            assert_eq!((response.status, response.text()), (200, "shop"), "the balance stands");
            let message = format!("origin.set_host: {stranger} is not in pool \\\"shop\\\"; in it are: ");
            refused(&edge, engine, "set_host", BAD_ARGUMENT, &message);
        }
        assert_eq!(side.requests(), 0);
        assert_eq!(ask(&edge, &[("x-host", "shop.test:80")]).status, 200);
        refused(&edge, engine, "set_host", BAD_ARGUMENT, "is no address; allowed: IP:PORT");
        let both = [("x-pool", "side"), ("x-host", &*side.address.to_string())];
        assert_eq!(ask(&edge, &both).text(), "side", "the pool that is chosen counts");
    }

    fn what_is_excluded_gets_nothing_and_if_that_is_all_the_answer_is_503(engine) {
        let (shops, side) = ([(); 3].map(|()| Origin::saying("shop")), Origin::saying("side"));
        let addresses = shops.each_ref().map(|shop| shop.address.to_string());
        let edge = before(&[(engine, steering().keys(GRANTS))], &shops.each_ref().map(|s| s.address), side.address, "");
        let two = [("x-exclude", &*addresses[0]), ("x-exclude", &*addresses[2])];
        (0..6).for_each(|_| assert_eq!(ask(&edge, &two).status, 200));
        assert_eq!(shops.each_ref().map(Origin::requests), [0, 6, 0]);
        let mut all = two.to_vec();
        all.push(("x-early-exclude", &addresses[1]));
        let response = ask(&edge, &all);
        assert_eq!((response.status, response.header("x-forebay-reject")), (503, Some("no_origin")));
        assert!(!response.text().contains("plugins"), "that is for the operator");
        edge.process.wait_for_log(&["no_origin", "plugins excluded 3 of the 3 that could"]);
        edge.process.wait_for_log(&["case origin: log nobody"]);
        assert_eq!(shops.each_ref().map(Origin::requests), [0, 6, 0]);
        assert_eq!(ask(&edge, &[]).status, 200, "it was of that exchange alone");
        let chosen = [("x-early-exclude", &*addresses[0]), ("x-host", &addresses[0])];
        assert_eq!(ask(&edge, &chosen).status, 200);
        refused(&edge, engine, "set_host", UNAVAILABLE, &format!("{} is excluded for this exchange", addresses[0]));
    }

    fn a_retry_asks_again_and_may_go_to_another_pool(engine) {
        let (nobody, side) = (Port::free(), Origin::saying("side"));
        let edge = before(&[(engine, steering().keys(GRANTS))], &[nobody.address], side.address, "");
        let response = ask(&edge, &[("x-again-pool", "side")]);
        assert_eq!((response.status, response.text()), (200, "side"));
        assert_eq!(response.header("x-origin"), Some(&*format!("{} side 2", side.address)));
        edge.process.wait_for_log(&[&format!("case origin: select shop 2 after {} shop 1", nobody.address)]);
        let again = ask(&edge, &[("x-again-host", &nobody.address.to_string())]);
        assert_eq!((again.status, again.header("x-forebay-reject")), (502, Some("origin_unreachable")));
        refused(&edge, engine, "set_host", UNAVAILABLE, &format!("{} has just failed", nobody.address));
        let metrics = edge.metrics();
        assert_eq!(metrics.sum("forebay_pool_errors_total", &["pool=\"shop\""]), 2.0);
        assert_eq!(metrics.sum("forebay_pool_requests_total", &["pool=\"side\""]), 1.0);
        assert_eq!(metrics.sum("forebay_pool_errors_total", &["pool=\"side\""]), 0.0);
        assert_eq!(metrics.sum("forebay_pool_in_flight", &[]), 0.0);
    }

    fn of_several_plugins_the_last_word_wins_and_what_they_exclude_adds_up(engine) {
        let (shops, side) = ([(); 3].map(|()| Origin::saying("shop")), Origin::saying("side"));
        let addresses = shops.each_ref().map(|shop| shop.address.to_string());
        let other = if engine == Engine::Lua { Engine::Wasm } else { Engine::Lua };
        let second = Plugin { name: "later", ..steering().words("origin y") };
        let chain = [(engine, steering().keys(GRANTS)), (other, second.keys(GRANTS))];
        let edge = before(&chain, &shops.each_ref().map(|shop| shop.address), side.address, "");
        let response = ask(&edge, &[("x-host", &addresses[0]), ("y-host", &addresses[2])]);
        assert_eq!(response.header("x-origin"), Some(&*format!("{} shop 1", addresses[2])));
        for _ in 0..4 {
            let response = ask(&edge, &[("x-exclude", &addresses[0]), ("y-exclude", &addresses[2])]);
            assert_eq!(response.header("x-origin"), Some(&*format!("{} shop 1", addresses[1])));
        }
        // The second is told what the first chose, and takes it back.
        let response = ask(&edge, &[("x-pool", "side"), ("y-pool", "shop")]);
        assert_eq!(response.text(), "shop");
        edge.process.wait_for_log(&["case origin: select side 1 after nobody"]);
        assert_eq!(side.requests(), 0);
    }

    fn statistics_say_who_is_there_and_how_busy(engine) {
        let (shops, side) = ([(); 2].map(|()| Origin::saying("shop")), Origin::saying("side"));
        let addresses = shops.each_ref().map(|shop| shop.address.to_string());
        let edge = before(&[(engine, steering().keys(GRANTS))], &shops.each_ref().map(|s| s.address), side.address, "");
        for requests in 1..=3 {
            let response = ask(&edge, &[("x-host", &addresses[1])]);
            let told = format!(
                "{} serving true 100 0 0 unmeasured,{} serving true 100 1 {requests} measured",
                addresses[0], addresses[1]
            );
            assert_eq!(response.header("x-stats"), Some(&*told), "its own exchange is in flight");
        }
    }

    fn an_origin_that_is_unhealthy_cannot_be_chosen(engine) {
        let sick = Origin::serve(|exchange| exchange.respond(500, &[], b"ill"));
        let (shop, side) = (Origin::saying("shop"), Origin::saying("side"));
        let health = "    health: {path: /, interval: 50ms, unhealthy_after: 1}\n";
        let plugin = steering().keys(GRANTS);
        let mut edge = before(&[(engine, plugin)], &[shop.address, sick.address], side.address, health);
        edge.process.expect_error("unhealthy");
        wait_until("one to be found unhealthy", PATIENCE, || {
            let labels = ["pool=\"shop\"", "stage=\"serving\"", "health=\"unhealthy\""];
            (edge.metrics().sum("forebay_pool_origins", &labels) == 1.0).then_some(())
        });
        let response = ask(&edge, &[("x-host", &sick.address.to_string())]);
        assert_eq!((response.status, response.text()), (200, "shop"));
        refused(&edge, engine, "set_host", UNAVAILABLE, &format!("{} is unhealthy", sick.address));
        let stats = response.header("x-stats").unwrap_or_default();
        assert!(stats.contains(&format!("{} serving false", sick.address)), "{stats}");
    }

    fn a_fault_before_an_attempt_follows_the_policy(engine) {
        for (policy, status, requests) in [("closed", 503, 0), ("open", 200, 1)] {
            let (shop, side) = (Origin::saying("shop"), Origin::saying("side"));
            let keys = format!("{GRANTS}\n    on_fault: {policy}");
            let mut edge = before(&[(engine, steering().keys(&keys))], &[shop.address], side.address, "");
            for words in ["a sentence of the plugin", "src/origin.rs", "RUST_BACKTRACE"] {
                edge.process.expect_error(words);
            }
            let response = ask(&edge, &[("x-fault", "1")]);
            assert_eq!(response.status, status, "{policy}");
            assert_eq!(shop.requests(), requests, "{policy}");
            edge.process.wait_for_log(&["on_origin_select", "TRAP"]);
            assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &["verdict=\"TRAP\""]), 1.0);
            assert_eq!(ask(&edge, &[]).status, 200, "the next request is served");
        }
    }

    fn a_fault_before_a_retry_leaves_nothing_in_flight(engine) {
        let (nobody, side) = (Port::free(), Origin::saying("side"));
        let mut edge = before(&[(engine, steering().keys(GRANTS))], &[nobody.address], side.address, "");
        for words in ["a sentence of the plugin", "src/origin.rs", "RUST_BACKTRACE"] {
            edge.process.expect_error(words);
        }
        let response = ask(&edge, &[("x-fault", "2")]);
        assert_eq!((response.status, response.header("x-forebay-reject")), (503, Some("plugin_fault")));
        let metrics = edge.metrics();
        assert_eq!(metrics.sum("forebay_pool_errors_total", &["pool=\"shop\""]), 1.0, "the first attempt failed");
        assert_eq!(metrics.sum("forebay_pool_in_flight", &[]), 0.0);
    }
}
