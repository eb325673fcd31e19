//! What holds for any load: seeded loops, so that a failure can be run again.

mod script;

use config::region::{Scaling, ScalingMode, Step, Steps, When};
use forebay_scaler as scaler;
use scaler::Decision;
use script::*;

/// SplitMix64: small, seeded, good enough to mix cases.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One limit or two, at once or over some seconds.
fn any_steps(dice: &mut Dice) -> Steps {
    let mut step = || Step {
        origins: 1 + dice.below(5) as u32,
        percent: 20 * dice.below(6) as u32,
        within: (dice.below(2) == 0).then(|| secs(1 + dice.below(20))),
    };
    let (first, second) = (step(), step());
    if dice.below(2) == 0 { first.into() } else { Steps(vec![first, second]) }
}

fn any_scaling(dice: &mut Dice) -> Scaling {
    let mut setting = scaling();
    setting.floor = dice.below(4) as u32;
    setting.ceiling = setting.floor + 1 + dice.below(10) as u32;
    setting.step_up = any_steps(dice);
    setting.step_down = any_steps(dice);
    setting.tolerance = dice.below(30) as f64;
    setting.stabilisation = secs(dice.below(20));
    let reactive = setting.reactive.as_mut().unwrap();
    reactive.window = secs(1 + dice.below(10));
    reactive.headroom = 1.0 + dice.below(10) as f64 / 10.0;
    if dice.below(2) == 0 {
        setting.schedules = vec![evening()];
        setting.schedules[0].floor = Some(1 + dice.below(12) as u32);
    }
    setting
}

/// A minute before the evening's floor takes effect: both sides of it are met.
const START: &str = "2026-03-02T16:58:30Z";

fn wander(dice: &mut Dice, script: &mut Script, seconds: u64) {
    for _ in 0..seconds {
        script.pass();
        for edge in ["e1", "e2"] {
            if dice.below(4) != 0 {
                let load = dice.below(90);
                script.report(edge, load);
            }
        }
        if dice.below(20) == 0 {
            script.now += secs(dice.below(10));
        }
        script.step();
    }
}

#[test]
fn a_decision_is_never_outside_floor_and_ceiling_and_its_clamps_lead_to_it() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let setting = any_scaling(&mut dice);
        let mut script = Script::new(setting.clone(), START);
        wander(&mut dice, &mut script, 90);
        for decision in &script.decisions {
            assert!((setting.floor..=setting.ceiling).contains(&decision.to), "seed {seed}: {}", decision.line);
            follow(decision, seed);
        }
    }
}

#[test]
fn no_schedule_pushes_a_decision_out_of_the_bounds() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let mut setting = any_scaling(&mut dice);
        for i in 0..1 + dice.below(3) {
            let mut rule = evening();
            rule.name = format!("r{i}");
            let start = dice.below(60);
            rule.when = match dice.below(3) {
                0 => When::At(format!("2026-03-02T17:59:{start:02}").parse().unwrap()),
                _ => When::Cron(format!("{start} 59 17 * * *")),
            };
            rule.duration = secs(1 + dice.below(60));
            rule.floor = (dice.below(2) == 0).then(|| dice.below(30) as u32);
            rule.ceiling = (dice.below(2) == 0).then(|| dice.below(30) as u32);
            rule.target = (dice.below(2) == 0).then(|| 1.0 + dice.below(50) as f64);
            rule.multiply = (dice.below(2) == 0).then(|| dice.below(30) as f64 / 3.0 + 0.1);
            rule.lead = secs(dice.below(30));
            rule.ramp_up = secs(dice.below(30));
            rule.ramp_down = secs(dice.below(30));
            setting.schedules.push(rule);
        }
        let mut script = Script::new(setting.clone(), START);
        wander(&mut dice, &mut script, 150);
        for decision in &script.decisions {
            assert!((setting.floor..=setting.ceiling).contains(&decision.to), "seed {seed}: {}", decision.line);
            follow(decision, seed);
        }
    }
}

