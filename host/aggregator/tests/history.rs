//! What pools saw, on real disks, by real processes that are killed.

#[path = "harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aggregator::history::store::{Batch, OpenError, Store};
use config::region::{Actuator, History};
use forebay_aggregator as aggregator;
use harness::*;
use jiff::Timestamp;
use scaler::{Capacity, Checkpoint, Point, Points, Step};
use serde_json::Value;
use wire::{PoolReport, Report};

const TICK: Duration = Duration::from_millis(250);
const SCALING: &str = "reactive: {requests_per_origin: 1000000}";

#[test]
fn a_killed_aggregator_loses_at_most_its_last_tick() {
    let folder = Folder::new("killed");
    let mut random = Timestamp::now().as_nanosecond() as u64 | 1;
    let (mut sent, mut seq, mut worst) = (0, 0, Duration::ZERO);
    // What was acknowledged, and when; what was lost is not counted again.
    let mut held = 0.0;
    let mut began = Instant::now();
    for round in 0..20 {
        let victim = Victim::start(&folder.0, SCALING);
        let found = remembered(victim.address);
        assert!(found >= held - 0.5, "round {round}: {found} of {held} were on the disk");
        held = found;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let until = Instant::now() + Duration::from_millis(100 + random % 1200);
        // The edge was alone while nobody took its reports: it begins anew, as one that restarts.
        began = began.max(Instant::now());
        let mut acknowledged: Vec<(Instant, f64)> = Vec::new();
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            let period_ms = began.elapsed().as_millis() as u64;
            began = Instant::now();
            seq += 1;
            let requests = 10 + random % 90;
            let pool = PoolReport { requests, ..PoolReport::default() };
            let pools = [("shop".to_string(), pool)].into();
            let (edge, period_ms) = ("e1".into(), period_ms.max(1));
            let report = Report { version: 1, edge, boot: 1, seq, period_ms, pools, farewell: false };
            let (status, answer) = post(victim.address, &serde_json::to_string(&report).unwrap());
            assert_eq!(status, 200, "{answer}");
            sent += requests;
            acknowledged.push((Instant::now(), requests as f64));
        }
        let killed = Instant::now();
        victim.kill();
        // How far back what is missing reaches.
        let next = Victim::start(&folder.0, SCALING);
        let found = remembered(next.address);
        next.kill();
        let mut missing = held + acknowledged.iter().map(|(_, requests)| requests).sum::<f64>() - found;
        assert!(missing > -0.5, "round {round}: {missing} more than were sent");
        for (at, requests) in acknowledged.iter().rev() {
            if missing < 0.5 {
                break;
            }
            missing -= requests;
            worst = worst.max(killed - *at);
        }
        assert!(missing < 0.5, "round {round}: {missing} are missing of an earlier round");
        held = found;
    }
    println!("{sent} requests, {held} remembered; the oldest that a kill lost was {worst:?} before it");
    // The last tick, and the transaction that was on its way to the disk.
    assert!(worst <= TICK + Duration::from_secs(1), "{worst:?}");
    assert!(held > 0.5 * sent as f64, "{held} of {sent}");
    let damaged = std::fs::read_dir(&folder.0)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
    assert_eq!(damaged.count(), 0, "no kill damaged the file");
}

fn dry(folder: &Folder) -> Setup {
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = Actuator::DryRun;
    setup
}

