//! The whole path on real sockets and real processes: report, decision, journal, origin, stage.

#[path = "harness.rs"]
mod harness;

use std::time::Duration;

use forebay_aggregator as aggregator;
use harness::*;
use serde_json::Value;
use wire::Stage;

#[test]
fn an_origin_boots_is_warmed_by_the_edge_and_then_serves() {
    let folder = Folder::new("boots");
    let aggregator = aggregator::start(Setup::new(&folder.0).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.warms = false;

    let members = edge.report_until("two warming", |members| count(members, Stage::Warming) == 2);
    assert_eq!(members.len(), 2, "the floor and no more");
    edge.report();
    assert_eq!(count(&edge.report().pools["shop"], Stage::Serving), 0, "nothing serves before the edge warmed it");
    assert!(!edge.report().pools.contains_key("still"), "a pool without scaling is the edge's own");

    edge.warms = true;
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let (status, pools) = get(aggregator.address(), "/v1/pools");
    assert_eq!(status, 200);
    let shop = &pools["pools"]["shop"];
    assert_eq!(shop["desired"], 2);
    assert_eq!(shop["capacity"]["serving"], 2);
    assert!(shop["origin_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!((&shop["lead"]["samples"], &shop["lead"]["learned"]), (&Value::from(2), &Value::from(false)));
    assert!(shop["lead"]["boot"]["p50"].as_f64().unwrap() >= 0.05, "{}", shop["lead"]);
    for origin in shop["origins"].as_array().unwrap() {
        let at = |name: &str| origin[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(at("launched_at") < at("ready_at") && at("ready_at") <= at("serving_at"), "{origin}");
    }
    aggregator.stop_and_release();
}

#[test]
fn load_adds_origins_up_to_the_ceiling_and_says_why() {
    let folder = Folder::new("load");
    let aggregator = aggregator::start(Setup::new(&folder.0).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 80;
    edge.report_until("five serving", |members| count(members, Stage::Serving) == 5);
    let (_, explained) = get(aggregator.address(), "/v1/pools/shop/explain");
    let line = explained["line"].as_str().unwrap();
    assert!(line.contains("reactive") && line.contains("ceiling 5 binds (wanted 8)"), "{line}");
    assert_eq!(explained["decision"]["want"], 8);
    assert_eq!(explained["inputs"]["edges"][0]["fresh"], true);
    let (_, all) = get(aggregator.address(), "/v1/decisions?pool=shop&limit=1000");
    let moves: Vec<_> = all["decisions"].as_array().unwrap().iter().map(|d| (&d["from"], &d["to"])).collect();
    assert_eq!((moves[0].0, moves[0].1), (&Value::from(0), &Value::from(2)), "the floor came first: {moves:?}");
    assert!(moves.iter().any(|(_, to)| **to == 5), "{moves:?}");
    aggregator.stop_and_release();
    assert_eq!(folder.state_files(), 0, "released origins leave nothing");
}

#[test]
fn who_leaves_drains_until_nothing_is_in_flight() {
    let folder = Folder::new("drains");
    let aggregator = aggregator::start(Setup::new(&folder.0).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 30;
    let before = edge.report_until("three serving", |members| count(members, Stage::Serving) == 3);
    edge.in_flight = before.iter().map(|member| (member.address, 1)).collect();
    edge.load = 0;
    let members = edge.report_until("one draining", |members| count(members, Stage::Draining) == 1);
    let leaving = members.iter().find(|member| member.stage == Stage::Draining).unwrap().address;
    for _ in 0..5 {
        assert_eq!(edge.report().pools["shop"].len(), 3, "it stays while an exchange is in flight");
    }
    edge.in_flight.clear();
    let members = edge.report_until("it is gone", |members| members.len() == 2);
    assert!(members.iter().all(|member| member.address != leaving && member.stage == Stage::Serving));
    let (_, pools) = get(aggregator.address(), "/v1/pools");
    assert_eq!(pools["pools"]["shop"]["gone"][0]["asked"], true);
    aggregator.stop_and_release();
}

#[test]
fn a_restarted_aggregator_adopts_what_runs() {
    let folder = Folder::new("restart");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.stabilisation = Duration::from_secs(60);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 40;
    edge.report_until("four serving", |members| count(members, Stage::Serving) == 4);
    let (before, epoch) = (pids(&folder), edge.report().epoch);
    aggregator.stop();
    assert!(before.values().all(|pid| is_alive(*pid)), "stop leaves origins running");

    let aggregator = aggregator::start(setup.region()).unwrap();
    edge.aggregator = aggregator.address();
    edge.load = 1;
    let first = edge.report();
    assert!(first.epoch > epoch, "an edge must not take the answer for one that it has");
    assert_eq!(count(&first.pools["shop"], Stage::Serving), 4, "they serve on, unwarmed: {first:?}");
    for _ in 0..10 {
        edge.report();
    }
    assert_eq!(pids(&folder), before, "no origin was started, stopped or restarted");
    let (_, all) = get(aggregator.address(), "/v1/decisions");
    let last = all["decisions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["from"], &last["to"]), (&Value::from(4), &Value::from(4)), "{last}");
    aggregator.stop_and_release();
    assert!(before.values().all(|pid| !is_alive(*pid)), "adopted ones can be stopped");
}

#[test]
fn a_crashed_origin_is_replaced() {
    let folder = Folder::new("crash");
    let aggregator = aggregator::start(Setup::new(&folder.0).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let before = edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    exchange(before[0].address, "GET", "/crash", "");
    let after = edge.report_until("two again, one of them new", |members| {
        count(members, Stage::Serving) == 2 && members.iter().any(|m| before.iter().all(|b| b.address != m.address))
    });
    assert!(after.iter().any(|member| member.address == before[1].address), "the other was not touched");
    let (_, pools) = get(aggregator.address(), "/v1/pools");
    assert_eq!(pools["pools"]["shop"]["gone"][0]["asked"], false);
    aggregator.stop_and_release();
}

#[test]
fn an_origin_that_never_becomes_ready_is_replaced_and_a_command_that_ends_is_not_started_in_a_storm() {
    let folder = Folder::new("never");
    let mut setup = Setup::new(&folder.0);
    setup.process().command[2] = "never".into();
    setup.process().boot_timeout = Duration::from_millis(300);
    setup.scaling.floor = 1;
    let aggregator = aggregator::start(setup.region()).unwrap();
    wait_for("the first to be started", || folder.state_files() == 1);
    let first = pids(&folder);
    wait_for("another in its place", || folder.state_files() == 1 && pids(&folder) != first);
    assert!(first.values().all(|pid| !is_alive(*pid)));
    aggregator.stop_and_release();

    let folder = Folder::new("storm");
    let mut setup = Setup::new(&folder.0);
    setup.process().command[2] = "crash".into();
    let aggregator = aggregator::start(setup.region()).unwrap();
    for _ in until(Duration::from_millis(1500)) {}
    // Each has a log of its own.
    let files = std::fs::read_dir(folder.0.join("state")).unwrap().map(|entry| entry.unwrap().path());
    let starts = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count();
    assert!((1..=6).contains(&starts), "{starts} starts in 1.5 s");
    aggregator.stop_and_release();
}

#[test]
fn what_is_not_in_the_journal_is_not_done() {
    let folder = Folder::new("journal");
    let mut setup = Setup::new(&folder.0);
    // The journal's folder is a file: it can be neither made nor opened.
    let blocker = folder.0.join("blocker");
    std::fs::write(&blocker, "").unwrap();
    setup.journal = blocker.join("journal.jsonl");
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 40;
    for _ in 0..10 {
        assert!(edge.report().pools["shop"].is_empty(), "an edge is still answered, and nothing was started");
    }
    assert_eq!(folder.state_files(), 0);

    std::fs::remove_file(&blocker).unwrap();
    edge.report_until("four once it can be written", |members| members.len() == 4);
    let text = std::fs::read_to_string(&setup.journal).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["region"]), (&Value::from("decision"), &Value::from("test")));
    assert_eq!(first["origins"], Value::Array(Vec::new()), "it was written before anything ran");
    aggregator.stop_and_release();
}

#[test]
fn a_torn_last_line_of_the_journal_costs_that_line_only() {
    let folder = Folder::new("torn");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    setup.scaling.floor = 3;
    let aggregator = aggregator::start(setup.region()).unwrap();
    wait_for("a decision", || folder.journal().contains("\"to\":3"));
    aggregator.stop();
    let whole = folder.journal();
    std::fs::write(&setup.journal, format!("{whole}{{\"kind\":\"decision\",\"reg")).unwrap();

    setup.scaling.floor = 4;
    let aggregator = aggregator::start(setup.region()).unwrap();
    wait_for("the next decision", || folder.journal().contains("\"from\":3,\"to\":4"));
    assert!(folder.journal().starts_with(&whole), "append-only");
    let (_, all) = get(aggregator.address(), "/v1/decisions");
    let moves = all["decisions"].as_array().unwrap().iter().map(|d| d["to"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(moves, [3, 4], "the old one is still told");
    aggregator.stop();
}

#[test]
fn an_origin_that_is_ready_and_then_ends_each_time_is_started_ever_more_seldom_and_told_of() {
    let folder = Folder::new("flaps");
    let mut setup = Setup::new(&folder.0);
    let origin = setup.process().command[0].clone();
    setup.process().command = vec!["timeout".into(), "0.5".into(), origin, "{port}".into(), "0".into()];
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    wait_for("both to have ended twice, and been ready each time", || {
        edge.report();
        let (_, pools) = get(edge.aggregator, "/v1/pools");
        pools["pools"]["shop"]["trouble"]["failures"].as_u64().is_some_and(|failures| failures >= 4)
    });
    let (_, pools) = get(edge.aggregator, "/v1/pools");
    let gone = pools["pools"]["shop"]["gone"].as_array().unwrap();
    assert!(gone.iter().all(|gone| !gone["ready_at"].is_null()), "{gone:?}");
    assert!(folder.journal().contains("launches fail: "), "nothing that serves is taken away meanwhile");
    aggregator.stop_and_release();
}

#[test]
fn a_dry_run_starts_nothing_and_publishes_the_listed_origins() {
    let folder = Folder::new("dry");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    setup.listed = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 40;
    wait_for("a decision on the load", || {
        let members = edge.report().pools.remove("shop").unwrap();
        assert_eq!((members.len(), count(&members, Stage::Serving)), (2, 2));
        folder.journal().contains("\"from\":2,\"to\":4")
    });
    assert_eq!(folder.state_files(), 0);
    aggregator.stop();
}

#[test]
fn a_reload_changes_bounds_and_keeps_origins_and_refuses_another_address() {
    let folder = Folder::new("reload");
    let mut setup = Setup::new(&folder.0);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let before = pids(&folder);

    let mut other = (*setup.region()).clone();
    other.aggregator.as_mut().unwrap().address = "127.0.0.1:1".parse().unwrap();
    let refused = aggregator.reload(std::sync::Arc::new(other)).unwrap_err();
    assert!(refused.to_string().contains("aggregator.address"), "{refused}");

    setup.scaling.floor = 3;
    aggregator.reload(setup.region()).unwrap();
    edge.report_until("three serving", |members| count(members, Stage::Serving) == 3);
    let after = pids(&folder);
    assert!(before.iter().all(|(address, pid)| after.get(address) == Some(pid)), "{before:?} {after:?}");

    let mut without = (*setup.region()).clone();
    without.pools.remove("shop");
    aggregator.reload(std::sync::Arc::new(without)).unwrap();
    wait_for("the origins of the pool that left to stop", || after.values().all(|pid| !is_alive(*pid)));
    aggregator.stop();
}

#[test]
fn a_process_that_is_not_ours_is_neither_adopted_nor_signalled() {
    let folder = Folder::new("foreign");
    let setup = Setup::new(&folder.0);
    // Its number stands in a state file, as it would if the origin had ended and the number had
    // been given to someone else.
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::create_dir_all(folder.0.join("state")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = serde_json::json!({
        "pool": "shop", "address": "127.0.0.1:9", "launched_at": "2026-01-01T00:00:00Z",
        "ready_at": "2026-01-01T00:00:00Z", "serving_at": null,
        "identity": { "pid": stranger.id(), "start_ticks": 1, "boot": boot.trim() }
    });
    std::fs::write(folder.0.join("state/shop-9.json"), record.to_string()).unwrap();
    std::fs::write(folder.0.join("state/shop-10.json"), "{ torn").unwrap();
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let members = edge.report_until("the floor", |members| count(members, Stage::Serving) == 2);
    assert!(members.iter().all(|member| member.address.port() > 10), "{members:?}");
    aggregator.stop_and_release();
    assert!(stranger.try_wait().unwrap().is_none(), "it lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn an_origin_that_ignores_the_first_signal_is_killed_after_the_stop_timeout() {
    let folder = Folder::new("stubborn");
    let mut setup = Setup::new(&folder.0);
    let script = format!("trap '' TERM; exec {} $0 50", setup.process().command[0]);
    setup.process().command = vec!["sh".into(), "-c".into(), script, "{port}".into()];
    setup.process().stop_timeout = Duration::from_millis(500);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let before = pids(&folder);
    let begin = std::time::Instant::now();
    aggregator.stop_and_release();
    assert!(begin.elapsed() >= Duration::from_millis(500), "it was asked first: {:?}", begin.elapsed());
    assert!(before.values().all(|pid| !is_alive(*pid)));
}

#[test]
fn two_aggregators_never_run_the_same_origins() {
    let folder = Folder::new("two");
    let mut setup = Setup::new(&folder.0);
    let first = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", first.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let before = pids(&folder);

    setup.scaling.floor = 5;
    let second = aggregator::start(setup.region()).unwrap();
    let mut other = Edge::new("e2", second.address());
    for _ in 0..10 {
        assert!(!other.report().pools.contains_key("shop"), "it says nothing of a pool that it cannot know");
    }
    assert_eq!(pids(&folder), before);
    first.stop();
    other.report_until("five, once the first has ended", |members| members.len() == 5);
    assert!(before.iter().all(|(address, pid)| pids(&folder).get(address) == Some(pid)), "and it adopted the two");
    second.stop_and_release();
}

#[test]
fn an_origin_that_was_told_to_stop_is_not_taken_for_one_that_serves_after_a_restart() {
    let folder = Folder::new("halfway");
    let mut setup = Setup::new(&folder.0);
    let script = format!("trap '' TERM; exec {} $0 50", setup.process().command[0]);
    setup.process().command = vec!["sh".into(), "-c".into(), script, "{port}".into()];
    setup.process().stop_timeout = Duration::from_secs(2);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 30;
    edge.report_until("three serving", |members| count(members, Stage::Serving) == 3);
    edge.load = 0;
    let told = || {
        let texts = pids(&folder).into_keys().map(|address| {
            let port = address.rsplit_once(':').unwrap().1.to_string();
            std::fs::read_to_string(folder.0.join(format!("state/shop-{port}.json"))).unwrap_or_default()
        });
        texts.filter(|text| text.contains("\"stopping_at\":\"")).count()
    };
    edge.report_until("one is told to stop, and does not", |_| told() == 1);
    aggregator.stop();

    let aggregator = aggregator::start(setup.region()).unwrap();
    edge.aggregator = aggregator.address();
    let members = edge.report().pools.remove("shop").unwrap();
    assert_eq!((count(&members, Stage::Draining), count(&members, Stage::Serving)), (1, 2), "{members:?}");
    edge.report_until("it is killed in the end", |members| members.len() == 2);
    aggregator.stop_and_release();
}