/// From the want through every clamp to the result, in order, none of them idle.
fn follow(decision: &Decision, seed: u64) {
    let mut number = decision.want;
    for clamp in &decision.clamps {
        assert_eq!(clamp.before, number, "seed {seed}: {decision:?}");
        assert_ne!(clamp.before, clamp.after, "seed {seed}: {decision:?}");
        number = clamp.after;
    }
    assert_eq!(number, decision.to, "seed {seed}: {decision:?}");
    assert!(decision.clamps.is_sorted_by_key(|clamp| clamp.limit), "seed {seed}: {decision:?}");
}

#[test]
fn more_demand_never_gives_less() {
    for seed in 0..100 {
        let count = |extra: u64| {
            let mut dice = Dice(seed);
            let setting = any_scaling(&mut dice);
            let mut script = Script::new(setting, START);
            wander(&mut dice, &mut script, 60);
            script.pass();
            script.report("e1", dice.below(90) + extra);
            script.step();
            script.count()
        };
        let counts: Vec<_> = [0, 1, 10, 50, 200, 1000].map(count).into();
        assert!(counts.is_sorted(), "seed {seed}: {counts:?}");
    }
}

/// Where a step leads, by what stood when its window began.
fn step_up(step: &Step, decision: &Decision, earlier: &[Decision]) -> u32 {
    let within = |one: &&Decision| step.within.is_some_and(|within| one.at + within > decision.at);
    let moved: i64 = earlier.iter().filter(within).map(|one| i64::from(one.to) - i64::from(one.from)).sum();
    let start = i64::from(decision.from) - moved;
    let most = start + i64::from(step.origins).max((start * i64::from(step.percent) + 99) / 100);
    most.max(decision.from.into()) as u32
}

#[test]
fn an_increase_is_never_delayed_by_a_hold() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let setting = any_scaling(&mut dice);
        let mut script = Script::new(setting.clone(), START);
        wander(&mut dice, &mut script, 60);
        for (place, decision) in script.decisions.iter().enumerate().filter(|(_, one)| one.want > one.from) {
            let steps = setting.step_up.0.iter().map(|step| step_up(step, decision, &script.decisions[..place]));
            let most = steps.fold(decision.want, u32::min).max(setting.floor).min(setting.ceiling);
            assert_eq!(decision.to, most, "seed {seed}: {}", decision.line);
        }
    }
}

/// Wanders in the mode `on`, then in `mode`; what was decided in `mode`.
fn changed_to(mode: ScalingMode, seed: u64) -> Vec<Decision> {
    let mut dice = Dice(seed);
    let setting = any_scaling(&mut dice);
    let mut script = Script::new(setting.clone(), START);
    wander(&mut dice, &mut script, 40);
    let before = script.decisions.len();
    script.apply(scaler::Event::Configured(region(Scaling { mode, ..setting }, &[])));
    wander(&mut dice, &mut script, 60);
    script.decisions.split_off(before)
}

#[test]
fn up_only_never_lowers_and_raises_as_on_does() {
    for seed in 0..100 {
        for decision in changed_to(ScalingMode::UpOnly, seed) {
            let would = decision.would.expect("it asks its rules");
            assert_eq!(decision.to, would.max(decision.from), "seed {seed}: {}", decision.line);
            follow(&decision, seed);
        }
    }
}

#[test]
fn what_does_not_act_keeps_the_count_and_a_shadow_decides_what_on_does() {
    let mut differed = 0;
    for seed in 0..150 {
        let on: Vec<_> = changed_to(ScalingMode::On, seed).iter().map(|decision| decision.to).collect();
        for mode in [ScalingMode::Off, ScalingMode::Shadow, ScalingMode::Advise] {
            let decisions = changed_to(mode, seed);
            for decision in &decisions {
                assert_eq!(decision.to, decision.from, "seed {seed}: {}", decision.line);
                follow(decision, seed);
            }
            if mode != ScalingMode::Off {
                let would: Vec<_> = decisions.iter().filter_map(|decision| decision.would).collect();
                assert_eq!(would, on, "seed {seed}");
                differed += usize::from(would.iter().any(|would| *would != decisions[0].to));
            }
        }
    }
    assert!(differed > 20, "the loads ask for too little: {differed}");
}

