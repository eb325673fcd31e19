//! Key-value stores when their servers come and go, hang, are many, speak TLS or want a password. The
//! plugin is Lua; that both engines ask alike is the conformance suite's.

use std::net::SocketAddr;

use harness::redis::{Reply, cluster};
use harness::{Client, Edge, Folder, PATIENCE, Redis, Setup, wait_until};

/// `/get/KEY`, `/set/KEY/VALUE`, `/incr/KEY`: answers what the store said, or the code and why not.
const ASKS: &str = r#"
local plugin, main = {}, forebay.kv("main")
function plugin.on_request_headers()
  local call, key, value = forebay.request.headers.get(":path"):match("^/(%w+)/([^/]+)/?(.*)$")
  local got, why
  if call == "get" then
    got, why = main:get(key)
  elseif call == "set" then
    got, why = main:set(key, value)
  else
    got, why = main:incr(key, 1, { ttl = 60 })
  end
  forebay.respond(200, {}, why and tostring(why) or tostring(got))
end
return plugin
"#;

fn region(store: &str) -> String {
    format!(
        "plugins: [{{name: asks, lua: asks.lua, capabilities: [\"kv:main\"]}}]\n\
         routes: [{{name: all, plugins: [asks], respond: {{}}}}]\nkv: [{{name: main, {store}}}]\n"
    )
}

/// An edge of one worker with this store.
fn edge(store: &str) -> Edge {
    Setup::new(region(store)).file("asks.lua", ASKS).start()
}

fn said(edge: &Edge, path: &str) -> String {
    let response = edge.get(path);
    assert_eq!(response.status, 200, "whatever the store does, the exchange ends");
    response.text().to_owned()
}

fn outcomes(edge: &Edge, outcome: &str) -> f64 {
    edge.metrics().sum("forebay_kv_calls_total", &["kv=\"main\"", &format!("outcome=\"{outcome}\"")])
}

fn given_up(edge: &Edge) -> f64 {
    edge.metrics().sum("forebay_kv_breaker_open", &["kv=\"main\""])
}

/// Asks until the store is given up, and holds each answer until then against `code`.
#[track_caller]
fn wait_until_given_up(edge: &Edge, code: &str) {
    wait_until("the breaker to open", PATIENCE, || {
        let answer = said(edge, "/get/k");
        assert!(answer.starts_with(code) || answer.contains("is tried again in"), "{answer}");
        (given_up(edge) == 1.0).then_some(())
    });
}

#[test]
fn a_store_that_is_lost_in_mid_traffic_is_given_up_and_found_again() {
    let mut redis = Redis::start();
    let edge = edge(&format!("url: \"{}\", timeout: 10s, breaker: {{failures: 3, open: 300ms}}", redis.url()));
    assert_eq!(said(&edge, "/set/k/before"), "true");
    // Traffic that does not stop while the server goes and comes.
    let (address, stop) = (edge.address, std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let traffic: Vec<_> = (0..4).map(|_| traffic(address, stop.clone())).collect();
    wait_until("some traffic", PATIENCE, || (outcomes(&edge, "ok") > 50.0).then_some(()));
    redis.stop();
    wait_until_given_up(&edge, "UNAVAILABLE: kv.get: ");
    let line = edge.process.wait_for_log(&["a store is given up for a while"]);
    assert!(line.contains("\"kv\":\"main\"") && line.contains("WARN"), "{line}");
    wait_until("calls that are refused at once", PATIENCE, || (outcomes(&edge, "shed") > 50.0).then_some(()));
    redis.restart();
    wait_until("the store to be found again", PATIENCE, || (said(&edge, "/set/k/after") == "true").then_some(()));
    edge.process.wait_for_log(&["a store that was given up answers again"]);
    assert_eq!((said(&edge, "/get/k"), given_up(&edge)), ("after".to_owned(), 0.0));
    let before = outcomes(&edge, "ok");
    wait_until("the traffic to be served again", PATIENCE, || (outcomes(&edge, "ok") > before + 50.0).then_some(()));
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for worker in traffic {
        let answers = worker.join().expect("each exchange has ended well");
        let fine = |answer: &str| ["before", "after", "nil"].contains(&answer) || answer.starts_with("UNAVAILABLE");
        let odd: Vec<_> = answers.iter().filter(|answer| !fine(answer)).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

/// Asks without a pause until it is told to stop; what it was told.
fn traffic(
    address: SocketAddr,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let (mut client, mut answers) = (Client::connect(address), Vec::new());
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            let response = client.get("/get/k");
            assert_eq!(response.status, 200);
            answers.push(response.text().to_owned());
        }
        answers
    })
}

