//! The pool that is only thought, and other autoscalers in it, held against an independent
//! simulator's figures (`tests/traces/reference.json`).

mod traces;

use forebay_scaler as scaler;
use scaler::peers::{Spec, contest};
use scaler::replay::excess::{excess, quick_excess};
use scaler::replay::score::Tally;
use scaler::replay::stack::Stack;
use scaler::replay::{Lives, clairvoyant, series};
use traces::{Dice, NAMES, demand, near, reference};

/// Our word for a rule, and the reference's.
const PEERS: [(&str, &str); 9] = [
    ("static:50", "static@0.5"),
    ("static", "static@1.0"),
    ("hpa:50", "hpa-rps@0.5"),
    ("hpa:70", "hpa-rps@0.7"),
    ("hpa-cpu:50", "hpa-cpu@0.5"),
    ("kpa:70", "kpa@0.7"),
    ("tt:50", "aws-tt@0.5"),
    ("tt+schedule:50", "aws-tt+sched@0.5"),
    ("tt+predictive:70", "aws-tt+pred@0.7"),
];

#[test]
fn other_autoscalers_score_as_in_the_reference_simulator() {
    let lives = Lives::default();
    for name in NAMES {
        let (demand, expected) = (demand(name), reference(name));
        for (ours, theirs) in PEERS {
            let spec: Spec = ours.parse().expect("a known rule");
            let score = contest::peer(spec, &demand, &lives);
            let expected = &expected["peers"][theirs];
            let of = |key: &str| expected[key].as_f64().unwrap_or_else(|| panic!("{name} {theirs} {key}"));
            near(score.cost, of("cost"), &format!("{name} {ours} cost"));
            near(score.violation, of("viol"), &format!("{name} {ours} violation"));
            near(score.lost, of("lost"), &format!("{name} {ours} lost"));
            near(score.bad_minutes, of("bad"), &format!("{name} {ours} bad minutes"));
            // The reference counts the jump to a fixed count, which is before scoring, nowhere.
            near(score.launches_a_day, of("launches"), &format!("{name} {ours} launches"));
            near(score.actions_a_day, of("actions"), &format!("{name} {ours} actions"));
        }
    }
}

#[test]
fn the_clairvoyants_bound_is_the_references() {
    let name = "elb-requests";
    let demand = demand(name);
    let lives = Lives::default();
    let prices = [clairvoyant::PRICES[3], clairvoyant::PRICES[6]];
    let found = clairvoyant::frontier(&demand, contest::scored_from(&lives), &lives, &prices);
    for (bound, at) in found.iter().zip([3, 6]) {
        let expected = &reference(name)["frontier"][at];
        near(bound.cost, expected["cost"].as_f64().expect("a number"), "cost");
        near(bound.violation, expected["viol"].as_f64().expect("a number"), "violation");
        near(bound.lost, expected["lost"].as_f64().expect("a number"), "lost");
    }
}

#[test]
fn a_bound_between_two_prices_is_between_their_costs() {
    let at = |violation, cost| clairvoyant::Bound { cost, violation, lost: 0.0 };
    let frontier = [at(1.0, 100.0), at(0.1, 200.0), at(0.01, 400.0)];
    assert_eq!(clairvoyant::cost_at(&frontier, 0.1), 200.0);
    near(clairvoyant::cost_at(&frontier, 0.1f64.sqrt()), 150.0, "half way in the logarithm");
    assert_eq!(clairvoyant::cost_at(&frontier, 5.0), 100.0, "no extrapolation");
    assert_eq!(clairvoyant::cost_at(&frontier, 0.001), 400.0, "no extrapolation");
}

#[test]
fn step_by_step_and_all_at_once_are_the_same_pool() {
    let mut dice = Dice(7);
    for (boot, warm, drain) in [(180.0, 60.0, 60.0), (30.0, 0.0, 15.0), (660.0, 60.0, 120.0)] {
        let lives = Lives { boot, warm, drain, floor: 2, ..Lives::default() };
        let mut wanted = 10.0;
        let wants: Vec<u32> = (0..4000)
            .map(|_| {
                wanted = (wanted + (dice.next() - 0.5) * 6.0).clamp(0.0, 60.0);
                wanted as u32
            })
            .collect();
        let run = series::run(&wants, 5, &lives);
        let mut stack = Stack::new(5);
        for (step, wanted) in wants.iter().enumerate() {
            let moved = stack.step(&lives, *wanted);
            assert!((moved.capacity - run.capacity[step]).abs() < 1e-9, "capacity in step {step}");
            assert_eq!(f64::from(moved.billed), run.billed[step], "bill in step {step}");
            assert!(moved.total >= 2, "the floor stands");
        }
    }
}

#[test]
fn an_origin_boots_warms_serves_and_drains_in_its_time() {
    let lives = Lives::default();
    let mut stack = Stack::new(1);
    let up: Vec<f64> = (0..18).map(|_| stack.step(&lives, 2).capacity).collect();
    assert!(up[..12].iter().all(|capacity| *capacity == 1.0), "nothing before it has booted: {up:?}");
    assert!((up[12] - 1.34375).abs() < 1e-12 && up[12] < up[13] && up[15] < 2.0, "a ramp: {up:?}");
    assert_eq!(up[16], 2.0);
    let down: Vec<u32> = (0..6).map(|_| stack.step(&lives, 1).billed).collect();
    assert_eq!(down, [2, 2, 2, 2, 1, 1], "a minute of drain is paid");
}

#[test]
fn what_is_still_booting_is_taken_away_first_and_does_not_drain() {
    let lives = Lives::default();
    let mut stack = Stack::new(4);
    stack.step(&lives, 7);
    let moved = stack.step(&lives, 4);
    assert_eq!((moved.removed, moved.billed, moved.capacity), (3, 4, 4.0));
}

#[test]
fn the_table_of_the_knee_is_the_knee() {
    let mut dice = Dice(3);
    for _ in 0..20_000 {
        let demand = dice.next() * 40.0;
        let capacity = demand * (0.2 + 1.6 * dice.next());
        let (quick, exact) = (quick_excess(demand, capacity, 0.1), excess(demand, capacity, 0.1));
        assert!((quick - exact).abs() <= 1e-6 * demand.max(1e-3), "{demand} over {capacity}: {quick}, not {exact}");
    }
    near(excess(10.0, 10.0, 0.1), 0.398_942_280_4, "4 % at full load");
    assert_eq!(excess(0.0, 1.0, 0.1), 0.0);
}

#[test]
fn what_came_before_scoring_is_not_scored() {
    let lives = Lives::default();
    let mut tally = Tally::new(lives, 4);
    for _ in 0..4 {
        tally.add_step(100.0, 1.0, 50.0, 9.0, true);
    }
    for _ in 0..240 {
        tally.add_step(1.0, 10.0, 3.0, 0.0, false);
    }
    let score = tally.score();
    near(score.cost, 3.0, "an hour of three");
    assert_eq!((score.violation, score.bad_minutes, score.launches_a_day), (0.0, 0.0, 0.0));
}

#[test]
fn a_rule_that_is_not_known_is_named_with_those_that_are() {
    let refused = |text: &str| text.parse::<Spec>().expect_err(text);
    assert!(refused("hap:50").contains("`hap`") && refused("hap:50").contains("hpa-cpu"));
    assert!(refused("hpa").contains("`hpa:50`"));
    assert!(refused("tt:0").contains("1 to 100"));
    assert!(refused("tt:half").contains("`half`"));
    assert_eq!("tt+predictive:70".parse::<Spec>().map(|spec| spec.to_string()), Ok("tt+predictive:70".to_string()));
}
