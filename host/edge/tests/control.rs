//! The control thread on real sockets: reports and membership, health, warm-up, the admin
//! address.

#[path = "control/scene.rs"]
mod scene;
#[path = "control/served.rs"]
mod served;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_edge::reject::Reject;
use forebay_edge::telemetry::Telemetry;
use http::Method;
use scene::{Scene, membership, until};
use served::{Seen, Served};
use wire::{Report, Stage};

const FAST: &str = "report_interval: 100ms";

fn json(membership: &wire::Membership) -> String {
    serde_json::to_string(membership).unwrap()
}

fn reporting_to(aggregators: &[&Served]) -> String {
    let urls: Vec<String> = aggregators.iter().map(|one| one.url()).collect();
    format!("{FAST}, aggregators: [{}]", urls.join(", "))
}

fn reports(aggregator: &Served) -> Vec<Report> {
    aggregator.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
}

/// What an aggregator that drops repeats has counted for a pool.
fn requests(reports: &[Report], pool: &str) -> u64 {
    let by_seq: BTreeMap<(u64, u64), u64> =
        reports.iter().map(|report| ((report.boot, report.seq), report.pools[pool].requests)).collect();
    by_seq.values().sum()
}

/// An address that nothing listens on.
fn nowhere() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn an_edge_reports_what_it_counted_and_takes_the_membership_of_the_answer() {
    let origin = nowhere();
    let answer = json(&membership("r1", &[(origin, Stage::Serving)]));
    let aggregator = Served::start(move |_| Some((200, answer.clone())));
    let listed = nowhere();
    let scene = Scene::start(&reporting_to(&[&aggregator]), &format!("{{ name: r1, origins: [{listed}] }}"));
    let pool = scene.shared.membership.pool("r1").unwrap();
    until("the membership is taken", || pool.view().serving.len() == 2);

    let telemetry = Telemetry::new(1, scene.shared.ledger.clone());
    let member = scene.member("r1", origin);
    for status in [200, 200, 500, 503] {
        let mut exchange = telemetry.pool_started(&pool);
        exchange.to(&member);
        exchange.answered(status);
    }
    telemetry.pool_started(&pool).rejected(&Reject::NoOrigin { pool: "r1".into(), detail: String::new() });
    let mut open = telemetry.pool_started(&pool);
    open.to(&member);
    until("all is reported", || requests(&reports(&aggregator), "r1") == 6);

    let all = reports(&aggregator);
    let sum = |of: fn(&wire::PoolReport) -> u64| all.iter().map(|report| of(&report.pools["r1"])).sum::<u64>();
    assert_eq!(sum(|pool| pool.rejects), 2, "the origin's 503 and the edge's own");
    assert_eq!(sum(|pool| pool.errors), 2);
    assert_eq!(sum(|pool| pool.latency_count), 4);
    let last = &all.last().unwrap().pools["r1"];
    assert_eq!((last.in_flight, last.origins[&origin].in_flight), (1, 1));
    assert!(last.origins[&origin].healthy);
    let first = &all[0];
    assert_eq!((first.version, first.edge.as_str(), first.seq), (wire::VERSION, "edge-1", 1));
    assert!(all.windows(2).all(|two| two[1].seq == two[0].seq + 1 && two[1].boot == two[0].boot));
    let seen = &aggregator.seen()[0];
    assert_eq!((&seen.method, seen.path.as_str()), (&Method::POST, "/v1/reports"));
    assert_eq!(seen.headers["content-type"], "application/json");
    assert!(aggregator.seen().iter().all(|seen| seen.connection == 1), "the connection is kept");

    drop(open);
    until("nothing is in flight", || reports(&aggregator).last().unwrap().pools["r1"].in_flight == 0);
}

#[test]
fn no_count_is_lost_or_doubled_when_reports_fail() {
    // Refused, then taken with the answer lost on the way, then well, over and over.
    let turn = AtomicUsize::new(0);
    let answer = json(&membership("r2", &[]));
    let aggregator = Served::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => Some((500, "not now".into())),
        1 => None,
        _ => Some((200, answer.clone())),
    });
    let scene = Scene::start(&reporting_to(&[&aggregator]), "{ name: r2, origins: [127.0.0.1:9] }");
    let pool = scene.shared.membership.pool("r2").unwrap();
    let telemetry = Telemetry::new(0, scene.shared.ledger.clone());
    for _ in 0..200 {
        drop(telemetry.pool_started(&pool));
        std::thread::sleep(Duration::from_millis(5));
    }
    // What was answered with 500 was not taken; all else was, once for each number.
    let taken = || {
        let all = reports(&aggregator);
        let kept: Vec<Report> = all.into_iter().enumerate().filter(|(i, _)| i % 4 != 0).map(|(_, one)| one).collect();
        kept
    };
    until("all is taken", || requests(&taken(), "r2") >= 200);
    let before = reports(&aggregator).len();
    until("and some more reports", || reports(&aggregator).len() > before + 4);
    assert_eq!(requests(&taken(), "r2"), 200);
    let kept = taken();
    let repeats = kept.windows(2).filter(|two| two[0].seq == two[1].seq).count();
    assert!(repeats > 0, "an answer was lost, so a report was repeated");
    assert!(kept.windows(2).all(|two| two[0].seq != two[1].seq || two[0] == two[1]), "word for word");
}

