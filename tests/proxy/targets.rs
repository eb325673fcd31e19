//! Callouts to named targets: in TLS, held to what the region file allows, and never to an address
//! that a plugin made up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use harness::{Certificate, Edge, Origin, Setup, list};

/// Asks as the request's headers say and answers with what came.
const ASKS: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local h = forebay.request.headers.get
  local answer, why = forebay.http.call(h("x-target"), {
    path = h("x-path"), authority = h("x-authority"), trailers = { ["x-sum"] = h("x-sum") }, body = h("x-sum") and "b",
  }, { timeout = 5 })
  forebay.respond(200, {}, answer and answer.status .. " " .. answer.body or why.code .. " " .. why.message)
end
return plugin
"#;

struct Scene {
    edge: Edge,
    _shop: Origin,
}

impl Scene {
    fn start(setup: impl FnOnce(&str) -> String) -> Scene {
        let shop = Origin::saying("never");
        let region = setup(&format!(
            "routes:\n  - name: all\n    plugins: [asks]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n",
            list(&[shop.address])
        ));
        Scene { edge: Setup::new(region).file("asks.lua", ASKS).start(), _shop: shop }
    }

    fn ask(&self, headers: &[(&str, &str)]) -> String {
        let mut client = self.edge.connect();
        client.request("GET", "/", headers, b"");
        client.response().text().to_owned()
    }
}

fn plugin(granted: &str) -> String {
    format!("plugins:\n  - name: asks\n    lua: asks.lua\n    capabilities: [{granted}]\n")
}

/// An HTTPS server for `localhost` that answers each request with its first line and `Host`.
fn https(certificate: &Certificate) -> SocketAddr {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_file(&certificate.certificate).expect("it was just written")];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("it was just written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    let (config, listener) = (Arc::new(config), TcpListener::bind("localhost:0").expect("a free port"));
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).expect("the configuration is good");
                let mut tls = rustls::StreamOwned::new(session, stream);
                let (mut seen, mut byte) = (Vec::new(), [0]);
                while tls.read(&mut byte).is_ok_and(|n| n == 1) {
                    seen.push(byte[0]);
                    if seen.ends_with(b"\r\n\r\n") {
                        let text = String::from_utf8_lossy(&seen).to_lowercase();
                        let host = text.lines().find(|line| line.starts_with("host:")).unwrap_or_default();
                        let body = format!("{} {host}", text.lines().next().unwrap_or_default());
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                        let _ = tls.write_all(format!("{head}{body}").as_bytes()).and_then(|()| tls.flush());
                        seen.clear();
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_target_is_asked_at_its_own_address_and_connections_are_kept() {
    let side = Origin::serve(|exchange| {
        let body = exchange.messages.body()?;
        let sum = exchange.messages.trailers().get("x-sum").unwrap_or("-").to_owned();
        let text = format!("{} {} {sum}", exchange.headers().get("host").unwrap_or_default(), body.len());
        exchange.respond(302, &[("location", "http://127.0.0.1:1/")], text.as_bytes())
    });
    let scene = Scene::start(|rest| {
        format!("{}{rest}targets:\n  - name: side\n    address: {}\n", plugin("'callout:side'"), side.address)
    });
    for _ in 0..3 {
        // A redirect is an answer like others. An authority of the plugin's own leads nowhere else.
        assert_eq!(scene.ask(&[("x-target", "side")]), format!("302 {} 0 -", side.address));
        assert_eq!(scene.ask(&[("x-target", "side"), ("x-authority", "other.test")]), "302 other.test 0 -");
    }
    assert_eq!((side.requests(), side.connections()), (6, 1));
    let refused = scene.ask(&[("x-target", "shop")]);
    assert!(refused.starts_with("CAPABILITY_DENIED "), "{refused}");
    // Trailers of a request are sent.
    assert_eq!(scene.ask(&[("x-target", "side"), ("x-sum", "7")]), format!("302 {} 1 7", side.address));
    side.stop();
    let gone = scene.ask(&[("x-target", "side")]);
    assert!(gone.starts_with("UNAVAILABLE "), "{gone}");
}

#[test]
fn a_certificate_is_checked_against_the_roots_and_the_name() {
    let folder = harness::Folder::new();
    let certificate = Certificate::write(folder.path());
    let port = https(&certificate).port();
    let roots = certificate.certificate.display();
    let scene = Scene::start(|rest| {
        let target = |name: &str, tls: &str, host: &str| {
            format!("  - name: {name}\n    address: {host}:{port}\n    tls: {tls}\n    path_prefix: /v1\n")
        };
        let targets = [
            target("right", &format!("{{roots: {roots}}}"), "localhost"),
            target("unknown", "{}", "localhost"),
            target("other", &format!("{{roots: {roots}, server_name: other.test}}"), "localhost"),
            target("named", &format!("{{roots: {roots}, server_name: localhost}}"), "127.0.0.1"),
        ];
        let granted = ["right", "unknown", "other", "named"].map(|name| format!("'callout:{name}'")).join(", ");
        format!("{}{rest}targets:\n{}", plugin(&granted), targets.concat())
    });
    let ask = |target, path| scene.ask(&[("x-target", target), ("x-path", path)]);
    assert_eq!(ask("right", "/v1/a"), format!("200 get /v1/a http/1.1 host: localhost:{port}"));
    for target in ["unknown", "other"] {
        let refused = ask(target, "/v1/a");
        assert!(refused.starts_with("UNAVAILABLE ") && refused.contains("certificate"), "{target}: {refused}");
    }
    // `localhost` may be looked up as ::1, where nobody listens: the name alone is what is checked.
    let named = ask("named", "/v1/a");
    assert!(named.starts_with("200 ") || named.contains("refused"), "{named}");
    for path in ["/v2", "/v1/../admin", "/v1/%2e%2e/admin", "/"] {
        let refused = ask("right", path);
        assert!(refused.starts_with("CAPABILITY_DENIED "), "{path}: {refused}");
    }
}

#[test]
fn a_target_for_any_address_reaches_nothing_behind_the_edge() {
    let inside = Origin::saying("inside");
    let scene = Scene::start(|rest| {
        format!(
            "{}{rest}targets:\n  - name: web\n    any_address: true\n  - name: lan\n    any_address: true\n    \
             private_addresses: true\n    hosts: [localhost, 127.0.0.1]\n",
            plugin("'callout:web', 'callout:lan'")
        )
    });
    let port = inside.address.port();
    let ask = |target: &str, authority: &str| scene.ask(&[("x-target", target), ("x-authority", authority)]);
    let hidden = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"];
    for host in hidden {
        let refused = ask("web", &format!("{host}:{port}"));
        assert!(refused.starts_with("UNAVAILABLE ") && refused.contains("not a public address"), "{host}: {refused}");
    }
    let metadata = ask("web", "169.254.169.254");
    assert!(metadata.contains("not a public address"), "{metadata}");
    for bad in ["user@127.0.0.1", "a b"] {
        let refused = ask("web", bad);
        assert!(refused.starts_with("BAD_ARGUMENT "), "{bad}: {refused}");
    }
    let none = scene.ask(&[("x-target", "web")]);
    assert!(none.starts_with("BAD_ARGUMENT ") && none.contains("needs an authority"), "{none}");
    assert_eq!(inside.requests(), 0, "nothing of it went there");
    assert_eq!(ask("lan", &format!("127.0.0.1:{port}")), "200 inside");
    let other = ask("lan", &format!("127.0.0.2:{port}"));
    assert!(other.starts_with("CAPABILITY_DENIED "), "{other}");
}
