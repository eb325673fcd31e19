//! The lead of those that wait: learned by itself, and what the predictive rule plans with as far as they go.

mod script;

use std::sync::Arc;

use config::region::{Aim, Monthly, Predictive, Scaling, ScalingBudget, ScalingMode, WarmPool, WarmSize};
use forebay_scaler as scaler;
use scaler::decision::Decision;
use scaler::policy::predictive::warm::{Planned, Which};
use scaler::replay::Lives;
use scaler::replay::course::{Course, Moment};
use scaler::replay::rehearsal::{Setting, run};
use scaler::{Capacity, Event};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";
const MIDNIGHT: &str = "2026-03-02T00:00:00Z";
const DAY: usize = 5760;

fn tier(size: WarmSize, at_most: u32, cost: f64) -> Option<WarmPool> {
    Some(WarmPool { size, at_most, cost })
}

/// 10 requests a second for an origin, which boots for four minutes.
fn predictive(warm_pool: Option<WarmPool>) -> Scaling {
    let rule = Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    Scaling { ceiling: 200, reactive: None, predictive: Some(rule), lead: secs(240), warm_pool, ..scaling() }
}

/// A region whose edges report every 15 s, with a slow start of a minute.
fn slow(scaling: Scaling) -> Arc<config::Region> {
    let mut region = config::Region::clone(&region(scaling, &[]));
    let aggregator = region.aggregator.as_mut().unwrap();
    (aggregator.tick, aggregator.stale_after) = (secs(15), secs(40));
    Arc::make_mut(region.pools.get_mut("shop").unwrap()).slow_start = secs(60);
    Arc::new(region)
}

