//! What a pool aims at and may spend: an SLO picks the price, a month's ceiling caps it.

mod script;
mod traces;

use config::region::{Aim as Asked, Money, Monthly, Scaling, ScalingBudget};
use forebay_scaler as scaler;
use jiff::Timestamp;
use scaler::Event;
use scaler::engine::{Engine, Settings};
use scaler::peers::contest::scored_from;
use scaler::replay::score::{Score, Tally};
use scaler::replay::stack::Stack;
use scaler::tune::price::{Aim, Bought, Picked, Pricing, pick, prices};
use script::*;
use traces::demand;

/// The engine over a demand whose price is picked as in a live pool; every pick, and the engine as it ends.
fn run(demand: &[f64], aim: Aim, most: Option<f64>) -> (Score, Vec<Picked>, Engine) {
    let settings = Settings::default();
    let lives = settings.lives;
    let (mut engine, mut pricing, mut picks) = (Engine::new(settings), Pricing::new(aim), Vec::new());
    let (mut stack, mut tally) = (Stack::new(lives.first(demand)), Tally::new(lives, scored_from(&lives)));
    for (step, wanted) in demand.iter().enumerate() {
        if step > 0 {
            pricing.settle(&mut engine, most);
            engine.observe(Some(demand[step - 1]));
            if let Some(picked) = pricing.picked().copied().filter(|picked| picks.last() != Some(picked)) {
                picks.push(picked);
            }
        }
        let origins = engine.want().map_or(stack.total(), |want| want.origins);
        tally.add(*wanted, &stack.step(&lives, origins));
    }
    (tally.score(), picks, engine)
}

/// What every price of the grid would have bought, as the engine's sums say at the end.
fn frontier(engine: &Engine) -> Vec<Bought> {
    prices().map(|price| engine.tuner().bought(price, engine.believes()).expect("it has paid")).collect()
}

/// At any price.
fn slo(percent: f64) -> Aim {
    Aim::Violation { percent, price_at_most: *ScalingBudget::PRICES.end() }
}

fn mean_price(picks: &[Picked]) -> f64 {
    picks.iter().map(|picked| picked.holds.price).sum::<f64>() / picks.len() as f64
}

#[test]
fn a_higher_slo_costs_more_and_violates_less_and_both_are_about_kept() {
    let demand = demand("flights-feb");
    let [(low, low_picks, _), (high, high_picks, engine)] = [1.0, 0.1].map(|most| run(&demand, slo(most), None));
    assert!(high.cost > 1.03 * low.cost && high.violation < 0.5 * low.violation, "{low:?} {high:?}");
    assert!((0.3..1.6).contains(&low.violation), "99 %: {low:?}");
    assert!(high.violation < 0.25, "99.9 %: {high:?}");
    assert!(mean_price(&high_picks) > 2.0 * mean_price(&low_picks));
    assert!(high_picks.iter().all(|picked| !picked.capped && picked.holds == picked.aimed));
    // It is the cheapest that keeps it.
    let frontier = frontier(&engine);
    let mut pricing = Pricing::new(slo(0.1));
    pricing.settle(&mut engine.clone(), None);
    let holds = pricing.picked().expect("it has paid").holds;
    assert!(holds.violation <= 0.1 && holds.price <= ScalingBudget::PRICE_AT_MOST, "{holds:?}");
    assert!(
        frontier.iter().filter(|bought| bought.price < holds.price).all(|bought| bought.violation > 0.1),
        "{holds:?}"
    );
    assert!(frontier.windows(2).all(|pair| pair[1].origins >= pair[0].origins * 0.999), "more is bought for more");
}

#[test]
fn what_there_is_to_spend_caps_the_price_and_the_figures_are_those_of_the_frontier() {
    let demand = demand("flights-feb");
    let (free, _, engine) = run(&demand, slo(0.05), None);
    let frontier = frontier(&engine);
    let (cheapest, dearest) = (frontier[0], frontier[frontier.len() - 1]);
    let most = (cheapest.origins + dearest.origins) / 2.0;
    let mut pricing = Pricing::new(slo(0.05));
    pricing.settle(&mut engine.clone(), Some(most));
    let picked = *pricing.picked().expect("it has paid");
    assert!(picked.capped && picked.aimed.origins > most && picked.holds.origins <= most, "{picked:?}");
    // The highest price that can be paid, and what the frontier has there and at the aim.
    let above = frontier.iter().find(|bought| bought.price > picked.holds.price).expect("a dearer one");
    assert!(above.origins > most, "{above:?}");
    for bought in [picked.holds, picked.aimed] {
        assert!(frontier.contains(&bought), "{bought:?}");
    }
    // And over the whole trace the bill obeys.
    let (bound, picks, _) = run(&demand, slo(0.05), Some(most));
    let days = (demand.len() - scored_from(&Settings::default().lives)) as f64 / 5760.0;
    let mean = bound.cost / (24.0 * days);
    assert!(
        mean < 1.05 * most && bound.cost < 0.98 * free.cost && bound.violation > free.violation,
        "{mean} of {most}"
    );
    assert!(picks.iter().filter(|picked| picked.capped).count() > picks.len() / 2);
    // Less than the cheapest price takes is not had by outages.
    let mut poor = Pricing::new(slo(0.05));
    poor.settle(&mut engine.clone(), Some(1.0));
    assert_eq!(poor.picked().map(|picked| picked.holds), Some(cheapest));
}

