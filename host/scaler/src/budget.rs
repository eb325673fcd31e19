//! What a pool may cost in a calendar month, and what it has cost: origin-hours, counted from what runs, and what
//! of them can still be spent.
//!
//! A month begins at midnight of its first day in the budget's zone, so it has as many hours as clocks there make of
//! it. What was spent survives a restart by the journal's records and by the history, whichever knows more. Where counting began within the month
//! (a budget that is new, a journal that is gone) the month's ceiling counts from then on, in proportion.

use std::time::Duration;

use config::region::{Aim as Asked, Monthly, ScalingBudget};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::stamp;
use crate::tune::price::{Aim, Bought, Picked};
use crate::wall::Wall;

/// After a longer silence nobody knows what ran: a clock that was set, or an aggregator that was off for so long.
/// Over a shorter one origins run on, and are paid.
const LONGEST: Duration = Duration::from_secs(3 * 86_400);

/// A budget and how it stands, for records and views. Hours are of origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// Percent of the requests that shall find capacity; `None`: a price is aimed at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<f64>,
    /// What a violating request costs now, in what serving one costs.
    pub price: Option<f64>,
    /// What that price buys, by the replayed past; `None` before the tuner has any.
    pub buys: Option<Bought>,
    /// What the aim would take, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Bought>,
    /// The aim is reached: within the ceiling, and at any price at all.
    pub reached: bool,
    /// The calendar month, where there is a ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
    /// All of it in one line.
    pub verdict: String,
}

/// A calendar month's account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Month {
    #[serde(with = "crate::stamp")]
    pub from: Timestamp,
    #[serde(with = "crate::stamp")]
    pub to: Timestamp,
    /// When counting began.
    #[serde(with = "crate::stamp")]
    pub counted_from: Timestamp,
    /// What there is for the part that is counted.
    pub ceiling_hours: f64,
    pub spent_hours: f64,
    /// With what is to come, at the price that holds; without a predictive rule at the mean so far.
    pub projected_hours: f64,
    /// With what the aim would take, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_hours: Option<f64>,
    /// What an hour costs, where the ceiling is money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_hour: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Origins that ran, for who counts on.
    pub running: u32,
}

/// Of one pool.
#[derive(Debug)]
pub struct Budget {
    setting: ScalingBudget,
    account: Option<Account>,
}

#[derive(Debug)]
struct Account {
    monthly: Monthly,
    zone: TimeZone,
    from: Timestamp,
    to: Timestamp,
    counted_from: Timestamp,
    spent: Duration,
    /// Until when it is counted, and how many have run since.
    until: Timestamp,
    running: u32,
    /// Counting has begun here.
    counts: bool,
    /// Until when what an earlier run told had been counted.
    heard: Option<Timestamp>,
}

impl Budget {
    pub fn new(setting: &ScalingBudget, now: Timestamp, wall: Wall) -> Budget {
        let account = setting.monthly.as_ref().map(|monthly| Account::new(monthly, now, wall));
        Budget { setting: setting.clone(), account }
    }

    /// What was spent stays where the month is the same.
    pub fn anew(self, setting: &ScalingBudget, now: Timestamp, wall: Wall) -> Budget {
        let mut budget = Budget::new(setting, now, wall);
        if let (Some(new), Some(old)) = (&mut budget.account, self.account)
            && (new.from, new.to) == (old.from, old.to)
        {
            *new = Account { monthly: new.monthly.clone(), zone: new.zone.clone(), ..old };
        }
        budget
    }

    pub fn setting(&self) -> &ScalingBudget {
        &self.setting
    }

    pub fn aim(setting: &ScalingBudget) -> Aim {
        match setting.aim {
            Asked::Price(price) => Aim::Price(price),
            Asked::Slo { kept, price_at_most } => Aim::Violation { percent: 100.0 - kept, price_at_most },
        }
    }

    /// What an earlier run had counted until `at`. Of several who kept it the latest word holds; once counting has begun
    /// here, it is too late for any.
    pub fn recall(&mut self, month: &Month, at: Timestamp) {
        if let Some(account) = &mut self.account
            && (account.from, account.to) == (month.from, month.to)
            && !account.counts
            && account.heard.is_none_or(|heard| heard < at)
        {
            account.heard = Some(at);
            account.counted_from = month.counted_from;
            account.spent = Duration::try_from_secs_f64(month.spent_hours.max(0.0) * 3600.0).unwrap_or_default();
            (account.until, account.running) = (at, month.running);
        }
    }

    /// So many run now. Whether another month has begun.
    pub fn count(&mut self, running: u32, now: Timestamp, wall: Wall) -> bool {
        self.account.as_mut().is_some_and(|account| account.count(running, now, wall))
    }