#[test]
fn a_restarted_aggregator_answers_the_old_history_and_goes_on_in_the_step_that_was_cut_off() {
    let folder = Folder::new("recalled");
    let setup = dry(&folder);
    let first = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", first.address());
    edge.load = 40;
    wait_for("a second of it on the disk", || {
        edge.report();
        remembered(first.address()) >= 40.0
    });
    first.stop();

    let second = aggregator::start(setup.region()).unwrap();
    let before = remembered(second.address());
    assert!(before >= 40.0, "{before}");
    edge.aggregator = second.address();
    // Reports that come faster than their periods pass cover what has passed, and no more.
    wait_for("what came since", || {
        edge.report();
        remembered(second.address()) >= before + 40.0
    });
    let (_, minutes) = get(second.address(), "/v1/pools/shop/history");
    assert_eq!((&minutes["step"], &minutes["step_seconds"]), (&Value::from("1m"), &Value::from(60)));
    for point in minutes["points"].as_array().unwrap() {
        let requests = point["requests"].as_f64().unwrap();
        assert!((requests - 40.0).abs() < 1e-6, "the mean is of what was reported, of both runs: {point}");
        assert!(point["covered"].as_f64().unwrap() <= 1.0, "{point}");
    }
    assert!(minutes["kept"]["from"].as_str().unwrap() <= minutes["kept"]["last"].as_str().unwrap());
    let (_, csv) = exchange(second.address(), "GET", "/v1/pools/shop/history?format=csv&step=15s", "");
    let mut lines = csv.lines();
    let head = "time,requests,rejects,errors,cost,covered,booting,warming,serving,draining";
    assert_eq!(lines.next(), Some(head));
    assert_eq!(lines.next().unwrap().split(',').count(), head.split(',').count());
    second.stop();
}

#[test]
fn a_question_that_is_not_understood_is_refused() {
    let folder = Folder::new("asked");
    let running = aggregator::start(dry(&folder).region()).unwrap();
    for (path, status, says) in [
        ("/v1/pools/shop/history?stepp=1m", 400, "allowed are from, to, step and format"),
        ("/v1/pools/shop/history?step=2m", 400, "allowed are 15s and 1m"),
        ("/v1/pools/shop/history?from=noon", 400, "allowed is an instant"),
        ("/v1/pools/shop/history?format=xml", 400, "json and csv"),
        ("/v1/pools/shop/history?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "not after"),
        ("/v1/pools/shap/history", 404, "run here are: shop"),
        ("/v1/pools/shop/histori", 404, "/v1/pools/NAME/history"),
    ] {
        let (found, answer) = get(running.address(), path);
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(says), "{path}: {answer}");
    }
    let (status, answer) = get(running.address(), "/v1/pools/shop/history?from=2026-01-01T00:00:00%2B01:00");
    assert_eq!((status, answer["points"].as_array().map(Vec::len)), (200, Some(0)), "nobody reported: {answer}");
    running.stop();
}

#[test]
fn a_damaged_history_is_moved_aside_and_another_begun() {
    for (name, damage) in [
        ("noise", (|_| vec![0x5a; 9000]) as fn(Vec<u8>) -> Vec<u8>),
        ("cut", |bytes| bytes[..bytes.len() / 3].to_vec()),
        ("middle", |mut bytes| {
            // Pages past the header: of trees, of free space.
            bytes[4096..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0xff);
            bytes
        }),
    ] {
        let folder = Folder::new(name);
        let setup = dry(&folder);
        let file = folder.0.join(History::FILE);
        let first = aggregator::start(setup.region()).unwrap();
        let mut edge = Edge::new("e1", first.address());
        edge.load = 40;
        wait_for("points", || {
            edge.report();
            remembered(first.address()) > 0.0
        });
        first.stop();
        std::fs::write(&file, damage(std::fs::read(&file).unwrap())).unwrap();
        let broken = std::fs::read(&file).unwrap();

        let second = aggregator::start(setup.region()).unwrap();
        edge.aggregator = second.address();
        assert_eq!(remembered(second.address()), 0.0, "{name}: nothing is made up");
        wait_for("points in the new file", || {
            edge.report();
            remembered(second.address()) > 0.0
        });
        second.stop();
        let names = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
        let aside: Vec<_> = names.filter(|path| path.to_string_lossy().contains("redb.damaged-")).collect();
        assert_eq!(aside.len(), 1, "{name}");
        assert_eq!(std::fs::read(&aside[0]).unwrap().len(), broken.len(), "{name}: it is kept for whoever looks");
    }
}

