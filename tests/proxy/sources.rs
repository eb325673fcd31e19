//! Modules at `https://`: they are what the region file says or they are not taken, nobody waits for them,
//! and what came once is kept. Past 400 lines because each way in which a server can be wrong is a
//! sentence here; [`super::images`] has those of registries.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::signer::sha256;
use harness::{Certificate, Edge, Exchange, Folder, Origin, PATIENCE, Setup, Signer, module, registry, wait_until};
use serde_json::Value;

/// One plugin `p` on a route that answers by itself; `keys` are those of the plugin, each line indented
/// by four.
pub fn region(keys: &str) -> String {
    format!(
        "plugins:\n  - name: p\n{keys}\
         routes:\n  - {{name: all, plugins: [p], respond: {{body: here}}}}\n  \
         - {{name: bare, match: {{path: {{exact: /bare}}}}, respond: {{body: bare}}}}\n"
    )
}

/// What the admin address says of the source of `p`.
#[track_caller]
pub fn source(edge: &Edge) -> Value {
    let view: Value = serde_json::from_slice(&edge.admin("/plugins").body).expect("the view is JSON");
    view["plugins"][0]["source"].clone()
}

/// Waits until the source is as it should be, and gives it.
#[track_caller]
pub fn wait_for_source(edge: &Edge, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(&format!("the source {what}"), PATIENCE, || {
            last = source(edge);
            is(&last).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("the source is not {what}: {last:#}"))
}

pub fn version_of(edge: &Edge) -> Option<String> {
    edge.get("/").header("x-version").map(str::to_owned)
}

#[track_caller]
pub fn wait_for_version(edge: &Edge, version: &str) {
    wait_until(&format!("version {version} to serve"), PATIENCE, || {
        (version_of(edge).as_deref() == Some(version)).then_some(())
    });
}

/// A folder with a certificate for 127.0.0.1 and a place to keep things.
pub struct Scene {
    pub folder: Folder,
    pub certificate: Certificate,
}

impl Scene {
    pub fn new() -> Scene {
        let folder = Folder::new();
        let certificate = Certificate::write_for(folder.path(), "127.0.0.1");
        Scene { folder, certificate }
    }

    pub fn ca(&self) -> &Path {
        &self.certificate.certificate
    }

    pub fn setup(&self, region: String) -> Setup {
        Setup::new(region).cache(&self.folder.path().join("cache"))
    }

    /// The keys of a plugin whose module is at `/m.wasm` of this server.
    pub fn at(&self, origin: &Origin, module: &[u8], more: &str) -> String {
        format!(
            "    wasm: https://{}/m.wasm\n    fetch: {{ca: {}, sha256: {}{more}}}\n",
            origin.address,
            self.ca().display(),
            sha256(module)
        )
    }

    fn serve(&self, module: &[u8]) -> Origin {
        let module = module.to_vec();
        Origin::serve_tls(&self.certificate, move |exchange| exchange.respond(200, &[], &module))
    }
}

#[test]
fn a_module_is_there_before_the_first_request_and_fetched_once() {
    let scene = Scene::new();
    let module = module::version("one");
    let origin = scene.serve(&module);
    let edge = scene.setup(region(&scene.at(&origin, &module, ""))).workers(2).start();
    for _ in 0..10 {
        assert_eq!(version_of(&edge).as_deref(), Some("one"));
    }
    let source = source(&edge);
    assert_eq!(source["state"], "ready");
    assert_eq!((source["attempts"].as_u64(), source["from_disk"].as_bool()), (Some(1), Some(false)), "{source}");
    assert_eq!(source["from"], format!("https://{}/m.wasm", origin.address));
    let page = std::fs::read_to_string(harness::binary::root().join("host/edge/README.md")).expect("the page is there");
    for key in source.as_object().expect("a map").keys() {
        assert!(page.contains(&format!("`{key}`")), "{key} is not in the page");
    }
    let metrics = edge.metrics();
    let fetches = |result| metrics.sum("forebay_plugin_source_fetches_total", &["plugin=\"p\"", result]);
    assert_eq!((fetches("result=\"fetched\""), fetches("result=\"failed\"")), (1.0, 0.0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("past 1970").as_secs_f64();
    let last = metrics.sum("forebay_plugin_source_last_success_timestamp_seconds", &["plugin=\"p\""]);
    assert!((now - 60.0..=now).contains(&last), "{last} is not in the minute before {now}");
    let digest = format!("sha256=\"{}\"", sha256(&module));
    let info = ["plugin=\"p\"", "state=\"ready\"", &*digest, &*format!("from=\"https://{}/m.wasm\"", origin.address)];
    assert_eq!(metrics.sum("forebay_plugin_source_info", &info), 1.0);
    for name in ["fetches_total", "last_success_timestamp_seconds", "info"] {
        assert!(page.contains(&format!("forebay_plugin_source_{name}")), "{name} is not in the page");
    }
    assert_eq!(origin.requests(), 1);
    let asked = origin.last();
    assert_eq!((asked.target(), asked.headers.get("authorization")), ("/m.wasm", None));
}

#[test]
fn until_it_comes_the_fault_policy_holds_and_then_it_serves_by_itself() {
    let scene = Scene::new();
    let module = module::version("one");
    let (good, times) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (answer, asked, bytes) = (good.clone(), times.clone(), module.clone());
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| {
        asked.lock().expect("no panic").push(Instant::now());
        match answer.load(Ordering::SeqCst) {
            0 => exchange.respond(500, &[], b"no"),
            _ => exchange.respond(200, &[], &bytes),
        }
    });
    let region = region(&scene.at(&origin, &module, ", wait: 0s")).replace(
        "routes:\n",
        "routes:\n  - {name: open, match: {path: {exact: /open}}, plugins: [{name: p, on_fault: open}], respond: {body: open}}\n",
    );
    let edge = scene.setup(region).start();
    let refused = edge.get("/");
    assert_eq!((refused.status, refused.header("x-version")), (503, None));
    let open = edge.get("/open");
    assert_eq!((open.status, open.text(), open.header("x-version")), (200, "open", None));
    assert_eq!(edge.get("/bare").text(), "bare", "who does not use it does not feel it");
    let failed = wait_for_source(&edge, "failed twice", |source| {
        // Its second attempt has ended, not only begun.
        source["attempts"].as_u64() >= Some(2) && source["next_attempt_in_ms"].is_u64()
    });
    assert_eq!(failed["state"], "failed");
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains("500")), "{failed}");
    assert!(failed["failed_for_ms"].as_u64().is_some_and(|time| time >= 500), "{failed}");
    let metrics = edge.metrics();
    assert!(metrics.sum("forebay_plugin_source_fetches_total", &["result=\"failed\""]) >= 2.0);
    assert_eq!(metrics.sum("forebay_plugin_source_info", &["state=\"failed\""]), 1.0);
    assert!(!metrics.has("forebay_plugin_source_last_success_timestamp_seconds", &["plugin=\"p\""]));
    good.store(1, Ordering::SeqCst);
    wait_for_version(&edge, "one");
    assert_eq!(edge.metrics().sum("forebay_plugin_source_fetches_total", &["result=\"fetched\""]), 1.0);
    assert_eq!(edge.get("/open").header("x-version"), Some("one"));
    let ready = source(&edge);
    assert_eq!((ready["state"].as_str(), &ready["failed_for_ms"]), (Some("ready"), &Value::Null));
    // Not at once, and later each time; the half that is chance is not counted on.
    let times = times.lock().expect("no panic").clone();
    assert!(times.len() >= 3, "two that failed and one that did not");
    for (n, pair) in times.windows(2).enumerate() {
        let least = Duration::from_millis(500) * (1 << n);
        let pause = pair[1] - pair[0];
        assert!(pause >= least, "attempt {} came {pause:?} after the last, and {least:?} is the least", n + 2);
    }
    assert_eq!(source(&edge)["attempts"].as_u64(), Some(times.len() as u64));
}