    /// What is counted, for who keeps it, and until when by the wall clock. `None` without a ceiling, or before counting has
    /// begun: what an earlier run kept is worth more than nothing.
    pub fn counted(&self, wall: Wall) -> Option<(Timestamp, Month)> {
        let account = self.account.as_ref().filter(|account| account.counts)?;
        let until = wall.shows(account.until);
        Some((until, account.told(None, until)))
    }

    /// Origins that can be paid until the end of the month, on average. From here on `now` is of the wall clock.
    pub fn affordable(&self, now: Timestamp) -> Option<f64> {
        let account = self.account.as_ref()?;
        let left = hours(account.to, now);
        let rest = account.ceiling() - account.spent_hours();
        (left > 0.0).then(|| rest.max(0.0) / left)
    }

    /// The count that a hard ceiling allows no more than, and why: the floor, once what is left only pays for that.
    pub fn clamp(&self, floor: u32, now: Timestamp) -> Option<(u32, String)> {
        let account = self.account.as_ref().filter(|account| account.monthly.hard)?;
        let rest = account.ceiling() - account.spent_hours();
        let left = hours(account.to, now);
        (rest <= f64::from(floor) * left).then(|| {
            let (ceiling, spent) = (account.ceiling(), account.spent_hours());
            (
                floor,
                format!("{spent:.0} of {ceiling:.0} origin-hours are spent: the rest is the floor's, for {left:.0} h"),
            )
        })
    }

    /// How it stands.
    pub fn told(&self, picked: Option<&Picked>, now: Timestamp) -> Spending {
        let needs = picked.filter(|picked| picked.short()).map(|picked| picked.aimed);
        let month = self.account.as_ref().map(|account| account.told(picked, now));
        let slo = match self.setting.aim {
            Asked::Slo { kept, .. } => Some(kept),
            Asked::Price(_) => None,
        };
        let reached = picked.is_none_or(|picked| picked.reachable && !picked.short());
        let mut spending = Spending {
            slo,
            price: picked.map(|picked| picked.holds.price),
            buys: picked.map(|picked| picked.holds),
            needs,
            reached,
            month,
            verdict: String::new(),
        };
        let price_at_most = match self.setting.aim {
            Asked::Slo { price_at_most, .. } if picked.is_some_and(|picked| picked.dear) => Some(price_at_most),
            Asked::Slo { .. } | Asked::Price(_) => None,
        };
        let (reachable, capped) = picked.map_or((true, false), |picked| (picked.reachable, picked.capped));
        spending.verdict = spending.describe(reachable, capped, price_at_most);
        spending
    }
}

impl Account {
    fn new(monthly: &Monthly, now: Timestamp, wall: Wall) -> Account {
        // The checker has found it; on a machine that has lost it since, months are UTC's.
        let zone = TimeZone::get(&monthly.zone).unwrap_or(TimeZone::UTC);
        let clock = wall.shows(now);
        let (from, to) = month_of(clock, &zone);
        let monthly = monthly.clone();
        let (spent, running) = (Duration::ZERO, 0);
        Account { monthly, zone, from, to, counted_from: clock, spent, until: now, running, counts: false, heard: None }
    }

    /// Months go by the wall clock, and what is paid by time that passes.
    fn count(&mut self, running: u32, now: Timestamp, wall: Wall) -> bool {
        let passed = Some(stamp::age(now, self.until)).filter(|passed| *passed <= LONGEST).unwrap_or_default();
        let clock = wall.shows(now);
        let another = !(self.from..self.to).contains(&clock);
        if another {
            (self.from, self.to) = month_of(clock, &self.zone);
            let begun = stamp::age(clock, self.from);
            // Where the clock was set, or nobody counted, its beginning is not known.
            let known = begun <= passed;
            self.counted_from = if known { self.from } else { clock };
            self.spent = if known { begun * self.running } else { Duration::ZERO };
        } else {
            self.spent += passed * self.running;
        }
        (self.until, self.running, self.counts) = (now, running, true);
        another
    }

    fn spent_hours(&self) -> f64 {
        self.spent.as_secs_f64() / 3600.0
    }

    /// Of the part of the month that is counted.
    fn ceiling(&self) -> f64 {
        self.monthly.origin_hours * hours(self.to, self.counted_from) / hours(self.to, self.from).max(1e-9)
    }

