//! What the engine learned, over restarts: written down and read, or learned again from what was seen.

mod script;

use forebay_scaler as scaler;
use jiff::Timestamp;
use scaler::checkpoint::VERSION;
use scaler::engine::{Engine, Settings};
use scaler::{Capacity, Checkpoint, Event, Point, Proposal, Source};
use script::*;
use wire::PoolReport;

const START: &str = "2026-03-02T00:00:00Z";
const DAY: i64 = 5760;

/// Requests a second in a step: a day's wave and some noise.
fn load(step: i64) -> f64 {
    let wave = (step as f64 / DAY as f64 * std::f64::consts::TAU).sin();
    let noise = ((step * 7919) % 101) as f64 / 101.0;
    (120.0 + 60.0 * wave) * (0.9 + 0.2 * noise)
}

fn pass(script: &mut Script, load: f64) {
    script.pass_step(&[("e1", load)]);
}

fn proposal(script: &Script) -> Proposal {
    script.proposal(Source::Predictive)
}

/// Points of `seconds` each from START on: as many as there are in `steps`, as a history would have them.
fn points(steps: i64, seconds: i64) -> Vec<Point> {
    let each = seconds / 15;
    let mean =
        |first: i64| (first..first + each).map(|step| (load(step) * 15.0).round() / 15.0).sum::<f64>() / each as f64;
    let point = |first: i64| Point {
        at: Timestamp::from_second(at(START).as_second() + first * 15).unwrap(),
        requests: mean(first),
        rejects: 0.0,
        errors: 0.0,
        cost: 0.0,
        covered: 1.0,
        origins: Capacity::default(),
    };
    (0..steps / each).map(|at| point(at * each)).collect()
}

fn taught(script: &mut Script, steps: i64) {
    script.apply(Event::Taught { pool: "shop".into(), minutes: points(steps, 60) });
}

fn learn(script: &mut Script, steps: std::ops::Range<i64>) {
    steps.for_each(|step| pass(script, load(step)));
}

/// Three days, and a checkpoint of them.
fn learned() -> (Script, Checkpoint) {
    let mut script = Script::with(slow(predictive(80.0)), START);
    learn(&mut script, 0..3 * DAY);
    assert!(proposal(&script).because.contains("tuned rules"), "{:?}", proposal(&script));
    let mut found = script.region.checkpoints(true);
    (script, found.remove("shop").expect("there is something to write down"))
}

#[test]
fn a_restart_goes_on_as_if_nothing_had_been() {
    let (mut first, checkpoint) = learned();
    let mut second = Script::with(slow(predictive(80.0)), START);
    second.now = first.now;
    assert_eq!(second.region.restore("shop", &checkpoint), Ok(()));
    assert_eq!(second.region.wants_minutes("shop", second.now), None);
    // What the checkpoint does not have yet, the last hour does.
    // And the step that runs now, which the edges' reports had covered before it was over.
    let recalled = points(3 * DAY + 1, 15).split_off(3 * DAY as usize - 240);
    second.apply(Event::Recalled { pool: "shop".into(), points: recalled });
    second.now += std::time::Duration::from_millis(1);
    let mut report = second.make_report("e1", PoolReport::default());
    report.period_ms = 1;
    second.apply(Event::Report(report));
    second.step();
    assert_eq!(proposal(&second).origins, proposal(&first).origins, "before the first step is over");
    second.now -= std::time::Duration::from_millis(1);
    for step in 3 * DAY..3 * DAY + 300 {
        pass(&mut first, load(step));
        pass(&mut second, load(step));
        // The first of them may still hold what the other, which has just begun, never wanted.
        assert_eq!(proposal(&first), proposal(&second), "step {step}");
    }
}

#[test]
fn what_came_since_the_checkpoint_is_told_by_the_step() {
    let (mut first, checkpoint) = learned();
    learn(&mut first, 3 * DAY..3 * DAY + 40);
    let mut second = Script::with(slow(predictive(80.0)), START);
    second.now = first.now;
    second.region.restore("shop", &checkpoint).unwrap();
    let recalled = points(3 * DAY + 40, 15).split_off(3 * DAY as usize - 200);
    second.apply(Event::Recalled { pool: "shop".into(), points: recalled });
    for step in 3 * DAY + 40..3 * DAY + 80 {
        pass(&mut first, load(step));
        pass(&mut second, load(step));
    }
    assert_eq!(proposal(&first), proposal(&second));
}

