//! What a violating request is worth to a pool, and what a month of it may cost.

/// The section `budget` of a pool's `scaling`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingBudget {
    pub aim: Aim,
    /// `None`: a month may cost what it takes.
    pub monthly: Option<Monthly>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// What a violating request costs, in what serving one costs.
    Price(f64),
    /// Percent of the requests that shall find capacity, and what saving one more may cost at most, in what
    /// serving one costs.
    Slo { kept: f64, price_at_most: f64 },
}

/// The ceiling of a calendar month.
#[derive(Clone, Debug, PartialEq)]
pub struct Monthly {
    pub origin_hours: f64,
    /// Of what the hours follow, if they were given as money.
    pub money: Option<Money>,
    /// An IANA zone, in which the month begins.
    pub zone: String,
    /// Past the ceiling there is the floor and no more. Otherwise the ceiling caps the price, and what the
    /// present load needs is there all the same.
    pub hard: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Money {
    pub amount: f64,
    /// Three letters: `USD`.
    pub currency: String,
    /// What an origin costs an hour.
    pub origin_hour: f64,
}

impl ScalingBudget {
    /// A request that comes over capacity may cost as much as a thousand that are served. What an SLO takes beyond that
    /// is a noise or a flash that nobody can provide for, and is dear without end.
    pub const PRICE_AT_MOST: f64 = 1000.0;
    /// Prices that mean anything to the tuner: under the first nothing is bought, past the last all are the same.
    pub const PRICES: core::ops::RangeInclusive<f64> = 10.0..=10_000.0;
}

impl Monthly {
    pub const ZONE: &str = "UTC";
    pub const HARD: bool = false;
    /// Of the longest month, with the hour that clocks set back may add.
    pub const LONGEST_HOURS: f64 = 31.0 * 24.0 + 1.0;
}