    fn told(&self, picked: Option<&Picked>, now: Timestamp) -> Month {
        let (left, spent) = (hours(self.to, now), self.spent_hours());
        let passed = hours(now, self.counted_from);
        let so_far = if passed > 1.0 { spent / passed } else { f64::from(self.running) };
        let with = |origins: f64| tenths(spent + origins * left);
        Month {
            from: self.from,
            to: self.to,
            counted_from: self.counted_from,
            ceiling_hours: tenths(self.ceiling()),
            spent_hours: (spent * 1e4).round() / 1e4,
            projected_hours: with(picked.map_or(so_far, |picked| picked.holds.origins)),
            needed_hours: picked.filter(|picked| picked.short()).map(|picked| with(picked.aimed.origins)),
            origin_hour: self.monthly.money.as_ref().map(|money| money.origin_hour),
            currency: self.monthly.money.as_ref().map(|money| money.currency.clone()),
            running: self.running,
        }
    }
}

impl Spending {
    /// `reachable`: some price reaches the aim. `capped`: the month's ceiling is in the way. `price_at_most`: what a
    /// violating request may cost is, being less than the aim takes.
    fn describe(&self, reachable: bool, capped: bool, price_at_most: Option<f64>) -> String {
        let aim = match (self.slo, &self.needs, self.price) {
            (Some(slo), Some(_), _) if !reachable => format!("what comes nearest to the SLO {slo} %"),
            (Some(slo), ..) => format!("the SLO {slo} %"),
            (None, Some(needs), _) => format!("the price {:.0}", needs.price),
            (None, None, Some(price)) => format!("the price {price:.0}"),
            (None, None, None) => "the price".to_string(),
        };
        let amount =
            |hours: f64| self.month.as_ref().map_or(format!("{hours:.0} origin-hours"), |month| month.amount(hours));
        let Some(buys) = &self.buys else {
            let month = self
                .month
                .as_ref()
                .map(|month| format!("{} of {} are spent; ", amount(month.spent_hours), amount(month.ceiling_hours)));
            return format!("{}nothing was replayed yet that would tell what {aim} costs", month.unwrap_or_default());
        };
        let kept = format!("{:.3} %", 100.0 - buys.violation);
        let price = format!("price {:.0}, {:.1} origins on average", buys.price, buys.origins);
        let without = |month: &Month| {
            format!(
                "; {} of {} are spent, {} projected",
                amount(month.spent_hours),
                amount(month.ceiling_hours),
                amount(month.projected_hours)
            )
        };
        match (&self.month, self.month.as_ref().and_then(|month| month.needed_hours)) {
            (Some(month), Some(needed)) if capped => {
                let over = month.projected_hours > month.ceiling_hours;
                let passed = if over {
                    format!(
                        ", and passes it by {}: cheaper would be an outage",
                        amount(month.projected_hours - month.ceiling_hours)
                    )
                } else {
                    String::new()
                };
                format!(
                    "{aim} costs {} in this month, unreachable for {}: {kept} of the requests within capacity is what that buys ({price}){passed}",
                    amount(needed),
                    amount(month.ceiling_hours),
                )
            }
            (month, _) if price_at_most.is_some() => {
                let takes = self.needs.map_or(String::new(), |needs| {
                    format!("price {:.0}, {:.1} origins on average", needs.price, needs.origins)
                });
                let aim = if reachable { aim } else { format!("{aim}, which no price reaches,") };
                format!(
                    "{aim} takes {takes}, and a violating request may cost {:.0}: {kept} of the requests within capacity is what that buys ({price}){}",
                    price_at_most.unwrap_or_default(),
                    month.as_ref().map(without).unwrap_or_default()
                )
            }
            (month, _) if !reachable => {
                format!(
                    "{aim} is unreachable at any price: {kept} is near the most ({price}){}",
                    month.as_ref().map(without).unwrap_or_default()
                )
            }
            (month, _) => format!(
                "{aim} keeps {kept} of the requests within capacity ({price}){}",
                month.as_ref().map(without).unwrap_or_default()
            ),
        }
    }
}

impl Month {
    /// Of so many origin-hours: as money, where that is what the ceiling is in.
    fn amount(&self, hours: f64) -> String {
        match (self.origin_hour, &self.currency) {
            (Some(price), Some(currency)) => format!("{:.2} {currency}", hours * price),
            _ => format!("{hours:.0} origin-hours"),
        }
    }
}

/// Begin and end of the calendar month that an instant is in.
fn month_of(at: Timestamp, zone: &TimeZone) -> (Timestamp, Timestamp) {
    let first = at.to_zoned(zone.clone()).date().first_of_month();
    let begin = |date: jiff::civil::Date| zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible();
    let from = begin(first).unwrap_or(at);
    let to = first.checked_add(1.month()).ok().and_then(|next| begin(next).ok()).unwrap_or(Timestamp::MAX);
    (from, to)
}

fn hours(to: Timestamp, from: Timestamp) -> f64 {
    stamp::age(to, from).as_secs_f64() / 3600.0
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