#[test]
fn a_server_that_hangs_costs_its_timeout_a_few_times_and_then_nothing() {
    let redis = Redis::start();
    let edge = edge(&format!("url: \"{}\", timeout: 1s, breaker: {{failures: 2, open: 2h}}", redis.url()));
    assert_eq!(said(&edge, "/set/k/1"), "true");
    redis.pause();
    wait_until_given_up(&edge, "TIMEOUT: kv.get: no answer within 1s");
    assert!(outcomes(&edge, "timeout") >= 2.0);
    // If any of these waited for the server, a hundred would take longer than a test is given.
    let timeouts = outcomes(&edge, "timeout");
    let mut client = edge.connect();
    for _ in 0..100 {
        let answer = client.get("/get/k").text().to_owned();
        assert!(
            answer.starts_with("UNAVAILABLE: kv.get: the store \"main\" did not answer; it is tried again in"),
            "{answer}"
        );
    }
    assert_eq!((outcomes(&edge, "timeout"), outcomes(&edge, "shed") >= 100.0), (timeouts, true));
}

#[test]
fn a_server_that_hung_is_asked_again_on_new_connections() {
    let redis = Redis::start();
    let keys = format!("url: \"{}\", timeout: 1s, connections: 1, breaker: {{failures: 2, open: 100ms}}", redis.url());
    let edge = edge(&keys);
    assert_eq!(said(&edge, "/set/k/1"), "true");
    let made = redis.info("total_connections_received");
    redis.pause();
    wait_until_given_up(&edge, "TIMEOUT");
    redis.go_on();
    wait_until("the store to answer again", PATIENCE, || (said(&edge, "/get/k") == "1").then_some(()));
    assert!(redis.info("total_connections_received") >= made + 2, "one of the edge besides the one that asks this");
    assert_eq!(given_up(&edge), 0.0);
}

#[test]
fn many_calls_are_in_flight_on_few_connections() {
    let redis = Redis::start();
    let edge = edge(&format!("url: \"{}\", timeout: 60s, connections: 2", redis.url()));
    for key in ["warm", "warmer"] {
        assert_eq!(said(&edge, &format!("/set/{key}/1")), "true");
    }
    redis.pause();
    let mut clients: Vec<_> = (0..60).map(|_| edge.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/incr/count", &[], b"");
    }
    wait_until("all to be in flight", PATIENCE, || {
        (edge.metrics().sum("forebay_in_flight", &[]) == 60.0).then_some(())
    });
    redis.go_on();
    let mut counts: Vec<u32> =
        clients.iter_mut().map(|client| client.response().text().parse().expect("a number")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=60).collect::<Vec<_>>(), "each was asked once and got its own answer");
    let Reply::Bytes(list) = redis.ask(&["CLIENT", "LIST"]) else { panic!("a list of clients") };
    let list = String::from_utf8_lossy(&list).into_owned();
    let of_the_edge = list.lines().filter(|line| !line.contains("cmd=client|list")).count();
    assert_eq!(of_the_edge, 2, "{list}");
}

#[test]
fn a_reload_that_changes_a_store_changes_who_is_asked_and_another_keeps_its_connections() {
    let (first, second) = (Redis::start(), Redis::start());
    let keys = |redis: &Redis| format!("url: \"{}\", timeout: 20s, connections: 1", redis.url());
    let edge = edge(&keys(&first));
    first.ask(&["SET", "k", "first"]);
    second.ask(&["SET", "k", "second"]);
    assert_eq!(said(&edge, "/get/k"), "first");
    let made = first.info("total_connections_received");
    // Nothing of the store has changed.
    edge.reload(&region(&keys(&first)).replace("name: all", "name: every"));
    edge.process.wait_for_log(&["reload"]);
    assert_eq!(said(&edge, "/get/k"), "first");
    assert_eq!(first.info("total_connections_received"), made + 1, "only the one that asks this");
    edge.reload(&region(&keys(&second)));
    wait_until("the new store to be asked", PATIENCE, || (said(&edge, "/get/k") == "second").then_some(()));
}

