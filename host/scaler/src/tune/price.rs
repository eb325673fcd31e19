//! Which price a violating request gets. What each price would have bought is known from the sums of the replayed
//! past: the blend that it chooses, with its mean bill and its violation. So an SLO picks a price (the cheapest whose
//! blend violated no more), and what there is to spend caps it (the highest whose blend cost no more).
//!
//! At a price the blend is where one more violating request is saved for just that price, so the price is also what the
//! last bit of an SLO costs. An SLO is therefore followed up to a highest price and no further: beyond it, flashes without
//! a warning and noise under an origin are chased, at any cost and in vain. What it would have cost is told.
//!
//! A mean of counts costs and violates at most the mean of what they cost and violate, so what is told of a blend
//! is rather too much than too little.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Prices that are looked at: ten to a decade. Cheaper than the first nothing is bought; past the last a blend is as
/// good as the candidates are.
const CHEAPEST: f64 = 10.0;
const A_DECADE: f64 = 10.0;
const PRICES: i32 = 31;
/// Where no price reaches the SLO: the cheapest that violates no more than this over the least there is. The last
/// tenth costs more than all before it.
const NEAR: f64 = 1.1;

/// Prices of the grid are powers: the one that is meant by 1000 may be the next number after it.
const ROUNDED: f64 = 1.0 + 1e-9;

/// What a pool aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// What a violating request costs, in what serving one costs.
    Price(f64),
    /// So many percent of the requests may come over capacity; saving one more may cost `price_at_most`, in what
    /// serving one costs.
    Violation { percent: f64, price_at_most: f64 },
}

/// What a price would have bought lately.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bought {
    pub price: f64,
    /// Origins billed, on average.
    pub origins: f64,
    /// Percent of the requests over capacity.
    pub violation: f64,
}

/// The price that holds, and of what it follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Picked {
    pub holds: Bought,
    /// What is aimed at, whatever it costs.
    pub aimed: Bought,
    /// There is a price that reaches the SLO, if it is one.
    pub reachable: bool,
    /// The aim takes a higher price than a violating request may have.
    pub dear: bool,
    /// There was less to spend than what is left to aim at takes.
    pub capped: bool,
}

impl Picked {
    /// It is not what is aimed at that holds.
    pub fn short(&self) -> bool {
        self.dear || self.capped
    }

    /// In origins of which so many carry what one of these does.
    pub fn scaled(self, scale: f64) -> Picked {
        let of = |bought: Bought| Bought { origins: bought.origins * scale, ..bought };
        Picked { holds: of(self.holds), aimed: of(self.aimed), ..self }
    }
}

/// All prices that are looked at, the cheapest first.
pub fn prices() -> impl Iterator<Item = f64> {
    (0..PRICES).map(|at| CHEAPEST * 10f64.powf(f64::from(at) / A_DECADE))
}

/// `frontier`: what each of [`prices`] buys. `most`: origins that can be paid, on average. `None` while nothing was
/// paid yet.
pub fn pick(frontier: &[Bought], aim: Aim, at: impl Fn(f64) -> Option<Bought>, most: Option<f64>) -> Option<Picked> {
    let least = frontier.iter().map(|bought| bought.violation).min_by(f64::total_cmp)?;
    let (aimed, reachable) = match aim {
        Aim::Price(price) => (at(price)?, true),
        Aim::Violation { percent, .. } => (nearest(frontier, percent)?, least <= percent),
    };
    // Within the highest price.
    let wanted = match aim {
        Aim::Violation { percent, price_at_most } if aimed.price > price_at_most * ROUNDED => {
            let end = frontier.partition_point(|bought| bought.price <= price_at_most * ROUNDED);
            nearest(&frontier[..end.max(1)], percent)?
        }
        Aim::Violation { .. } | Aim::Price(_) => aimed,
    };
    let dear = wanted.price < aimed.price;
    let Some(most) = most.filter(|most| wanted.origins > *most) else {
        return Some(Picked { holds: wanted, aimed, reachable, dear, capped: false });
    };
    let within = |bought: &&Bought| bought.price < wanted.price && bought.origins <= most;
    // Cheaper than the cheapest is an outage: then the budget is passed, and says so.
    let cheapest = frontier.first().filter(|cheapest| cheapest.price < wanted.price).unwrap_or(&wanted);
    let holds = *frontier.iter().rfind(within).unwrap_or(cheapest);
    Some(Picked { holds, aimed, reachable, dear, capped: true })
}

/// The cheapest that violates so many percent and no more; if none does, the cheapest that comes near the least.
fn nearest(frontier: &[Bought], percent: f64) -> Option<Bought> {
    let least = frontier.iter().map(|bought| bought.violation).min_by(f64::total_cmp)?;
    let most = if least <= percent { percent } else { NEAR * least };
    frontier.iter().find(|bought| bought.violation <= most).copied()
}

/// The price of one engine.
#[derive(Debug)]
pub struct Pricing {
    aim: Aim,
    picked: Option<Picked>,
    /// Something has changed that the engine was not told of.
    due: bool,
}

impl Pricing {
    pub fn new(aim: Aim) -> Pricing {
        Pricing { aim, picked: None, due: true }
    }

    pub fn aim(&self) -> Aim {
        self.aim
    }

    pub fn picked(&self) -> Option<&Picked> {
        self.picked.as_ref()
    }

    /// The price that an engine begins with.
    pub fn first(aim: Aim) -> f64 {
        match aim {
            Aim::Price(price) => price,
            Aim::Violation { .. } => config::region::Predictive::PRICE,
        }
    }

    /// At the next step, and not only when the engine chooses anyway.
    pub fn again(&mut self) {
        self.due = true;
    }

    /// Before each step: where the engine is about to choose, or [`Pricing::again`] was said, it gets the price that
    /// holds from now on. `most`: origins that can be paid from now on, on average.
    pub fn settle(&mut self, engine: &mut Engine, most: Option<f64>) {
        if !self.due && !engine.tuner().chooses_next() {
            return;
        }
        let believed = engine.believes();
        let tuner = engine.tuner();
        let at = |price: f64| tuner.bought(price, believed);
        let frontier: Vec<Bought> = prices().filter_map(at).collect();
        self.picked = pick(&frontier, self.aim, at, most);
        let price = self.picked.map_or(Pricing::first(self.aim), |picked| picked.holds.price);
        engine.reprice(price);
        self.due = false;
    }
}