#[test]
fn a_membership_that_is_nonsense_is_refused_and_counted() {
    let origin = nowhere();
    let good = json(&membership("r3", &[(origin, Stage::Serving)]));
    let mut unknown = membership("r3", &[]);
    unknown.version = 2;
    let answers = [good, json(&unknown), "<html>".to_owned(), r#"{"version":1,"epoch":2}"#.to_owned()];
    let turn = AtomicUsize::new(0);
    let aggregator = Served::start(move |_| Some((200, answers[turn.fetch_add(1, Ordering::Relaxed).min(3)].clone())));
    let scene = Scene::start(&reporting_to(&[&aggregator]), "{ name: r3, origins: [127.0.0.1:9] }");
    let refused = format!("forebay_memberships_total{{aggregator=\"{}\",result=\"refused\"}}", aggregator.url());
    until("three are refused", || scene.metric(&refused) >= 3.0);
    let pool = scene.shared.membership.pool("r3").unwrap();
    assert!(pool.view().serving.iter().any(|member| member.address == origin), "the good one stands");
    let delivered = format!("forebay_reports_total{{aggregator=\"{}\",result=\"delivered\"}}", aggregator.url());
    assert!(scene.metric(&delivered) >= 4.0, "the reports were taken all the same");
}

#[test]
fn the_last_membership_stands_and_the_next_aggregator_leads() {
    let [one, two] = [nowhere(), nowhere()];
    let answer = |origin| json(&membership("r4", &[(origin, Stage::Serving)]));
    let (of_first, of_second) = (answer(one), answer(two));
    let first = Served::start(move |_| Some((200, of_first.clone())));
    let second = Served::start(move |_| Some((200, of_second.clone())));
    let scaled = "{ name: r4, scaling: { ceiling: 9, actuator: dry_run } }";
    let scene = Scene::start(&reporting_to(&[&first, &second]), scaled);
    let serving = || {
        let view = scene.shared.membership.pool("r4").unwrap().view_full();
        view.serving.iter().map(|member| member.address).collect::<Vec<_>>()
    };
    until("the first one leads", || serving() == [one]);
    until("both get reports", || reports(&first).len() > 3 && reports(&second).len() > 3);
    assert_eq!(serving(), [one], "the second one is not listened to");
    drop(first);
    until("the second one leads", || serving() == [two]);
    let url = second.url();
    drop(second);
    let failed = format!("forebay_reports_total{{aggregator=\"{url}\",result=\"unreachable\"}}");
    until("it is missed", || scene.metric(&failed) >= 3.0);
    assert_eq!(serving(), [two], "the last membership stands");
}

#[test]
fn an_origin_that_fails_its_check_is_left_alone_until_it_passes() {
    let answer = |status: u16| move |_: &Seen| Some((status, String::new()));
    let origin = Served::start(answer(200));
    let address = origin.address;
    let check = "health: { path: /alive, interval: 20ms, timeout: 200ms, healthy_after: 2, unhealthy_after: 2 }";
    let scene = Scene::start(FAST, &format!("{{ name: h1, origins: [{address}], {check} }}"));
    let healthy = || scene.member("h1", address).healthy();
    until("it is checked", || origin.seen().len() >= 3);
    assert!(healthy());
    assert!(origin.seen().iter().all(|seen| seen.path == "/alive" && seen.method == Method::GET));
    assert!(origin.seen()[0].headers["host"] == address.to_string());
    drop(origin);
    until("a closed port makes it unhealthy", || !healthy());
    let sick = Served::start_at(address, answer(500));
    until("it is checked again", || sick.seen().len() >= 5);
    assert!(!healthy(), "500 is not a success");
    drop(sick);
    let well = Served::start_at(address, answer(200));
    until("it is healthy again", healthy);
    assert!(well.seen().len() >= 2, "after two successes, not one");
    let changes = |to: &str| scene.metric(&format!("forebay_health_changes_total{{pool=\"h1\",to=\"{to}\"}}"));
    assert_eq!((changes("unhealthy"), changes("healthy")), (1.0, 1.0));
}

#[test]
fn a_check_that_does_not_answer_in_time_has_failed() {
    // Accepts into its queue, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let check = "health: { path: /, interval: 20ms, timeout: 50ms, unhealthy_after: 1 }";
    let scene = Scene::start(FAST, &format!("{{ name: h2, origins: [{address}], {check} }}"));
    until("it is unhealthy", || !scene.member("h2", address).healthy());
}

#[test]
fn an_http2_pool_is_checked_and_warmed_over_http2() {
    let origin = Served::start_http2(|_| Some((200, String::new())));
    let new = Served::start_http2(|_| Some((200, String::new())));
    let pool = format!(
        "{{ name: h3, http2: true, origins: [{}], health: {{ path: /h, interval: 20ms, unhealthy_after: 1 }}, \
         warmup: {{ path: /w, requests: 2 }} }}",
        origin.address
    );
    let scene = Scene::start(FAST, &pool);
    until("it is checked", || origin.seen().len() >= 3);
    assert!(scene.member("h3", origin.address).healthy());
    scene.publish("h3", &[(new.address, Stage::Warming)]);
    until("it is warm", || scene.member("h3", new.address).warmed());
    assert!(origin.seen().iter().chain(&new.seen()).all(|seen| seen.http2));
}

#[test]
fn a_reload_that_takes_the_check_away_leaves_all_origins_healthy() {
    let address = nowhere();
    let with = |check: &str| format!("{{ name: h4, origins: [{address}]{check} }}");
    let scene = Scene::start(FAST, &with(", health: { path: /, interval: 10ms, unhealthy_after: 1 }"));
    until("it is unhealthy", || !scene.member("h4", address).healthy());
    scene.reload(FAST, &with(""));
    until("it is healthy", || scene.member("h4", address).healthy());
}

#[test]
fn a_new_origin_is_warmed_by_real_requests_in_order_and_then_reported_warm() {
    // The first two answers are 503, which warms nothing.
    let asked = AtomicUsize::new(0);
    let origin = Served::start(move |_| {
        let status = if asked.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 404 };
        Some((status, "x".repeat(100_000)))
    });
    let booting = Served::start(|_| Some((200, String::new())));
    let answer = json(&membership("w1", &[(origin.address, Stage::Warming), (booting.address, Stage::Booting)]));
    let aggregator = Served::start(move |_| Some((200, answer.clone())));
    let pool = "{ name: w1, scaling: { ceiling: 9, actuator: dry_run }, warmup: { path: /warm, requests: 5 } }";
    let scene = Scene::start(&reporting_to(&[&aggregator]), pool);
    let warm = |report: &Report| report.pools["w1"].origins.get(&origin.address).is_some_and(|one| one.warmed);
    until("it is reported warm", || reports(&aggregator).iter().any(warm));
    let seen = origin.seen();
    assert_eq!(seen.len(), 7, "five that were answered and the two that were not; none after that");
    assert!(seen.iter().all(|seen| seen.path == "/warm" && seen.connection == 1));
    assert!(booting.seen().is_empty(), "who boots is left alone");
    let view = scene.shared.membership.pool("w1").unwrap().view_full();
    assert!(view.serving.is_empty(), "warm is not serving: that is for the aggregator to say");
    let count =
        |result: &str| scene.metric(&format!("forebay_warmup_requests_total{{pool=\"w1\",result=\"{result}\"}}"));
    assert_eq!((count("answered"), count("failed")), (5.0, 2.0));
}