#[test]
fn a_cluster_is_asked_where_each_key_stands() {
    let nodes = cluster();
    // One of the three is named.
    let edge = edge(&format!("urls: [\"{}\"], timeout: 20s", nodes[1].url()));
    for n in 0..30 {
        assert_eq!(said(&edge, &format!("/set/k{n}/v{n}")), "true");
    }
    for n in 0..30 {
        assert_eq!(said(&edge, &format!("/get/k{n}")), format!("v{n}"));
    }
    assert_eq!((said(&edge, "/incr/count"), said(&edge, "/incr/count")), ("1".to_owned(), "2".to_owned()));
    let held: Vec<_> = nodes
        .iter()
        .map(|node| match node.ask(&["DBSIZE"]) {
            Reply::Int(keys) => keys,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(held.iter().sum::<i64>(), 31, "{held:?}");
    assert!(held.iter().all(|keys| *keys > 0), "every node holds some: {held:?}");
}

#[test]
fn a_cluster_that_is_lost_is_given_up() {
    let mut nodes = cluster();
    let keys = format!("urls: [\"{}\"], timeout: 1s, breaker: {{failures: 2, open: 2h}}", nodes[0].url());
    let edge = edge(&keys);
    wait_until("the cluster to answer", PATIENCE, || (said(&edge, "/set/k/1") == "true").then_some(()));
    nodes.iter_mut().for_each(Redis::stop);
    wait_until("the breaker to open", PATIENCE, || {
        let answer = said(&edge, "/get/k");
        assert!(answer.starts_with("UNAVAILABLE") || answer.starts_with("TIMEOUT"), "{answer}");
        (given_up(&edge) == 1.0).then_some(())
    });
    assert!(said(&edge, "/get/k").contains("is tried again in"));
}

#[test]
fn tls_is_spoken_with_whom_the_file_says_to_trust_and_with_nobody_else() {
    let (redis, address, trusted) = Redis::with_tls();
    let other = Folder::new();
    let stranger = harness::Certificate::write_for(other.path(), "127.0.0.1").certificate;
    let keys =
        |trusted: &std::path::Path| format!("url: \"rediss://{address}\", timeout: 20s, ca: {}", trusted.display());
    let edge = edge(&keys(&trusted));
    assert_eq!((said(&edge, "/set/k/1"), said(&edge, "/get/k")), ("true".to_owned(), "1".to_owned()));
    assert_eq!(redis.ask(&["GET", "k"]), Reply::Bytes("1".into()));
    let edge = self::edge(&keys(&stranger));
    let answer = said(&edge, "/set/k/2");
    assert!(answer.starts_with("UNAVAILABLE: kv.set: cannot connect"), "{answer}");
    assert_eq!(redis.ask(&["GET", "k"]), Reply::Bytes("1".into()), "nothing was written");
}

#[test]
fn a_password_is_read_from_its_file_again_when_it_has_changed() {
    let redis = Redis::with(&["--user", "edge", "on", ">right", "~*", "+@all", "--user", "default", "off"]);
    let keys = format!(
        "url: \"{}\", timeout: 20s, username: edge, password_file: password, breaker: {{failures: 1, open: 10ms}}",
        redis.url()
    );
    let edge = Setup::new(region(&keys)).file("asks.lua", ASKS).file("password", "wrong\n").start();
    let answer = said(&edge, "/set/k/1");
    assert!(answer.starts_with("UNAVAILABLE: kv.set: cannot connect"), "{answer}");
    assert!(!answer.contains("wrong\n"), "{answer}");
    edge.folder().write("password", "right\n");
    wait_until("the new password to be taken", PATIENCE, || (said(&edge, "/set/k/1") == "true").then_some(()));
    let shown = edge.admin("/config").text().to_owned();
    assert!(shown.contains(&format!("\"redis://{}/0\"", redis.address)), "{shown}");
    assert!(!shown.contains("right\""), "where it stands, not what it is: {shown}");
    assert!(
        !edge.process.log().iter().any(|line| line.contains(">right") || line.contains("\"right")),
        "nor in the log"
    );
}