#[test]
fn an_slo_that_no_price_reaches_takes_the_cheapest_that_comes_near() {
    let (_, picks, engine) = run(&demand("elb-requests"), slo(0.001), None);
    let frontier = frontier(&engine);
    let least = frontier.iter().map(|bought| bought.violation).fold(f64::INFINITY, f64::min);
    let last = picks.last().expect("it has paid");
    assert!(!last.reachable && last.holds.violation < 1.5 * least && least > 0.001, "{last:?} {least}");
    // Where more money buys nothing any more, it is not spent.
    let flat = [(10.0, 5.0, 2.0), (20.0, 6.0, 0.54), (40.0, 9.0, 0.51), (80.0, 30.0, 0.5)];
    let flat = flat.map(|(price, origins, violation)| Bought { price, origins, violation });
    let near = pick(&flat, slo(0.1), |_| None, None).expect("it has paid");
    assert_eq!((near.holds, near.reachable, near.capped), (flat[1], false, false));
    // A price is a price: it asks for nothing that could not be had.
    let mut given = Pricing::new(Aim::Price(80.0));
    given.settle(&mut engine.clone(), None);
    let given = given.picked().expect("it has paid");
    assert!(given.reachable && !given.capped && given.holds.price == 80.0);
}

#[test]
fn an_slo_is_followed_up_to_the_price_that_a_violating_request_may_have_and_no_further() {
    // At 3,000 of the SLO's, and at 200 as near as the least there is.
    let frontier = [(10.0, 5.0, 2.0), (100.0, 8.0, 0.4), (200.0, 9.0, 0.38), (1000.0, 14.0, 0.3), (3000.0, 30.0, 0.09)];
    let frontier = frontier.map(|(price, origins, violation)| Bought { price, origins, violation });
    let picked = |percent: f64, price_at_most: f64, most: Option<f64>| {
        pick(&frontier, Aim::Violation { percent, price_at_most }, |_| None, most).expect("it has paid")
    };
    for (percent, price_at_most, most, holds, aimed, is) in [
        // In reach, within the price, and within the money: nothing is in the way.
        (0.3, 1000.0, None, 3, 3, (true, false, false)),
        (0.1, 3000.0, None, 4, 4, (true, false, false)),
        // In reach for more than a request may cost: the most that the price buys.
        (0.1, 1000.0, None, 3, 4, (true, true, false)),
        (0.3, 999.0, None, 1, 3, (true, true, false)),
        // The price's grid ends a rounding before it.
        (0.3, 1000.0 / (1.0 + 1e-12), None, 3, 3, (true, false, false)),
        // Not in reach at all: what comes nearest, and what of it the price buys.
        (0.01, 10_000.0, None, 4, 4, (false, false, false)),
        (0.01, 1000.0, None, 3, 4, (false, true, false)),
        // And money bounds what is left.
        (0.1, 1000.0, Some(8.5), 1, 4, (true, true, true)),
        (0.1, 1000.0, Some(20.0), 3, 4, (true, true, false)),
        (0.1, 3000.0, Some(20.0), 3, 4, (true, false, true)),
        // Under the first price nothing is bought.
        (0.3, 5.0, None, 0, 3, (true, true, false)),
    ] {
        let found = picked(percent, price_at_most, most);
        let what = format!("{percent} % at most for {price_at_most}, with {most:?}: {found:?}");
        assert_eq!((found.holds, found.aimed), (frontier[holds], frontier[aimed]), "{what}");
        assert_eq!((found.reachable, found.dear, found.capped), is, "{what}");
    }
}

#[test]
fn an_slo_that_is_dear_or_out_of_reach_is_not_chased_over_a_trace() {
    // Flash crowds that nothing foretells: the bench that an SLO as a hard bound spends most on, in vain.
    let demand = demand("elb-requests");
    let bounded = Aim::Violation { percent: 0.001, price_at_most: ScalingBudget::PRICE_AT_MOST };
    let ((chased, ..), (held, picks, _)) = (run(&demand, slo(0.001), None), run(&demand, bounded, None));
    assert!(held.cost < chased.cost, "{held:?} {chased:?}");
    let last = picks.last().expect("it has paid");
    assert!(!last.reachable && last.dear && last.holds.price <= 1000.1 && last.aimed.price > 1000.1, "{last:?}");
}

/// Two loads by turns, and noise of its own: not every price can have the same.
fn load(step: u64) -> f64 {
    let hour = step as f64 / 240.0;
    let swing = 60.0 + 40.0 * (hour * std::f64::consts::TAU / 24.0).sin();
    swing * (1.0 + 0.35 * ((step * 7919 % 97) as f64 / 97.0 - 0.5))
}