#[test]
fn while_it_is_on_its_way_nobody_waits_for_it() {
    let scene = Scene::new();
    let module = module::version("one");
    let (gate, open) = std::sync::mpsc::channel::<()>();
    let (open, bytes) = (Mutex::new(open), module.clone());
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| {
        // Until the test lets it go.
        let _ = open.lock().expect("no panic").recv();
        exchange.respond(200, &[], &bytes)
    });
    let edge = scene.setup(region(&scene.at(&origin, &module, ", wait: 0s"))).start();
    origin.wait_for_requests(1);
    let source = source(&edge);
    assert_eq!((source["state"].as_str(), source["attempts"].as_u64()), (Some("fetching"), Some(1)), "{source}");
    assert_eq!((edge.get("/").status, edge.get("/bare").status), (503, 200));
    gate.send(()).expect("the origin waits");
    wait_for_version(&edge, "one");
    assert_eq!(origin.requests(), 1);
}

/// What a server does wrong, and what is said of it.
fn refused(
    what: &str,
    fetch: &str,
    answer: impl Fn(&mut Exchange, &[u8]) -> std::io::Result<()> + Send + Sync + 'static,
) {
    let scene = Scene::new();
    let module = module::version("one");
    let bytes = module.clone();
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| answer(exchange, &bytes));
    let keys = scene.at(&origin, &module, &format!(", wait: 0s{fetch}"));
    let edge = scene.setup(region(&keys)).file("key.pem", Signer::p256().pem).start();
    let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains(what)), "{what}: {failed:#}");
    assert_eq!(edge.get("/").status, 503);
    let kept = scene.folder.path().join("cache/forebay/modules");
    assert!(!kept.exists(), "nothing of it is kept");
}

