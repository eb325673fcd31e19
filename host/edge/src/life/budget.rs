//! The crash budget: how many faults disable a plugin, and when it is tried again. Pure: whoever
//! asks says what time it is.
//!
//! A fault counts once, or once for each [`UNIT`] of CPU time that it took: of the callback that failed, and
//! of the start of an instance that it has ended. So few that cost much disable a plugin as surely as many
//! that cost nothing. It serves until `faults` of them have come `within` a time. Then it is disabled for `back_off`,
//! after which one exchange is its probe: the others find it disabled still. A probe that ends
//! without a fault lets it serve again; one that fails disables it for twice as long, up to `most`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use config::CrashBudget;

/// CPU time that counts as one fault: what one callback may use by default.
pub const UNIT: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Budget {
    terms: CrashBudget,
    /// When the faults of the window came and what each counts, the oldest first; of a plugin that serves.
    faults: VecDeque<(Instant, u32)>,
    standing: Standing,
    /// Counts probes, so that a late word of an old one changes nothing.
    turn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Serving,
    Disabled {
        until: Instant,
        back_off: Duration,
    },
    /// One exchange tries it.
    Probing {
        since: Instant,
        back_off: Duration,
    },
}

/// What an exchange finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Serves,
    /// This exchange is the probe of that turn.
    Probe(u64),
    Disabled,
}

/// What an operator is told, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// For this long. `again`: by a probe that failed.
    Disabled {
        back_off: Duration,
        again: bool,
    },
    Probing,
    Recovered,
    /// By the operator, or by a reload that took its budget away.
    Enabled,
}

impl Budget {
    pub fn new(terms: CrashBudget) -> Budget {
        Budget { terms, faults: VecDeque::new(), standing: Standing::Serving, turn: 0 }
    }

