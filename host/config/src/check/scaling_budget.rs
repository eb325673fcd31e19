//! The section `budget` of a pool's `scaling`.

use super::place;
use crate::error::{Errors, Problem};
use crate::raw::pool as pool_raw;
use crate::raw::scaling_budget as raw;
use crate::raw::value::At;
use crate::region::{Aim, Money, Monthly, Predictive, ScalingBudget};

pub fn budget(raw: &At<raw::ScalingBudget>, scaling: &pool_raw::Scaling, errors: &mut Errors) -> Option<ScalingBudget> {
    refuse_contradictions(raw, scaling, errors);
    let given = scaling.predictive.as_ref().and_then(|rule| rule.price.as_ref());
    let given = given.map_or(Predictive::PRICE, |price| price.0);
    let price_at_most = raw.price_at_most.as_ref().map_or(ScalingBudget::PRICE_AT_MOST, |price| price.0);
    let aim = match (&raw.slo, &raw.price) {
        (Some(slo), _) => Aim::Slo { kept: slo.0, price_at_most },
        (None, price) => Aim::Price(price.as_ref().map_or(given, |price| price.0)),
    };
    let money = match (&raw.money, &raw.origin_hour) {
        (Some(money), Some(hour)) => {
            Some(Money { amount: money.0.0, currency: money.0.1.clone(), origin_hour: hour.0 })
        }
        _ => None,
    };
    let hours = raw.origin_hours.as_ref().map(|hours| hours.0);
    let hours = hours.or(money.as_ref().map(|money| money.amount / money.origin_hour));
    let monthly =
        hours.map(|origin_hours| Monthly { origin_hours, money, zone: raw.zone.0.clone(), hard: raw.hard.value });
    if let Some(monthly) = &monthly {
        refuse_less_than_the_floor(raw, monthly, scaling.floor.0, errors);
    }
    Some(ScalingBudget { aim, monthly })
}

fn refuse_contradictions(raw: &At<raw::ScalingBudget>, scaling: &pool_raw::Scaling, errors: &mut Errors) {
    let whole = !errors.has_under(&raw.place);
    super::one_of(&raw.place, &[("price", place(&raw.price)), ("slo", place(&raw.slo))], false, errors);
    let ceilings = [("origin_hours", place(&raw.origin_hours)), ("money", place(&raw.money))];
    super::one_of(&raw.place, &ceilings, false, errors);
    let nothing = [place(&raw.price), place(&raw.slo), ceilings[0].1, ceilings[1].1].iter().all(Option::is_none);
    if whole && nothing {
        let problem = Problem::found("nothing that bounds or aims");
        errors.add(&raw.place, problem.allowed("needed: one of price, slo, origin_hours, money, or more"));
    }
    for (key, given) in [("price", place(&raw.price)), ("slo", place(&raw.slo))] {
        let Some(at) = given.filter(|_| scaling.predictive.is_none()) else { continue };
        let problem = Problem::found(format!("\"{key}\" is what \"predictive\" goes by, and there is no such rule"));
        errors.add(at, problem.allowed("needed: \"predictive\" in the same scaling"));
    }
    refuse_prices(raw, scaling, errors);
    match (place(&raw.money), place(&raw.origin_hour)) {
        (Some(at), None) if whole => {
            let problem = Problem::found("\"money\" without what an origin costs");
            errors.add(at, problem.allowed("needed: \"origin_hour\" beside it"));
        }
        (None, Some(at)) if whole => {
            let problem = Problem::found("\"origin_hour\" without \"money\"");
            errors.add(at, problem.allowed("allowed: with \"money\""));
        }
        _ => {}
    }
    if whole && raw.hard.value && ceilings.iter().all(|(_, given)| given.is_none()) {
        let problem = Problem::found("\"hard\" without a ceiling");
        errors.add(&raw.hard.place, problem.allowed("needed: \"origin_hours\" or \"money\" beside it"));
    }
}

/// Of two prices one would not hold, and a price that bounds an SLO bounds nothing else.
fn refuse_prices(raw: &At<raw::ScalingBudget>, scaling: &pool_raw::Scaling, errors: &mut Errors) {
    let of_rule = scaling.predictive.as_ref().and_then(|rule| rule.price.as_ref());
    if let (Some(price), Some(other)) = (&raw.price, of_rule) {
        let problem = Problem::found(format!("{}, and \"predictive\" has the price {}", price.0, other.0));
        errors.add(&price.place, problem.allowed("allowed: \"price\" in one of \"budget\" and \"predictive\""));
    }
    let Some(most) = &raw.price_at_most else { return };
    if raw.slo.is_none() && !errors.has_under(&raw.place) {
        let problem = Problem::found("\"price_at_most\" without \"slo\"");
        errors.add(&most.place, problem.allowed("allowed: beside \"slo\", whose price it bounds"));
    }
    let (least, largest) = (ScalingBudget::PRICES.start(), ScalingBudget::PRICES.end());
    if !ScalingBudget::PRICES.contains(&most.0) {
        let problem = Problem::found(format!("found {}", most.0));
        errors.add(&most.place, problem.allowed(format!("allowed: {least} to {largest}")));
    }
}

/// A ceiling that the floor alone passes could only ever be passed.
fn refuse_less_than_the_floor(raw: &At<raw::ScalingBudget>, monthly: &Monthly, floor: u32, errors: &mut Errors) {
    let least = f64::from(floor) * Monthly::LONGEST_HOURS;
    let given = place(&raw.origin_hours).or(place(&raw.money));
    if let Some(at) = given.filter(|_| monthly.origin_hours < least) {
        let found = format!("{:.0} origin-hours, and the floor {floor} alone takes {least:.0}", monthly.origin_hours);
        let problem = Problem::found(found);
        let needed = match &monthly.money {
            Some(money) => format!("{:.2} {}", least * money.origin_hour, money.currency),
            None => format!("{least:.0}"),
        };
        errors.add(at, problem.allowed(format!("allowed: from {needed} on, or a lower floor")));
    }
}