#[test]
fn in_every_mode_asking_twice_changes_nothing() {
    for seed in 0..20 {
        for mode in [ScalingMode::Off, ScalingMode::Shadow, ScalingMode::Advise, ScalingMode::UpOnly] {
            let run = |asks: usize| {
                let mut dice = Dice(seed);
                let setting = any_scaling(&mut dice);
                let mut script = Script::new(Scaling { mode, ..setting }, START);
                for _ in 0..60 {
                    wander(&mut dice, &mut script, 1);
                    for _ in 0..asks {
                        script.step();
                    }
                }
                let view = script.region.pool("shop", script.now).unwrap();
                (serde_json::to_string(&script.decisions).unwrap(), view.scored)
            };
            assert_eq!(run(0), run(3), "seed {seed}, {}", mode.name());
        }
    }
}

#[test]
fn silence_never_lowers() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let setting = any_scaling(&mut dice);
        let mut script = Script::new(setting, START);
        wander(&mut dice, &mut script, 60);
        script.now += secs(6);
        let before = script.count();
        script.run(100, &[]);
        assert!(script.count() >= before, "seed {seed}: {}", script.last().line);
    }
}

#[test]
fn the_same_script_decides_the_same() {
    for seed in 0..50 {
        let run = || {
            let mut dice = Dice(seed);
            let setting = any_scaling(&mut dice);
            let mut script = Script::new(setting, START);
            wander(&mut dice, &mut script, 60);
            serde_json::to_string(&script.decisions).unwrap()
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn a_refused_report_changes_nothing() {
    let mut script = Script::new(scaling(), START);
    script.run(12, &[("e1", 40)]);
    let view = format!("{:?}", script.region.pool("shop", script.now));
    let mut bad: Vec<wire::Report> = Vec::new();
    for change in [
        (|report| report.version = 2) as fn(&mut wire::Report),
        |report| report.period_ms = 0,
        |report| report.period_ms = 60_001,
        |report| report.edge = String::new(),
        |report| report.pools.get_mut("shop").unwrap().requests = 1_000_000_001,
        |report| report.pools.get_mut("shop").unwrap().rejects = 11,
        |report| report.pools.get_mut("shop").unwrap().latency_sum_ms = f64::NAN,
        |report| report.pools.get_mut("shop").unwrap().latency_p99_ms = f64::INFINITY,
        |report| report.pools.get_mut("shop").unwrap().latency_p99_ms = -1.0,
        |report| report.pools.get_mut("shop").unwrap().in_flight = u64::MAX,
    ] {
        let pool = wire::PoolReport { requests: 10, rejects: 10, ..Default::default() };
        let mut report = script.make_report("e1", pool);
        change(&mut report);
        bad.push(report);
    }
    for report in bad {
        let refused = script.region.apply(scaler::Event::Report(report.clone()), script.now).unwrap_err();
        assert!(!refused.detail.is_empty() && ["version", "impossible"].contains(&refused.reason), "{report:?}");
        assert_eq!(format!("{:?}", script.region.pool("shop", script.now)), view, "{report:?}");
    }
}

#[test]
fn repeats_late_ones_and_old_runs_are_dropped_until_the_newer_run_falls_silent() {
    use scaler::region::Applied;
    let mut script = Script::new(scaling(), START);
    let make = |script: &mut Script, boot, seq| {
        let mut report = script.make_report("e1", wire::PoolReport { requests: 40, ..Default::default() });
        (report.boot, report.seq) = (boot, seq);
        report
    };
    for (boot, seq, expected) in [
        (5, 7, Applied::Taken),
        (5, 7, Applied::Repeat),
        (5, 6, Applied::Repeat),
        (5, 8, Applied::Taken),
        (6, 0, Applied::Taken),
        (5, 9, Applied::Repeat),
    ] {
        let report = make(&mut script, boot, seq);
        assert_eq!(script.apply(scaler::Event::Report(report)), expected, "({boot}, {seq})");
    }
    // The machine's clock was wrong before the edge's last restart.
    script.now += secs(6);
    let report = make(&mut script, 5, 10);
    assert_eq!(script.apply(scaler::Event::Report(report)), Applied::Taken);
    assert_eq!(script.region.pool("shop", script.now).unwrap().inputs.edges.len(), 1);
}
