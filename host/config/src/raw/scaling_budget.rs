//! The section `budget` of a pool's `scaling`.

use super::form::{Money, Ratio, Share, Zone};
use super::value::keys;
use crate::region;

keys! {
    /// What a violating request is worth, and what a month may cost.
    pub struct ScalingBudget {
        /// What a violating request costs, in what serving one costs: in place of `predictive.price`. One of `price` and `slo`.
        optional price: Ratio,
        /// The share of requests that shall find capacity: it picks the price. Default: the price is given.
        optional slo: Share,
        /// What saving one more violating request may cost for the SLO, in what serving one costs: 10 to 10000. Default: 1000.
        optional price_at_most: Ratio,
        /// The most origin-hours of a calendar month. One of `origin_hours` and `money`. Default: no such ceiling.
        optional origin_hours: Ratio,
        /// The same as money.
        optional money: Money,
        /// What an origin costs an hour, in the currency of `money`.
        optional origin_hour: Ratio,
        /// An IANA time zone such as Europe/Berlin or UTC, in which the month begins.
        default zone: Zone = region::Monthly::ZONE,
        /// Past the ceiling there is the floor and no more; otherwise the ceiling only caps the price.
        default hard: bool = region::Monthly::HARD,
    }
}