    pub fn terms(&self) -> &CrashBudget {
        &self.terms
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Faults that it may still have now; none is counted without a budget.
    pub fn left(&mut self, now: Instant) -> Option<u32> {
        if self.terms.faults == 0 {
            return None;
        }
        self.trim(now);
        let spent = self.spent();
        Some(if self.standing == Standing::Serving { self.terms.faults.saturating_sub(spent) } else { 0 })
    }

    /// An exchange has come.
    pub fn enter(&mut self, now: Instant) -> (Entry, Option<Change>) {
        let back_off = match self.standing {
            Standing::Serving => return (Entry::Serves, None),
            Standing::Disabled { until, back_off } if until <= now => back_off,
            // A probe that takes this long says nothing any more, and nobody else would be let in.
            Standing::Probing { since, back_off } if since + back_off <= now => back_off,
            Standing::Disabled { .. } | Standing::Probing { .. } => return (Entry::Disabled, None),
        };
        let first = matches!(self.standing, Standing::Disabled { .. });
        self.turn += 1;
        self.standing = Standing::Probing { since: now, back_off };
        (Entry::Probe(self.turn), first.then_some(Change::Probing))
    }

    /// An exchange had a fault that took `cost` of CPU time; `turn` is that of a probe.
    pub fn fault(&mut self, now: Instant, cost: Duration, turn: Option<u64>) -> Option<Change> {
        match self.standing {
            Standing::Serving if self.terms.faults > 0 => {
                self.trim(now);
                let counts = u32::try_from(cost.as_nanos() / UNIT.as_nanos()).unwrap_or(u32::MAX).max(1);
                self.faults.push_back((now, counts));
                (self.spent() >= self.terms.faults).then(|| self.disable(now, self.terms.back_off, false))
            }
            Standing::Probing { back_off, .. } if turn == Some(self.turn) => {
                Some(self.disable(now, back_off.saturating_mul(2).min(self.terms.most), true))
            }
            // Of an exchange that began before it was disabled.
            Standing::Serving | Standing::Disabled { .. } | Standing::Probing { .. } => None,
        }
    }

    /// A probe has ended without a fault.
    pub fn served(&mut self, turn: u64) -> Option<Change> {
        let mine = turn == self.turn && matches!(self.standing, Standing::Probing { .. });
        mine.then(|| self.serve(Change::Recovered))
    }

    /// A probe has ended and says nothing, as the plugin was not called in it: the next exchange
    /// is one.
    pub fn withdrawn(&mut self, turn: u64) {
        if let Standing::Probing { since, back_off } = self.standing
            && turn == self.turn
        {
            self.standing = Standing::Disabled { until: since, back_off };
        }
    }

    /// The operator's word.
    pub fn enable(&mut self) -> Option<Change> {
        self.faults.clear();
        (self.standing != Standing::Serving).then(|| self.serve(Change::Enabled))
    }

    /// Of a new configuration. What was counted stays counted.
    pub fn set_terms(&mut self, terms: &CrashBudget) -> Option<Change> {
        self.terms = terms.clone();
        if terms.faults == 0 { self.enable() } else { None }
    }

    fn disable(&mut self, now: Instant, back_off: Duration, again: bool) -> Change {
        self.faults.clear();
        self.standing = Standing::Disabled { until: now + back_off, back_off };
        Change::Disabled { back_off, again }
    }

    fn serve(&mut self, change: Change) -> Change {
        self.faults.clear();
        self.standing = Standing::Serving;
        change
    }

    fn spent(&self) -> u32 {
        self.faults.iter().fold(0, |sum: u32, (_, counts)| sum.saturating_add(*counts))
    }

    fn trim(&mut self, now: Instant) {
        let old = |(at, _): &(Instant, u32)| now.saturating_duration_since(*at) >= self.terms.within;
        while self.faults.front().is_some_and(old) {
            self.faults.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FREE: Duration = Duration::ZERO;

    fn terms(faults: u32) -> CrashBudget {
        CrashBudget { faults, within: 10 * SECOND, back_off: SECOND, most: 5 * SECOND }
    }

    /// Three faults at `now`.
    fn tripped(now: Instant) -> Budget {
        let mut budget = Budget::new(terms(3));
        assert_eq!((budget.fault(now, FREE, None), budget.fault(now, FREE, None)), (None, None));
        assert_eq!(budget.fault(now, FREE, None), Some(Change::Disabled { back_off: SECOND, again: false }));
        budget
    }

    fn probe(budget: &mut Budget, now: Instant) -> u64 {
        match budget.enter(now) {
            (Entry::Probe(turn), _) => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn so_many_faults_within_the_time_disable_and_one_less_does_not() {
        let now = Instant::now();
        let mut budget = Budget::new(terms(3));
        assert_eq!(budget.left(now), Some(3));
        budget.fault(now, FREE, None);
        budget.fault(now + 9 * SECOND, FREE, None);
        assert_eq!((budget.left(now + 9 * SECOND), budget.enter(now)), (Some(1), (Entry::Serves, None)));
        // The first one is out of the window by now.
        assert_eq!(budget.fault(now + 10 * SECOND, FREE, None), None);
        assert_eq!(budget.left(now + 10 * SECOND), Some(1));
        let change = budget.fault(now + 18 * SECOND, FREE, None);
        assert_eq!(change, Some(Change::Disabled { back_off: SECOND, again: false }));
        assert_eq!(budget.enter(now + 18 * SECOND), (Entry::Disabled, None));
        assert_eq!(budget.left(now + 18 * SECOND), Some(0));
    }

    #[test]
    fn one_exchange_probes_and_the_others_find_it_disabled() {
        let now = Instant::now();
        let mut budget = tripped(now);
        assert_eq!(budget.enter(now + SECOND / 2).0, Entry::Disabled);
        assert_eq!(budget.enter(now + SECOND), (Entry::Probe(1), Some(Change::Probing)));
        assert_eq!(budget.enter(now + SECOND), (Entry::Disabled, None));
        assert_eq!(budget.served(1), Some(Change::Recovered));
        assert_eq!(budget.enter(now + SECOND), (Entry::Serves, None));
        assert_eq!(budget.left(now + SECOND), Some(3), "what was before is forgiven");
        assert_eq!(budget.served(1), None, "it is told once");
    }

    #[test]
    fn probes_that_fail_double_the_time_up_to_the_most() {
        let mut now = Instant::now();
        let mut budget = tripped(now);
        let mut wait = SECOND;
        for wanted in [2 * SECOND, 4 * SECOND, 5 * SECOND, 5 * SECOND] {
            assert_eq!(budget.enter(now + wait - SECOND / 10).0, Entry::Disabled, "not before {wait:?}");
            now += wait;
            let turn = probe(&mut budget, now);
            assert_eq!(budget.fault(now, FREE, Some(turn)), Some(Change::Disabled { back_off: wanted, again: true }));
            wait = wanted;
        }
        now += wait;
        let turn = probe(&mut budget, now);
        budget.served(turn);
        for _ in 0..3 {
            budget.fault(now, FREE, None);
        }
        let fresh = Standing::Disabled { until: now + SECOND, back_off: SECOND };
        assert_eq!(budget.standing(), fresh, "after it served the doubling begins anew");
    }

    #[test]
    fn what_began_before_it_was_disabled_neither_prolongs_nor_ends_that() {
        let now = Instant::now();
        let mut budget = tripped(now);
        assert_eq!(budget.fault(now + SECOND / 2, FREE, None), None);
        let turn = probe(&mut budget, now + SECOND);
        assert_eq!(budget.fault(now + SECOND, FREE, None), None);
        assert!(matches!(budget.standing(), Standing::Probing { .. }));
        assert_eq!(budget.served(turn + 1), None);
        assert_eq!(budget.served(turn), Some(Change::Recovered));
    }

    #[test]
    fn a_probe_that_hangs_or_says_nothing_lets_another_try() {
        let now = Instant::now();
        let mut budget = tripped(now);
        let hanging = probe(&mut budget, now + SECOND);
        assert_eq!(budget.enter(now + 2 * SECOND - SECOND / 10).0, Entry::Disabled);
        let (entry, change) = budget.enter(now + 2 * SECOND);
        assert_eq!((entry, change), (Entry::Probe(hanging + 1), None), "told once");
        assert_eq!(budget.fault(now + 2 * SECOND, FREE, Some(hanging)), None, "its word comes too late");
        budget.withdrawn(hanging);
        assert!(matches!(budget.standing(), Standing::Probing { .. }));
        budget.withdrawn(hanging + 1);
        assert_eq!(budget.enter(now + 2 * SECOND).0, Entry::Probe(hanging + 2));
    }

    #[test]
    fn the_operator_ends_a_disabled_state_and_the_faults_are_forgiven() {
        let now = Instant::now();
        let mut budget = tripped(now);
        assert_eq!(budget.enable(), Some(Change::Enabled));
        assert_eq!((budget.enter(now), budget.left(now)), ((Entry::Serves, None), Some(3)));
        assert_eq!(budget.enable(), None, "nothing to tell");
    }

    #[test]
    fn without_a_budget_nothing_disables_it() {
        let now = Instant::now();
        let mut budget = Budget::new(terms(0));
        assert!((0..1000).all(|_| budget.fault(now, FREE, None).is_none()));
        assert_eq!((budget.enter(now), budget.left(now)), ((Entry::Serves, None), None));
        assert!(budget.faults.is_empty(), "what is not counted takes no memory");
        let mut budget = tripped(now);
        assert_eq!(budget.set_terms(&terms(0)), Some(Change::Enabled));
    }

    #[test]
    fn it_keeps_no_more_faults_than_it_counts() {
        let now = Instant::now();
        let mut budget = Budget::new(terms(5));
        for n in 0..10_000u32 {
            budget.fault(now + n * 3 * SECOND, FREE, None);
            assert!(budget.faults.len() < 5);
        }
    }

    #[test]
    fn few_faults_that_cost_much_disable_as_surely_as_many_that_cost_nothing() {
        let now = Instant::now();
        let mut budget = Budget::new(terms(100));
        assert_eq!(budget.fault(now, 19 * UNIT / 10, None), None);
        assert_eq!(budget.left(now), Some(99), "less than two units count once");
        assert_eq!(budget.fault(now, 40 * UNIT, None), None);
        assert_eq!(budget.left(now), Some(59));
        assert_eq!(budget.fault(now + 10 * SECOND, 99 * UNIT, None), None, "the others are out of the window");
        assert_eq!(budget.left(now + 10 * SECOND), Some(1));
        let disabled = Some(Change::Disabled { back_off: SECOND, again: false });
        assert_eq!(budget.fault(now + 10 * SECOND, FREE, None), disabled);
        assert_eq!(budget.enable(), Some(Change::Enabled));
        assert_eq!(budget.fault(now, Duration::MAX, None), disabled);
    }
}