#[test]
fn the_time_of_a_stop_is_a_gap_and_no_time_without_demand() {
    let (_, checkpoint) = learned();
    let mut second = Script::with(slow(predictive(80.0)), START);
    second.now = at(START) + secs(15 * (3 * DAY as u64 + 120));
    second.region.restore("shop", &checkpoint).unwrap();
    second
        .apply(Event::Recalled { pool: "shop".into(), points: points(3 * DAY, 15).split_off(3 * DAY as usize - 120) });
    learn(&mut second, 3 * DAY + 120..3 * DAY + 124);
    let found = proposal(&second);
    assert!(found.origins.is_some_and(|origins| origins >= 12), "{found:?}");
    assert!(found.because.contains("tuned rules"), "{found:?}");
}

#[test]
fn an_engine_without_a_checkpoint_learns_from_the_minutes_and_moves_nothing_meanwhile() {
    let mut script = Script::with(slow(predictive(80.0)), START);
    script.now = at(START) + secs(15 * 4 * DAY as u64);
    script.apply(Event::Adopted { pool: "shop".into(), origins: 20 });
    assert_eq!(script.region.wants_minutes("shop", script.now), Some(Timestamp::UNIX_EPOCH));
    taught(&mut script, 4 * DAY);
    let mut ticks = 0;
    loop {
        pass(&mut script, load(4 * DAY + ticks));
        ticks += 1;
        let found = proposal(&script);
        if !found.because.contains("learning from the history") {
            break;
        }
        assert_eq!(found.origins, None, "half of the past is no ground for a count: {found:?}");
        assert!(script.region.checkpoints(true).is_empty(), "what is half learned is not written down");
    }
    assert!((40..60).contains(&ticks), "23,040 steps, 500 in a tick: {ticks}");
    let found = proposal(&script);
    assert!(found.because.contains("tuned rules"), "{found:?}");
    assert_eq!(script.region.wants_minutes("shop", script.now), None);
    assert_eq!(script.region.checkpoints(false).len(), 1, "and is written down at once");
}

#[test]
fn a_changed_price_only_weighs_what_was_learned() {
    let (mut script, checkpoint) = learned();
    let blend = |script: &Script| proposal(script).because;
    let before = blend(&script);
    script.apply(Event::Configured(slow(predictive(400.0))));
    pass(&mut script, load(3 * DAY));
    assert!(blend(&script).contains("tuned rules") && blend(&script) != before, "{}", blend(&script));
    let mut other = Script::with(slow(predictive(400.0)), START);
    other.now = script.now;
    assert!(other.region.restore("shop", &checkpoint).is_ok());
}

#[test]
fn another_capacity_is_learned_again_from_what_was_seen() {
    let (mut script, checkpoint) = learned();
    let mut other = predictive(80.0);
    other.predictive.as_mut().unwrap().requests_per_origin = Some(20.0);
    script.apply(Event::Configured(slow(other)));
    let stood = proposal(&script).origins;
    assert_eq!(script.region.wants_minutes("shop", script.now), Some(Timestamp::UNIX_EPOCH));
    let refused = script.region.restore("shop", &checkpoint).unwrap_err();
    assert!(refused.contains("it counts 10"), "{refused}");
    taught(&mut script, 3 * DAY);
    pass(&mut script, load(3 * DAY));
    let found = proposal(&script);
    assert!(found.because.contains("learning from the history"), "{found:?}");
    assert_eq!(found.origins, stood, "what stood stands meanwhile");
    for step in 1..60 {
        pass(&mut script, load(3 * DAY + step));
    }
    assert!(proposal(&script).because.contains("tuned rules"), "{:?}", proposal(&script));
}