#[test]
fn a_live_pool_says_what_its_slo_costs_and_what_the_money_buys() {
    let aimed = |money: f64| ScalingBudget {
        aim: Asked::Slo { kept: 99.9, price_at_most: 1000.0 },
        monthly: Some(Monthly {
            origin_hours: money / 0.5,
            money: Some(Money { amount: money, currency: "USD".into(), origin_hour: 0.5 }),
            zone: "UTC".into(),
            hard: false,
        }),
    };
    let paid = |money: f64| slow(Scaling { ceiling: 100, budget: Some(aimed(money)), ..predictive(80.0) });
    let mut script = Script::with(paid(1e6), "2026-03-01T00:00:00Z");
    let mut step = 0;
    let mut pass = |script: &mut Script, steps: u64| {
        for _ in 0..steps {
            script.pass_step(&[("e1", load(step))]);
            step += 1;
        }
        script.last().budget.clone().expect("it is told")
    };
    let early = pass(&mut script, 240);
    assert!(early.price == Some(80.0) || early.price.is_none(), "{early:?}");
    let rich = pass(&mut script, 3 * 5760);
    assert!(rich.reached && rich.needs.is_none() && rich.verdict.starts_with("the SLO 99.9 % keeps 99.9"), "{rich:?}");
    let buys = rich.buys.unwrap();
    let in_line = format!("price {:.0}, {:.1} origins on average", buys.price, buys.origins);
    assert!(rich.verdict.contains(&in_line) && rich.verdict.contains("1000000.00 USD"), "{}", rich.verdict);
    // Not even what the aim takes from now on; the file changes and nothing is learned anew.
    let left = 24.0 * 31.0 - 73.0;
    let most = 0.93 * buys.origins;
    script.apply(Event::Configured(paid(most * left * 0.5 * 744.0 / 744.0)));
    let poor = pass(&mut script, 4);
    let (needs, has) = (poor.needs.expect("it costs more"), poor.buys.unwrap());
    assert!(!poor.reached && needs.origins > has.origins && has.violation > needs.violation, "{poor:?}");
    assert!(has.origins <= most * 1.001 && (needs.violation <= 0.1), "{poor:?}");
    let told = poor.month.as_ref().unwrap();
    let hours = Timestamp::duration_since(told.to, script.now).as_secs_f64() / 3600.0;
    let cost = |origins: f64| (told.spent_hours + origins * hours) * 0.5;
    let (_, costs) = poor.verdict.split_once("the SLO 99.9 % costs ").expect("it says so");
    let costs: f64 = costs.split(' ').next().unwrap().parse().unwrap();
    assert!((costs - cost(needs.origins)).abs() < 0.1, "{} is not {}", poor.verdict, cost(needs.origins));
    let parts = [
        format!("unreachable for {:.2} USD", told.ceiling_hours * 0.5),
        format!("{:.3} % of the requests within capacity is what that buys", 100.0 - has.violation),
    ];
    assert!(parts.iter().all(|part| poor.verdict.contains(part)), "{}: {parts:?}", poor.verdict);
    assert!((told.projected_hours * 0.5 - cost(has.origins)).abs() < 0.1, "{told:?}");
    let json = serde_json::to_value(script.last()).unwrap();
    assert_eq!(json["budget"]["slo"], 99.9);
    // Money enough, and a request may not cost what the SLO takes.
    let cheap = |price_at_most: f64| {
        let mut region = config::Region::clone(&paid(1e6));
        let mut pool = config::region::Pool::clone(&region.pools["shop"]);
        pool.scaling.as_mut().unwrap().budget.as_mut().unwrap().aim = Asked::Slo { kept: 99.99, price_at_most };
        region.pools.insert("shop".into(), std::sync::Arc::new(pool));
        std::sync::Arc::new(region)
    };
    script.apply(Event::Configured(cheap(20.0)));
    let dear = pass(&mut script, 4);
    let (needs, has) = (dear.needs.expect("it costs more"), dear.buys.unwrap());
    assert!(!dear.reached && has.price <= 20.1 && needs.price > 20.1 && needs.origins > has.origins, "{dear:?}");
    let takes = format!(
        "takes price {:.0}, {:.1} origins on average, and a violating request may cost 20: ",
        needs.price, needs.origins
    );
    let has = format!("{:.3} % of the requests within capacity is what that buys (price 20, ", 100.0 - has.violation);
    assert!(
        dear.verdict.starts_with("the SLO 99.99 %") || dear.verdict.starts_with("what comes nearest"),
        "{}",
        dear.verdict
    );
    assert!(dear.verdict.contains(&takes) && dear.verdict.contains(&has), "{}: {takes} {has}", dear.verdict);
    assert!(!dear.verdict.contains("unreachable for"), "there is money enough: {}", dear.verdict);
}
