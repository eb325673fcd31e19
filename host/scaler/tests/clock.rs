//! The wall clock is set, forward and back: ages do not notice, schedules and records do.

mod script;

use forebay_scaler as scaler;
use jiff::{SignedDuration, Timestamp};
use scaler::decide::OperatorHold;
use scaler::wall::Wall;
use scaler::{Decision, Event};
use script::*;
use wire::{PoolReport, Stage};

const NOON: &str = "2026-03-02T12:00:00Z";
const STEPS: [SignedDuration; 5] = [
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(-1),
    SignedDuration::from_hours(365 * 24),
    SignedDuration::from_hours(-365 * 24),
    SignedDuration::from_millis(7_300),
];

fn set(script: &mut Script, ahead: SignedDuration) {
    script.apply(Event::WallClock(Wall::new(ahead)));
}

/// What a tick led to, without the instants that a person reads.
#[derive(Debug, PartialEq)]
struct Seen {
    decided: Vec<(u32, u32, String, Vec<scaler::Limit>, usize)>,
    stages: Vec<(Stage, f64)>,
    stop: usize,
    fresh: usize,
    hinted: String,
    gone: usize,
    origin_seconds: f64,
}

fn tick(script: &mut Script) -> Seen {
    let before = script.decisions.len();
    let actions = script.step();
    let view = script.region.pool("shop", script.now).unwrap();
    let decided = |d: &Decision| {
        let fresh = d.inputs.edges.iter().filter(|edge| edge.fresh).count();
        (d.from, d.to, d.winner.clone(), limits(d), fresh)
    };
    Seen {
        decided: script.decisions[before..].iter().map(decided).collect(),
        stages: view.origins.iter().map(|origin| (origin.stage, origin.stage_age_seconds)).collect(),
        stop: actions.pools["shop"].stop.len(),
        fresh: script.region.fresh_edges(script.now),
        hinted: format!("{:?}", script.last().hinted),
        gone: view.gone.len(),
        origin_seconds: view.origin_seconds,
    }
}

/// Twenty-three minutes in which every kind of age runs, and a step in second `step` of them: an origin boots, one warms
/// and nobody warms it, an edge falls silent, is stale and then taken for gone, hints stand and end, a decrease
/// waits, who drains is waited for, steps of 15 s are told to the engine.
fn story(step: Option<(u64, SignedDuration)>) -> Vec<Seen> {
    let mut setting = scaling();
    setting.floor = 1;
    setting.stabilisation = secs(20);
    setting.predictive =
        Some(config::region::Predictive { requests_per_origin: Some(12.0), price: 80.0, shadow: false });
    setting.hints = Some(config::region::Hints {
        kinds: vec![config::region::HintKind::Demand, config::region::HintKind::Prewarm],
        add: 4,
        longest: secs(600),
        per_second: 10,
    });
    let mut script = Script::new(setting, NOON);
    let mut seen = Vec::new();
    let mut origins = Vec::new();
    for second in 0..1400 {
        script.pass();
        if let Some((_, by)) = step.filter(|(at, _)| *at == second) {
            set(&mut script, by);
        }
        match second {
            5 | 6 => origins.push(script.launch()),
            10 => script.ready(origins[0]),
            40 => script.ready(origins[1]),
            _ => {}
        }
        if second < 60 {
            script.report("e2", 5);
        }
        let load = if second < 90 { 40 } else { 4 };
        if second == 8 {
            script.hint("e1", load, &[("p", "demand", 20.0, 30, 0), ("q", "prewarm", 6.0, 200, 100)]);
        } else if origins.is_empty() {
            script.report("e1", load);
        } else {
            // Nobody warms them, and an exchange never ends: only time-outs move them.
            let busy: Vec<_> = origins.iter().map(|origin| (*origin, false, 1)).collect();
            script.report_origins("e1", load, &busy);
        }
        seen.push(tick(&mut script));
    }
    assert!(seen.iter().any(|seen| seen.stop > 0), "no drain timed out: {}", script.last().line);
    seen
}

#[test]
fn no_step_of_the_wall_clock_makes_anything_older_or_younger() {
    let plain = story(None);
    for by in STEPS {
        for at in [7, 12, 30, 62, 100, 190] {
            let stepped = story(Some((at, by)));
            for (second, (stepped, plain)) in stepped.iter().zip(&plain).enumerate() {
                // A step has a decision made anew at once, as schedules may hold otherwise.
                assert_eq!(stepped, plain, "by {by:?} in second {at}: second {second}");
            }
        }
    }
}