#[test]
fn other_bytes_than_the_digest_says_are_not_taken() {
    refused("has the SHA-256 ", "", |exchange, module| {
        let mut other = module.to_vec();
        *other.last_mut().expect("a module has bytes") ^= 1;
        exchange.respond(200, &[], &other)
    });
}

#[test]
fn a_module_that_breaks_off_is_not_taken() {
    refused("broke off", "", |exchange, module| {
        exchange.raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", module.len()).as_bytes())?;
        exchange.raw(&module[..module.len() / 2])?;
        exchange.close()?;
        exchange.messages.socket.shutdown(std::net::Shutdown::Both)
    });
}

#[test]
fn a_module_that_is_too_large_is_not_read() {
    refused("at most 67108864 are taken", "", |exchange, _| {
        exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n")
    });
}

#[test]
fn a_body_without_an_end_is_read_no_further_than_it_may_be() {
    refused("at most 65536 are taken", ", public_key: key.pem", |exchange, module| {
        if !exchange.head.target().ends_with(".sig") {
            return exchange.respond(200, &[], module);
        }
        exchange.begin(200, &[])?;
        // Until the edge closes.
        loop {
            exchange.chunk(&[b'A'; 4096])?;
        }
    });
}

#[test]
fn a_server_that_is_too_slow_is_given_up() {
    refused("not all of it came within 300ms", ", timeout: 300ms", |exchange, module| {
        exchange.raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", module.len()).as_bytes())?;
        // Nothing comes until the edge closes.
        let mut byte = [0];
        std::io::Read::read(&mut exchange.messages.socket, &mut byte).map(drop)
    });
}

#[test]
fn a_redirect_to_cleartext_is_not_followed() {
    let clear = Origin::saying("never");
    let to = format!("http://{}/m.wasm", clear.address);
    refused("only https:// is followed", "", move |exchange, _| exchange.respond(302, &[("location", &to)], b""));
    assert_eq!(clear.connections(), 0);
}

#[test]
fn redirects_come_to_an_end() {
    let furthest = Arc::new(AtomicUsize::new(0));
    let seen = furthest.clone();
    refused("redirected more than 5 times", "", move |exchange, _| {
        let at: usize =
            exchange.head.target().trim_start_matches("/m.wasm").trim_start_matches('/').parse().unwrap_or(0);
        seen.fetch_max(at, Ordering::SeqCst);
        exchange.respond(302, &[("location", &format!("/{}", at + 1))], b"")
    });
    assert_eq!(furthest.load(Ordering::SeqCst), 5);
}

#[test]
fn a_server_that_cannot_show_who_it_is_gets_no_request() {
    let (scene, other) = (Scene::new(), Scene::new());
    let module = module::version("one");
    let origin = other.serve(&module);
    let edge = scene.setup(region(&scene.at(&origin, &module, ", wait: 0s"))).start();
    let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains("certificate")), "{failed}");
    assert_eq!((edge.get("/").status, origin.requests()), (503, 0));
}

#[test]
fn user_and_password_go_to_the_host_of_the_module_and_no_further() {
    let scene = Scene::new();
    let module = module::version("one");
    let storage = scene.serve(&module);
    let to = format!("https://{}/storage/m.wasm", storage.address);
    let wanted = registry::basic("robot", "pa55word");
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| {
        if exchange.headers().get("authorization") != Some(&wanted) {
            return exchange.respond(401, &[], b"");
        }
        exchange.respond(302, &[("location", &to)], b"")
    });
    let plugin = scene.at(&origin, &module, ", username: robot, password: files");
    let region = format!("secrets: [{{name: files, file: password}}]\n{}", region(&plugin));
    let edge = scene.setup(region).file("password", "pa55word\n").start();
    assert_eq!(version_of(&edge).as_deref(), Some("one"));
    assert_eq!((storage.requests(), storage.last().headers.get("authorization")), (1, None));
    for path in ["/config", "/plugins"] {
        let view = edge.admin(path);
        assert!(!view.text().contains("pa55word") && !view.text().contains(&registry::basic("robot", "pa55word")));
    }
    assert!(!edge.process.log_has("pa55word"));
}