#[test]
fn minutes_in_which_an_edge_was_silent_teach_nothing() {
    let mut script = Script::with(slow(predictive(80.0)), START);
    script.now = at(START) + secs(15 * DAY as u64);
    let mut minutes = points(DAY, 60);
    for minute in minutes.iter_mut().skip(300) {
        (minute.requests, minute.covered) = (minute.requests / 2.0, 0.5);
    }
    script.apply(Event::Taught { pool: "shop".into(), minutes });
    for step in 0..20 {
        pass(&mut script, load(DAY + step));
    }
    let found = proposal(&script);
    assert!(!found.because.contains("learning"), "{found:?}");
    let level: f64 = found.because["level ".len()..].split(' ').next().unwrap().parse().unwrap();
    assert!(level > 90.0, "{found:?}");
}

#[test]
fn a_checkpoint_comes_every_ten_minutes_and_when_it_is_asked_for() {
    let mut script = Script::with(slow(predictive(80.0)), START);
    let mut written = Vec::new();
    for step in 0..240 {
        pass(&mut script, load(step));
        if !script.region.checkpoints(false).is_empty() {
            written.push(step);
        }
    }
    assert!((6..=7).contains(&written.len()), "{written:?}");
    assert!(written[1..].windows(2).all(|pair| pair[1] - pair[0] == 40), "{written:?}");
    assert_eq!(script.region.checkpoints(true).len(), 1);
    assert!(script.region.checkpoints(true).is_empty(), "nothing is new");
}

#[test]
fn bytes_that_are_none_of_ours_are_refused_with_a_reason_and_change_nothing() {
    let (mut script, checkpoint) = learned();
    let before = script.region.checkpoints(true);
    let half = checkpoint.bytes[..checkpoint.bytes.len() / 2].to_vec();
    let more = [&checkpoint.bytes[..], &[0]].concat();
    let cases = [
        (Checkpoint { version: VERSION + 1, bytes: checkpoint.bytes.clone() }, "is of version"),
        (Checkpoint { version: VERSION, bytes: half }, "cannot be read"),
        (Checkpoint { version: VERSION, bytes: more }, "too many"),
        (Checkpoint { version: VERSION, bytes: vec![0xff; 4096] }, "cannot be read"),
        (Checkpoint { version: VERSION, bytes: Vec::new() }, "cannot be read"),
    ];
    for (checkpoint, expected) in cases {
        let found = script.region.restore("shop", &checkpoint).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
    assert!(script.region.restore("shoq", &checkpoint).unwrap_err().contains("no such pool"));
    assert_eq!(script.region.checkpoints(true), before);
    // Damage that still reads must not end the process later.
    let mut dice = 1u64;
    for _ in 0..200 {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut bytes = checkpoint.bytes.clone();
        let place = (dice >> 20) as usize % bytes.len();
        bytes[place] ^= 1 << (dice >> 61);
        let mut other = Script::with(slow(predictive(80.0)), START);
        other.now = script.now;
        if other.region.restore("shop", &Checkpoint { version: VERSION, bytes }).is_ok() {
            learn(&mut other, 3 * DAY..3 * DAY + 10);
        }
    }
}

/// A hash of what an engine of some steps is written down as: another one means another layout (or another
/// engine), and then `VERSION` has to grow, or restarts would read nonsense.
#[test]
fn a_changed_layout_changes_the_version() {
    const LAYOUT: (u32, u64) = (6, 12057258372034011259);
    let mut engine = Engine::new(Settings::default());
    for step in 0..100 {
        // Sums of halves: no machine rounds them otherwise.
        engine.observe(Some(8.0 + f64::from(step % 16) / 2.0));
    }
    let json = serde_json::to_value(&engine).unwrap();
    let mut shape = String::new();
    outline(&json, &mut shape);
    let hash =
        shape.bytes().fold(0xcbf29ce484222325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3));
    assert_eq!((VERSION, hash), LAYOUT, "the layout has changed: let VERSION grow, and write both down here\n{shape}");
}

/// Names and kinds of what is written, not the values; of a list its first element.
fn outline(value: &serde_json::Value, out: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                out.push_str(name);
                out.push('{');
                outline(value, out);
                out.push('}');
            }
        }
        Value::Array(items) => {
            out.push('[');
            items.iter().take(1).for_each(|item| outline(item, out));
            out.push(']');
        }
        Value::Number(number) => out.push(if number.is_f64() { 'f' } else { 'i' }),
        Value::String(_) => out.push('s'),
        Value::Bool(_) => out.push('b'),
        Value::Null => out.push('n'),
    }
}