#[test]
fn records_and_views_say_what_the_wall_clock_shows() {
    for by in STEPS {
        let mut script = Script::new(scaling(), NOON);
        let origin = script.launch();
        script.ready(origin);
        script.run(12, &[("e1", 40)]);
        let before = script.region.pool("shop", script.now).unwrap().origins[0].launched_at;
        script.region.points(script.now);
        set(&mut script, by);
        script.run(1, &[("e1", 40)]);
        let shows = |at: Timestamp| at.checked_add(by).unwrap();
        assert_eq!(script.last().at, shows(script.now), "{by:?}");
        let view = script.region.pool("shop", script.now).unwrap();
        assert_eq!(view.origins[0].launched_at, shows(before), "as old as it was, by the clock of now");
        let points = script.region.points(script.now).remove("shop").unwrap();
        for (points, grid) in [(&points.fine, 15), (&points.minutes, 60)] {
            let last = points.last().unwrap();
            assert_eq!(last.second() % grid, 0, "{by:?}: on the grid of the wall clock");
            let off = shows(script.now).as_second() - last.second();
            assert!((-grid / 2..=grid + grid / 2).contains(&off), "{by:?}: {off} s");
        }
        script.ends(origin);
        let gone = script.region.pool("shop", script.now).unwrap().gone[0].clone();
        assert_eq!((gone.launched_at, gone.gone_at), (shows(before), shows(script.now)));
    }
}

#[test]
fn what_was_seen_is_recalled_by_the_clock_that_shows_it() {
    let by = SignedDuration::from_hours(-1);
    let mut script = Script::new(scaling(), NOON);
    set(&mut script, by);
    let point = scaler::Point {
        at: script.now.checked_add(by).unwrap().checked_sub(secs(30)).unwrap(),
        requests: 30.0,
        rejects: 0.0,
        errors: 0.0,
        cost: 0.0,
        covered: 1.0,
        origins: scaler::Capacity::default(),
    };
    script.apply(Event::Recalled { pool: "shop".into(), points: vec![point] });
    script.report("e1", 30);
    script.region.tell_points_again();
    let points = script.region.points(script.now).remove("shop").unwrap();
    assert!(points.fine.iter().any(|told| told.at == point.at && told.requests == 30.0), "{points:?}");
}

#[test]
fn schedules_follow_the_wall_clock_and_so_does_a_hold_until_an_instant() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    let mut script = Script::new(setting, NOON);
    script.run(12, &[("e1", 10)]);
    assert_eq!(script.count(), 1);
    // 18:30 in Berlin.
    set(&mut script, SignedDuration::from_secs(5 * 3600 + 1800));
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.count(), &script.last().winner[..]), (5, "schedule evening"));
    // And back again, out of the window: one origin does.
    set(&mut script, SignedDuration::ZERO);
    script.run(1, &[("e1", 10)]);
    assert_eq!(script.count(), 1);

    let hold = OperatorHold { both_ways: true, until: Some(at("2026-03-02T12:30:00Z")), because: "a sale".into() };
    script.apply(Event::Held { pool: "shop".into(), hold: Some(hold) });
    script.run(2, &[("e1", 60)]);
    assert_eq!(script.count(), 1, "held");
    set(&mut script, SignedDuration::from_hours(1));
    script.run(2, &[("e1", 60)]);
    assert!(script.count() > 1, "half past twelve is over");
}

#[test]
fn a_schedule_fires_when_the_wall_clock_shows_its_time_and_is_waited_for_so_long() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    let mut config = (*region(setting, &[])).clone();
    config.aggregator.as_mut().unwrap().tick = secs(3600);
    let mut script = Script::with(std::sync::Arc::new(config), NOON);
    script.step();
    // Ten seconds before the lead of the evening's window begins.
    set(&mut script, SignedDuration::from_secs(5 * 3600 - 60 - 10));
    let wake = script.step().wake_at;
    assert_eq!(wake.duration_since(script.now), SignedDuration::from_secs(10));
    assert_eq!(script.count(), 1);
    script.now = wake;
    script.step();
    assert_eq!(script.count(), 5);
}

#[test]
fn an_edge_is_fresh_or_stale_by_what_passed() {
    for by in STEPS {
        let mut script = Script::new(scaling(), NOON);
        let report = script.make_report("e1", PoolReport { requests: 10, ..PoolReport::default() });
        script.apply(Event::Report(report));
        set(&mut script, by);
        script.now += secs(4);
        assert_eq!(script.region.fresh_edges(script.now), 1, "{by:?}");
        script.now += secs(2);
        assert_eq!(script.region.fresh_edges(script.now), 0, "{by:?}");
    }
}