#[test]
fn an_edge_starts_from_what_it_kept_when_nobody_gives_it_any_more() {
    let scene = Scene::new();
    let module = module::version("one");
    let origin = scene.serve(&module);
    let region = region(&scene.at(&origin, &module, ", wait: 0s"));
    let first = scene.setup(region.clone()).start();
    wait_for_version(&first, "one");
    drop(first);
    origin.stop();
    let second = scene.setup(region.clone()).start();
    assert_eq!(version_of(&second).as_deref(), Some("one"), "from the first request on");
    let source = source(&second);
    assert_eq!((source["state"].as_str(), source["from_disk"].as_bool()), (Some("ready"), Some(true)), "{source}");
    assert_eq!(source["attempts"].as_u64(), Some(0));
    drop(second);
    // What somebody has changed on disk is as good as nothing.
    let kept = scene.folder.path().join("cache/forebay/modules").join(sha256(&module));
    std::fs::write(&kept, module::version("bad")).expect("the file is ours");
    let third = scene.setup(region).start();
    third.process.wait_for_log(&["what is kept of it is not taken"]);
    assert_eq!(third.get("/").status, 503);
    wait_for_source(&third, "failed", |source| source["state"] == "failed");
}

#[test]
fn at_a_reload_the_old_version_serves_until_the_new_one_is_there() {
    let scene = Scene::new();
    let (one, two) = (module::version("one"), module::version("two"));
    let (good, new) = (Arc::new(AtomicUsize::new(0)), two.clone());
    let (answer, old) = (good.clone(), one.clone());
    // The same URL all the time; what it gives changes.
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| match answer.load(Ordering::SeqCst) {
        0 => exchange.respond(200, &[], &old),
        1 => exchange.respond(200, &[], &module::version("rotated")),
        _ => exchange.respond(200, &[], &new),
    });
    let edge = scene.setup(region(&scene.at(&origin, &one, ""))).workers(2).start();
    assert_eq!(version_of(&edge).as_deref(), Some("one"));
    good.store(1, Ordering::SeqCst);
    let asked = origin.requests();
    let next = region(&scene.at(&origin, &two, "")).replace("body: bare", "body: changed");
    edge.reload(&next);
    wait_until("the rest of the reload", PATIENCE, || (edge.get("/bare").text() == "changed").then_some(()));
    let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
    let error = failed["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains(&sha256(&two)) && error.contains(&sha256(&module::version("rotated"))), "{error}");
    assert!(origin.requests() > asked);
    for _ in 0..20 {
        assert_eq!(version_of(&edge).as_deref(), Some("one"), "the old version serves on");
    }
    good.store(2, Ordering::SeqCst);
    wait_until("the new version to take over", PATIENCE, || {
        let found = version_of(&edge);
        assert!(matches!(found.as_deref(), Some("one" | "two")), "nothing comes between: {found:?}");
        (found.as_deref() == Some("two")).then_some(())
    });
    assert_eq!(source(&edge)["state"], "ready");
    // Back to what is kept: nobody is asked.
    let asked = origin.requests();
    edge.reload(&region(&scene.at(&origin, &one, "")));
    wait_for_version(&edge, "one");
    assert_eq!(origin.requests(), asked);
}

#[test]
fn a_module_must_be_signed_by_the_key_that_the_region_names() {
    let (signer, other) = (Signer::ed25519(), Signer::p256());
    for (named, signed_by, as_text, good) in
        [(&signer, &signer, false, true), (&other, &other, true, true), (&signer, &other, false, false)]
    {
        let scene = Scene::new();
        let module = module::version("one");
        let signature = match as_text {
            true => signed_by.sign_text(&module).into_bytes(),
            false => signed_by.sign(&module),
        };
        let bytes = module.clone();
        let origin = Origin::serve_tls(&scene.certificate, move |exchange| match exchange.head.target() {
            "/m.wasm" => exchange.respond(200, &[], &bytes),
            "/m.wasm.sig" => exchange.respond(200, &[], &signature),
            _ => exchange.respond(404, &[], b""),
        });
        let keys = scene.at(&origin, &module, ", wait: 0s, public_key: key.pem");
        let edge = scene.setup(region(&keys)).file("key.pem", &named.pem).start();
        if good {
            wait_for_version(&edge, "one");
            assert!(source(&edge)["signed_by"].as_str().is_some_and(|file| file.ends_with("key.pem")));
        } else {
            let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
            assert!(failed["last_error"].as_str().is_some_and(|error| error.contains("signature")), "{failed}");
            assert_eq!(edge.get("/").status, 503);
        }
    }
}