#[test]
fn two_aggregators_on_one_history_are_told_so_and_the_second_takes_it_once_it_is_free() {
    let folder = Folder::new("shared");
    let setup = dry(&folder);
    let first = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", first.address());
    edge.load = 40;
    wait_for("points", || {
        edge.report();
        remembered(first.address()) > 0.0
    });
    let second = aggregator::start(setup.region()).unwrap();
    let (status, answer) = get(second.address(), "/v1/pools/shop/history");
    assert_eq!(status, 503, "{answer}");
    let detail = answer["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("in use by another process") && detail.contains("aggregator.history.path"), "{detail}");
    let (status, _) = get(second.address(), "/v1/pools/shop/explain");
    assert_eq!(status, 200, "it decides all the same");
    first.stop();
    let wait = Instant::now();
    while get(second.address(), "/v1/pools/shop/history").0 != 200 {
        assert!(wait.elapsed() < Duration::from_secs(20), "it is not taken over");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(remembered(second.address()) > 0.0);
    second.stop();
}

fn point(second: i64, requests: f64) -> Point {
    let at = Timestamp::from_second(second).unwrap();
    let origins = Capacity { booting: 1, warming: 2, serving: 3, draining: 4, warm: 0 };
    Point { at, requests, rejects: 0.5, errors: 0.25, cost: -1.5, covered: 0.75, origins }
}

#[test]
fn two_weeks_of_points_are_kept_in_ten_megabytes_a_pool_and_older_ones_go() {
    const DAYS: i64 = 16;
    let folder = Folder::new("weeks");
    let path = folder.0.join("h.redb");
    let store = Store::open(&path, History::KEEP).unwrap();
    let start = 1_790_000_040 / 60 * 60;
    let mut last = start;
    // An hour in each transaction, as it would come minute by minute.
    for hour in 0..DAYS * 24 {
        let of = |step: i64| {
            let seconds = (0..3600).step_by(step as usize).map(|second| start + hour * 3600 + second);
            seconds.map(|second| point(second, second as f64)).collect::<Vec<_>>()
        };
        let points = Points { fine: of(15), minutes: of(60) };
        last = points.minutes.last().unwrap().second();
        let now = Timestamp::from_second(last + 59).unwrap();
        store.write(Batch::new(BTreeMap::from([("shop".to_string(), points)]), now));
    }
    drop(store);
    let store = Store::open(&path, History::KEEP).unwrap();
    let all = |step| store.reader().points("shop", step, Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap();
    let minutes = all(Step::Minute);
    assert_eq!(minutes.len(), 14 * 1440);
    assert_eq!(minutes.last().unwrap(), &point(last, last as f64), "each number as it was written");
    assert_eq!(all(Step::Fine).len(), 240);
    assert!(store.reader().points("shoq", Step::Minute, Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap().is_empty());
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("{bytes} bytes");
    let ahead = Timestamp::from_millisecond(last * 1000 + 600).unwrap();
    let up_to = store.reader().points("shop", Step::Minute, Timestamp::UNIX_EPOCH, ahead).unwrap();
    assert_eq!(up_to.len(), minutes.len(), "a step that began in this second has begun");
    assert!(bytes <= 10 << 20, "{bytes} bytes");
}

#[test]
fn a_checkpoint_is_given_back_with_its_version_and_two_cannot_open_one_file() {
    let folder = Folder::new("checkpoint");
    let path = folder.0.join("h.redb");
    let now = Timestamp::now();
    let store = Store::open(&path, History::KEEP).unwrap();
    for version in [1, 2] {
        let mut batch = Batch::new(BTreeMap::new(), now);
        batch.checkpoint("shop", Checkpoint { version, bytes: vec![7; 100_000] });
        store.write(batch);
    }
    let refused = Store::open(&path, History::KEEP).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    drop(store);
    let store = Store::open(&path, History::KEEP).unwrap();
    let found = store.reader().checkpoint("shop").unwrap();
    assert_eq!(found, Some(Checkpoint { version: 2, bytes: vec![7; 100_000] }));
    assert_eq!(store.reader().checkpoint("other").unwrap(), None);
    assert_eq!(store.failed(), None);
}