/// Origins' worth of demand: a day's wave, noise that differs from step to step, and each hour a rise by half within
/// five minutes, at a minute that nobody foresees.
fn restless(steps: usize) -> Vec<f64> {
    let mut dice = 7u64;
    let mut next = move || {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (dice >> 33) as f64 / (1u64 << 31) as f64
    };
    let mut begins = 0;
    let at = |step: usize| {
        let wave = 20.0 + 8.0 * (step as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        if step.is_multiple_of(240) {
            begins = step + (next() * 160.0) as usize;
        }
        let rise = match step.checked_sub(begins) {
            Some(since) if since < 60 => 1.0 + 0.5 * (since.min(20) as f64 / 20.0),
            _ => 1.0,
        };
        wave * rise * (0.95 + 0.1 * next())
    };
    (0..steps).map(at).collect()
}

fn lives() -> Lives {
    Lives { boot: 180.0, warm: 60.0, warm_start: 0.1, drain: 60.0, ..Lives::default() }
}

struct Told {
    moments: Vec<Moment>,
    decisions: Vec<Decision>,
    lost: f64,
    cost: f64,
}

fn rehearse(scaling: Scaling, demand: &[f64], from: usize) -> Told {
    let course = Course { ceiling: scaling.ceiling, ..Course::new(demand, lives(), from) };
    let config = slow(scaling);
    let setting = Setting { config, pool: "shop".into(), start: at(MIDNIGHT), tick: Some(secs(15)), unit: 10.0 };
    let (mut moments, mut decisions) = (Vec::new(), Vec::new());
    let score = run(&setting, &course, |_, moment| moments.push(*moment), |decision| decisions.push(decision.clone()));
    let score = score.expect("an edge could have seen it");
    Told { moments, decisions, lost: score.lost, cost: score.cost }
}

fn planned(decision: &Decision) -> &Planned {
    decision.planned.as_ref().expect("there is a warm pool, and demand was seen")
}

#[test]
fn those_that_join_teach_a_lead_of_their_own_and_boots_teach_none_of_it() {
    let mut script = Script::new(Scaling { warm_pool: tier(WarmSize::Fixed(2), 2, 1.0), ..scaling() }, NOON);
    script.live(60, 20, 20, &[]);
    let told = script.view().lead;
    let warm = told.warm_pool.expect("it has one");
    assert_eq!(
        (warm.seconds, warm.learned, warm.samples, warm.join),
        (15.0, false, 0, None),
        "a step, until five joined"
    );
    assert_eq!(told.samples, 4, "what booted");
    for _ in 0..3 {
        script.live(60, 40, 20, &[]);
        script.live(60, 20, 20, &[]);
    }
    let told = script.view().lead;
    let warm = told.warm_pool.unwrap();
    assert_eq!((warm.seconds, warm.learned, warm.samples), (15.0, true, 6), "two each time");
    assert!(warm.join.unwrap().p99 <= 1.0, "edges report each second: {:?}", warm.join);
    assert!(told.boot.unwrap().p50 >= 20.0);
    // A pool without one tells of none.
    assert_eq!(Script::new(scaling(), NOON).view().lead.warm_pool, None);
}

/// Seconds of load through e1, which is answered each second, and beside e2, if it reports at all, which is answered
/// each 47th.
fn slowly_told(script: &mut Script, seconds: u64, load: u64, second_edge: bool) {
    for _ in 0..seconds {
        script.pass();
        let now = script.now;
        for origin in script.origins.iter_mut().filter(|origin| now >= origin.launched_at + secs(20)) {
            origin.ready_at = origin.ready_at.or(Some(now));
        }
        script.observe();
        let all: Vec<_> = script.origins.iter().map(|origin| (origin.address, origin.ready_at.is_some(), 0)).collect();
        script.report_origins("e1", load, &all);
        if second_edge {
            script.report("e2", 0);
            if now.as_second() % 47 == 0 {
                script.region.answer("e2", now);
            }
        }
        script.carry_out();
    }
}

#[test]
fn an_edge_that_hears_of_it_late_makes_the_warm_lead_longer_and_one_that_is_silent_does_not() {
    let mut script = Script::new(Scaling { warm_pool: tier(WarmSize::Fixed(2), 2, 1.0), ..scaling() }, NOON);
    slowly_told(&mut script, 60, 20, true);
    let told = |script: &mut Script| script.view().lead.warm_pool.unwrap();
    for _ in 0..5 {
        slowly_told(&mut script, 80, 40, true);
        slowly_told(&mut script, 80, 20, true);
    }
    let warm = told(&mut script);
    let p95 = warm.join.unwrap().p95;
    assert!(warm.learned && warm.samples >= 8 && (15.0..=48.0).contains(&p95), "{warm:?}");
    assert_eq!(warm.seconds, (p95 / 15.0).ceil() * 15.0, "in steps of 15 s");
    // It is silent from now on, and not yet forgotten.
    slowly_told(&mut script, 20, 20, false);
    slowly_told(&mut script, 60, 40, false);
    assert!(script.view().capacity.serving >= 4, "who waits joins all the same");
    assert_eq!(told(&mut script).samples, warm.samples);
}

#[test]
fn what_may_wait_waits_and_the_remainder_is_planned_with_the_lead_of_a_boot() {
    let told = rehearse(predictive(tier(WarmSize::Auto, 4, 0.1)), &restless(5 * DAY), 3 * DAY);
    let (mut warm, mut cold, mut waits) = (0, 0, 0);
    for decision in told.decisions.iter().filter(|decision| decision.planned.is_some()).skip(2 * DAY) {
        let planned = planned(decision);
        let kept = planned.cold.saturating_sub(planned.room);
        assert_eq!(planned.origins, planned.warm.clamp(kept, planned.cold), "{}", decision.line);
        assert_eq!(
            (planned.warm_seconds, planned.cold_seconds),
            (75.0, 240.0),
            "a step and the slow start; the file's"
        );
        assert!(planned.room <= 4 && planned.origins <= planned.cold, "never more than without a warm pool");
        let proposal = decision.proposals.iter().find(|proposal| proposal.label() == "predictive").unwrap();
        assert_eq!(proposal.origins, Some(planned.origins));
        assert!(proposal.because.starts_with(&planned.because), "{}", proposal.because);
        match planned.lead {
            Which::Warm => {
                assert!(planned.warm >= kept);
                warm += 1;
            }
            Which::Cold => {
                assert!(planned.warm < kept && planned.because.contains("can wait"), "{}", planned.because);
                cold += 1;
            }
        }
        if planned.origins < planned.cold {
            waits += 1;
            let tier = decision.warm_pool.unwrap();
            assert!(tier <= 4, "{tier} in the warm pool");
        }
    }
    assert!(warm > 1000 && cold > 100 && waits > 1000, "both leads are gone by: {warm}, {cold}, {waits}");
}

#[test]
fn as_many_run_in_all_as_the_lead_of_a_boot_asks_for() {
    let told = rehearse(predictive(tier(WarmSize::Auto, 200, 0.1)), &restless(4 * DAY), 3 * DAY);
    let mut spare = 0;
    // The tier is settled right after the decision, and is what the step that begins then has.
    for (decision, moment) in told.decisions.iter().zip(&told.moments).skip(3 * DAY) {
        let planned = planned(decision);
        let Capacity { booting, warming, serving, warm, .. } = moment.stages;
        let runs = booting + warming + serving + warm;
        assert!(runs >= planned.cold, "{runs} run: {}", decision.line);
        assert_eq!(planned.lead, Which::Warm, "all of it can wait: {}", planned.because);
        spare += u32::from(runs > planned.cold);
    }
    assert!(spare > 0, "where one that waits costs a tenth, more of what may come is worth it");
}

#[test]
fn a_rise_that_boots_would_miss_is_met_by_those_that_wait() {
    // Three even days; then half as much again within a minute, for ten.
    let mut demand: Vec<f64> =
        restless(3 * DAY + DAY / 2).iter().enumerate().map(|(i, _)| 20.0 + (i % 7) as f64 * 0.1).collect();
    let rise = 3 * DAY + 400;
    for (at, demand) in demand[rise..rise + 40].iter_mut().enumerate() {
        *demand *= 1.0 + 0.5 * ((at + 1) as f64 / 4.0).min(1.0);
    }
    let cold = rehearse(predictive(None), &demand, 3 * DAY);
    let warm = rehearse(predictive(tier(WarmSize::Fixed(12), 12, 0.1)), &demand, 3 * DAY);
    let serving = |told: &Told| told.moments[rise + 9].capacity;
    assert!(serving(&cold) < 26.0, "two minutes on nobody has booted: {}", serving(&cold));
    assert!(serving(&warm) > 29.0, "and those that waited serve: {}", serving(&warm));
    assert!(warm.lost < 0.5 * cold.lost && cold.lost > 0.1, "{} and {} origin-hours lost", warm.lost, cold.lost);
    let before = warm.moments[rise - 10].stages;
    assert_eq!((before.warm, before.booting), (12, 0), "{before:?}");
    assert!(warm.moments[rise + 9].stages.warm < 12);
    assert_eq!(warm.moments[rise + 39].stages.warm, 12, "refilled behind");
}

#[test]
fn a_warm_pool_that_holds_nobody_decides_as_a_pool_without_one() {
    let demand = restless(3 * DAY);
    let none = rehearse(predictive(None), &demand, 2 * DAY);
    let empty = rehearse(predictive(tier(WarmSize::Fixed(0), 1, 1.0)), &demand, 2 * DAY);
    assert_eq!(none.decisions.len(), empty.decisions.len());
    for (one, other) in none.decisions.iter().zip(&empty.decisions) {
        assert_eq!((one.to, one.want, one.from), (other.to, other.want, other.from), "{}", other.line);
        assert_eq!((&one.planned, one.warm_pool), (&None, None));
        assert!(other.planned.as_ref().is_none_or(|planned| planned.lead == Which::Cold), "{}", other.line);
    }
    assert_eq!((none.moments, none.cost, none.lost), (empty.moments, empty.cost, empty.lost));
}

#[test]
fn never_more_than_the_ceiling_serve_and_nobody_waits_who_could_not_join() {
    let setting = Scaling { ceiling: 24, ..predictive(tier(WarmSize::Auto, 50, 0.1)) };
    let told = rehearse(setting, &restless(4 * DAY), 3 * DAY);
    let mut bound = 0;
    for (decision, moment) in told.decisions.iter().zip(&told.moments) {
        let Capacity { warming, serving, booting, warm, .. } = moment.stages;
        assert!(decision.to <= 24 && serving <= 24, "{}: {:?}", decision.line, moment.stages);
        if decision.warm_pool.is_some_and(|tier| tier + decision.to >= 24) {
            bound += 1;
        }
        assert!(warming + serving + booting + warm <= 25, "one that trades places at most: {:?}", moment.stages);
    }
    assert!(bound > 100, "{bound}");
}

#[test]
fn who_is_late_in_the_warm_pool_is_nobody_to_plan_with() {
    let learning =
        Scaling { lead_bounds: Some(Default::default()), ceiling: 40, ..predictive(tier(WarmSize::Fixed(4), 4, 1.0)) };
    let mut script = Script::new(learning, NOON);
    script.live(90, 30, 20, &[]);
    assert_eq!(planned(script.last()).room, 4);
    let waiting: Vec<_> = script.view().origins.iter().filter(|o| o.parked).map(|o| o.address).collect();
    waiting.iter().for_each(|address| script.ends(*address));
    // Whoever is started from here on never comes; a first round is ended, the next ones rest.
    let mut least = 4;
    for _ in 0..120 {
        script.live(1, 30, 10_000, &[]);
        let planned = planned(script.last());
        least = least.min(planned.room);
        assert_eq!(planned.origins, planned.warm.clamp(planned.cold.saturating_sub(planned.room), planned.cold));
    }
    assert_eq!(least, 0, "all four are late at some time");
}

#[test]
fn a_mode_that_only_thinks_plans_with_the_lead_of_a_boot() {
    for (mode, plans) in [(ScalingMode::On, true), (ScalingMode::UpOnly, true), (ScalingMode::Advise, false)] {
        let mut script = Script::new(Scaling { mode, ..predictive(tier(WarmSize::Auto, 4, 1.0)) }, NOON);
        script.run(60, &[("e1", 50)]);
        assert_eq!(script.last().planned.is_some(), plans, "{mode:?}: nobody waits where nothing is done");
    }
}

#[test]
fn a_warm_pool_that_comes_later_goes_on_with_what_was_learned_and_a_restart_with_all_of_it() {
    let demand = restless(4 * DAY);
    let mut script = Script::with(slow(predictive(None)), MIDNIGHT);
    let pass = |script: &mut Script, demand: f64| {
        script.now += secs(15);
        let pool = wire::PoolReport { requests: (demand * 150.0) as u64, ..Default::default() };
        let mut report = script.make_report("e1", pool);
        report.period_ms = 15_000;
        script.apply(Event::Report(report));
        script.step();
    };
    demand[..3 * DAY].iter().for_each(|demand| pass(&mut script, *demand));
    assert_eq!(script.last().planned, None);
    let with = slow(predictive(tier(WarmSize::Auto, 9, 0.1)));
    script.apply(Event::Configured(with.clone()));
    pass(&mut script, demand[3 * DAY]);
    let first = planned(script.last()).clone();
    assert!(script.last().proposals[0].because.contains("tuned rules"), "it need not learn again");
    assert!(first.warm > 10 && first.warm <= first.cold + 2, "{first:?}");
    demand[3 * DAY + 1..3 * DAY + 900].iter().for_each(|demand| pass(&mut script, *demand));

    let checkpoint = script.region.checkpoints(true).remove("shop").expect("there is something to write down");
    let mut again = Script::with(with, MIDNIGHT);
    again.now = script.now;
    assert_eq!(again.region.restore("shop", &checkpoint), Ok(()));
    for demand in &demand[3 * DAY + 900..] {
        pass(&mut script, *demand);
        pass(&mut again, *demand);
        assert_eq!(planned(script.last()), planned(again.last()));
    }
    // And without it all is as it ever was.
    script.apply(Event::Configured(slow(predictive(None))));
    pass(&mut script, 20.0);
    assert_eq!(script.last().planned, None);
}

#[test]
fn one_that_waits_is_billed_at_its_cost_and_one_that_boots_for_it_in_full() {
    let demand = vec![2.0; 240];
    let reactive = Scaling { lead: secs(240), ..scaling() };
    let none = rehearse(reactive.clone(), &demand, 0);
    let of = |cost| rehearse(Scaling { warm_pool: tier(WarmSize::Fixed(2), 2, cost), ..reactive.clone() }, &demand, 0);
    let (full, tenth) = (of(1.0), of(0.1));
    assert_eq!(tenth.moments[239].stages, Capacity { serving: 2, warm: 2, ..Capacity::default() });
    assert!((full.cost - none.cost - 2.0).abs() < 0.05, "an hour of two: {} and {}", full.cost, none.cost);
    assert!((full.moments[239].billed - 4.0).abs() < 1e-9 && (tenth.moments[239].billed - 2.2).abs() < 1e-9);
    // They boot for three minutes before, or were the two too many that it began with.
    assert!(tenth.cost - none.cost < 0.4 && tenth.cost - none.cost > 0.15, "{} and {}", tenth.cost, none.cost);
}

#[test]
fn a_budget_pays_for_those_that_wait_at_their_cost() {
    let monthly = Monthly { origin_hours: 1000.0, money: None, zone: "UTC".into(), hard: false };
    let with = |cost| {
        let budget = Some(ScalingBudget { aim: Aim::Price(80.0), monthly: Some(monthly.clone()) });
        let mut script =
            Script::new(Scaling { budget, warm_pool: tier(WarmSize::Fixed(4), 4, cost), ..scaling() }, NOON);
        script.live(60, 20, 20, &[]);
        let spent = |script: &mut Script| script.view().budget.unwrap().month.unwrap().spent_hours;
        let before = spent(&mut script);
        script.live(360, 20, 20, &[]);
        (spent(&mut script) - before) * 10.0
    };
    for (cost, origins) in [(1.0, 6.0), (0.5, 4.0)] {
        let found = with(cost);
        assert!((found - origins).abs() < 0.05, "two that serve and four that wait at {cost}: {found}");
    }
}