#[test]
fn what_was_kept_without_a_signature_is_not_taken_where_one_is_needed() {
    let scene = Scene::new();
    let module = module::version("one");
    let signer = Signer::p256();
    let signature = Arc::new(Mutex::new(None::<Vec<u8>>));
    let (given, bytes) = (signature.clone(), module.clone());
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| {
        let given = given.lock().expect("no panic").clone();
        match (exchange.head.target(), given) {
            ("/m.wasm", _) => exchange.respond(200, &[], &bytes),
            ("/elsewhere", Some(signature)) => exchange.respond(200, &[], &signature),
            _ => exchange.respond(404, &[], b""),
        }
    });
    drop(scene.setup(region(&scene.at(&origin, &module, ""))).start());
    let signed = format!(", wait: 0s, public_key: key.pem, signature: \"https://{}/elsewhere\"", origin.address);
    let start = || scene.setup(region(&scene.at(&origin, &module, &signed))).file("key.pem", &signer.pem).start();
    let edge = start();
    let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains("/elsewhere: 404")), "{failed}");
    assert_eq!(edge.get("/").status, 503);
    *signature.lock().expect("no panic") = Some(signer.sign(&module));
    wait_for_version(&edge, "one");
    drop(edge);
    origin.stop();
    assert_eq!(version_of(&start()).as_deref(), Some("one"), "kept with its signature");
}

#[test]
fn a_module_that_comes_and_does_not_run_changes_nothing() {
    let scene = Scene::new();
    let (good, bad) = (module::version("good"), b"\0asm\x01\0\0\0".to_vec());
    let (ready, bytes, broken) = (Arc::new(AtomicUsize::new(0)), good.clone(), bad.clone());
    let gate = ready.clone();
    let origin = Origin::serve_tls(&scene.certificate, move |exchange| {
        match (gate.load(Ordering::SeqCst), exchange.head.target()) {
            (1, "/bad") => exchange.respond(200, &[], &broken),
            (1, _) => exchange.respond(200, &[], &bytes),
            _ => exchange.respond(503, &[], b""),
        }
    });
    let plugin = |name: &str, module: &[u8]| {
        format!(
            "  - {{name: {name}, wasm: \"https://{}/{name}\", on_fault: open, fetch: {{wait: 0s, ca: {}, sha256: {}}}}}\n",
            origin.address,
            scene.ca().display(),
            sha256(module)
        )
    };
    let region = format!(
        "plugins:\n{}{}routes:\n  - {{name: all, plugins: [bad, good], respond: {{body: here}}}}\n",
        plugin("bad", &bad),
        plugin("good", &good)
    );
    let mut edge = scene.setup(region).start();
    edge.process.expect_error("what came is refused");
    assert_eq!((edge.get("/").status, version_of(&edge)), (200, None));
    ready.store(1, Ordering::SeqCst);
    wait_for_version(&edge, "good");
    let refused = wait_for_source(&edge, "refused", |source| !source["refused"].is_null());
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("plugin \"bad\"")), "{refused}");
    assert_eq!((edge.get("/").text(), version_of(&edge).as_deref()), ("here", Some("good")));
}

#[test]
fn a_check_fetches_nothing_and_says_so() {
    let scene = Scene::new();
    let module = module::version("one");
    let origin = scene.serve(&module);
    let file = |keys: &str| {
        let text = format!("edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\n{}", region(keys));
        let file = scene.folder.write("region.yaml", text);
        harness::process::run(&["check", file.to_str().expect("a path in text")])
    };
    let good = file(&scene.at(&origin, &module, ""));
    assert_eq!(good.code, Some(0), "{good:?}");
    let said = format!("plugin \"p\": https://{}/m.wasm is not fetched by a check", origin.address);
    assert!(good.stderr.contains(&said), "{good:?}");
    let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB\n-----END PUBLIC KEY-----\n";
    scene.folder.write("rsa.pem", rsa);
    let bad = file(&scene.at(&origin, &module, ", public_key: rsa.pem"));
    assert_eq!(bad.code, Some(64), "{bad:?}");
    assert!(bad.stderr.contains("rsa.pem: a key of another kind; allowed: ed25519 and ECDSA P-256"), "{bad:?}");
    assert_eq!(origin.connections(), 0);
}