#[test]
fn without_a_warm_up_one_connection_is_enough() {
    let late = nowhere();
    let edge = format!("{FAST}, aggregators: [http://{}]", nowhere());
    let scene = Scene::start(&edge, "{ name: w2, scaling: { ceiling: 9, actuator: dry_run } }");
    scene.publish("w2", &[(late, Stage::Warming)]);
    let failed = "forebay_warmup_requests_total{pool=\"w2\",result=\"failed\"}";
    until("it was tried", || scene.metric(failed) >= 2.0);
    assert!(!scene.member("w2", late).warmed());
    let origin = Served::start_at(late, |_| Some((200, String::new())));
    until("it is warm", || scene.member("w2", late).warmed());
    assert!(origin.seen().is_empty(), "nothing was asked of it");
}

#[test]
fn the_admin_address_says_what_the_edge_is_and_does() {
    let listed = nowhere();
    let secret = "headers: { x-api-key: s3cr3t }";
    let scene = Scene::start(FAST, &format!("{{ name: a1, origins: [{listed}] }}"));
    assert_eq!(scene.ask(Method::GET, "/healthz").0, 200);
    let (status, why) = scene.ask(Method::GET, "/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("0 of 2 workers accept"), "{why}");
    scene.shared.standing.accepting.store(2, Ordering::Relaxed);
    assert_eq!(scene.ask(Method::GET, "/readyz").0, 200);
    scene.shared.standing.draining.store(true, Ordering::Relaxed);
    let (status, why) = scene.ask(Method::GET, "/readyz");
    assert!(status == 503 && why.contains("draining"), "{why}");
    assert_eq!(scene.ask(Method::GET, "/healthz").0, 200, "who drains is alive");

    let config = scene.json("/config");
    assert_eq!(config["pools"]["a1"]["origins"][0], listed.to_string());
    assert_eq!(config["edge"]["report_interval"], "100ms");
    assert_eq!(config["edge"]["limits"]["header_timeout"], "10s", "defaults are filled in");
    assert!(!config.to_string().contains(secret));

    scene.publish("a1", &[("127.0.0.1:7".parse().unwrap(), Stage::Booting)]);
    let pools = scene.json("/pools");
    let members = &pools["pools"]["a1"]["members"];
    assert_eq!(members[0]["share"], 1.0);
    assert_eq!((&members[1]["stage"], &members[1]["share"]), (&"booting".into(), &0.0.into()));
    assert_eq!(scene.json("/plugins")["plugins"], serde_json::json!([]));

    let (status, text) = scene.ask(Method::GET, "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("forebay_pool_origins{pool=\"a1\",stage=\"booting\",health=\"healthy\"} 1"), "{text}");

    let (status, text) = scene.ask(Method::GET, "/metric");
    assert!(status == 404 && text.contains("/metrics") && text.contains("/metric"), "{text}");
    assert_eq!(scene.ask(Method::POST, "/config").0, 405);
}

#[test]
fn stopping_ends_reports_and_closes_the_admin_address() {
    let answer = json(&membership("s1", &[]));
    let aggregator = Served::start(move |_| Some((200, answer.clone())));
    let scene = Scene::start(&reporting_to(&[&aggregator]), "{ name: s1, origins: [127.0.0.1:9] }");
    until("it reports", || reports(&aggregator).len() > 2);
    let admin = scene.control.admin_address().unwrap();
    let Scene { control, shared, .. } = scene;
    let began = Instant::now();
    control.stop();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(std::net::TcpStream::connect(admin).is_err());
    let count = reports(&aggregator).len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(reports(&aggregator).len(), count);
    assert_eq!(Arc::strong_count(&shared), 1, "nothing holds on to it");
}

#[test]
fn an_edge_that_ends_in_order_says_so_in_its_last_report_to_every_aggregator_that_hears() {
    let answer = json(&membership("r9", &[]));
    let well = || {
        Served::start({
            let answer = answer.clone();
            move |_| Some((200, answer.clone()))
        })
    };
    let (first, second) = (well(), well());
    // One is gone, one breaks off, and one takes the connection and never answers: they keep nobody from ending.
    let (breaks, hangs) = (Served::start(|_| None), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = [first.url(), second.url(), breaks.url(), format!("http://{}", nowhere())];
    let hanging = format!("http://{}", hangs.local_addr().unwrap());
    let keys = format!("{FAST}, aggregators: [{}, {hanging}]", urls.join(", "));
    let Scene { shared, control, .. } = Scene::start(&keys, "{ name: r9, origins: [127.0.0.1:9] }");
    until("both have heard of it", || !reports(&first).is_empty() && !reports(&second).is_empty());
    let (pool, telemetry) = (shared.membership.pool("r9").unwrap(), Telemetry::new(0, shared.ledger.clone()));
    for _ in 0..7 {
        drop(telemetry.pool_started(&pool));
    }
    control.stop();
    for aggregator in [&first, &second] {
        let all = reports(aggregator);
        let (last, before) = all.split_last().unwrap();
        assert!(last.farewell && before.iter().all(|report| !report.farewell), "{all:?}");
        assert_eq!(requests(&all, "r9"), 7, "what came last is in it");
        assert_eq!(last.seq, before.last().unwrap().seq + 1);
    }
    assert!(reports(&breaks).iter().all(|report| !report.farewell), "it may have taken the first: that is repeated");
}

#[test]
fn an_edge_that_does_not_end_in_order_says_no_farewell() {
    let answer = json(&membership("r10", &[]));
    let aggregator = Served::start(move |_| Some((200, answer.clone())));
    let scene = Scene::start(&reporting_to(&[&aggregator]), "{ name: r10, origins: [127.0.0.1:9] }");
    until("it has reported", || reports(&aggregator).len() > 1);
    drop(scene);
    assert!(reports(&aggregator).iter().all(|report| !report.farewell));
}
