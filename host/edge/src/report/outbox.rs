//! Which report one aggregator gets next. Time is passed in; nothing here does I/O.
//!
//! What was not delivered is covered by the next report. What may have been delivered (the
//! answer was lost) is sent again word for word, because the aggregator drops a repeat of its
//! number: so nothing is lost and nothing is counted twice.

use std::time::Duration;

use wire::Report;

use super::Counts;

/// No report covers more: what is older says nothing about now.
const LONGEST: Duration = Duration::from_secs(60);
/// A report that may have been delivered is repeated this long.
const REPEATED: Duration = Duration::from_secs(30);

/// The reports to one aggregator.
pub struct Outbox {
    edge: String,
    boot: u64,
    /// Of the next report that is not a repeat.
    seq: u64,
    /// What the aggregator knows.
    base: Counts,
    /// Where the base moves when it gets too old.
    middle: Option<Counts>,
    sent: Option<Sent>,
}

struct Sent {
    report: Report,
    counts: Counts,
    /// Perhaps delivered: it must go again as it is.
    doubtful: bool,
}

impl Outbox {
    /// `base` is what need not be reported; `boot` in milliseconds since the Unix epoch.
    pub fn new(edge: impl Into<String>, boot: u64, base: Counts) -> Outbox {
        Outbox { edge: edge.into(), boot, seq: 1, base, middle: None, sent: None }
    }

    /// The report to send now; `now` is the state that it brings the aggregator to. The second
    /// value is true for a repeat: another one is due as soon as it is delivered.
    pub fn next(&mut self, mut now: Counts) -> (Report, bool) {
        match self.sent.take() {
            Some(sent) if sent.doubtful && now.at.saturating_duration_since(sent.counts.at) < REPEATED => {
                let report = sent.report.clone();
                self.sent = Some(sent);
                return (report, true);
            }
            // It was never heard of again: taking it for delivered loses one report at worst,
            // where taking it for lost could count it twice.
            Some(sent) if sent.doubtful => self.advance(sent),
            _ => {}
        }
        self.age(&now);
        now.settle(&self.base);
        let (pools, period) = now.since(&self.base);
        let period_ms = u64::try_from(period.min(LONGEST).as_millis()).unwrap_or(u64::MAX).max(1);
        let report = Report {
            version: wire::VERSION,
            edge: self.edge.clone(),
            boot: self.boot,
            seq: self.seq,
            period_ms,
            pools,
            farewell: false,
        };
        self.sent = Some(Sent { report: report.clone(), counts: now, doubtful: false });
        (report, false)
    }

    /// The same, as the last of this run.
    pub fn last(&mut self, now: Counts) -> (Report, bool) {
        let (mut report, repeat) = self.next(now);
        // A repeat is word for word what may have been taken already.
        report.farewell = !repeat;
        (report, repeat)
    }

    /// The report that was sent has been taken.
    pub fn delivered(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.advance(sent);
        }
    }

    /// The report was not taken, for certain: the next one covers it, under the same number.
    pub fn undelivered(&mut self) {
        // A repeat that did not arrive says nothing of the first time.
        self.sent.take_if(|sent| !sent.doubtful);
    }

    /// The report may have been taken.
    pub fn unknown(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.doubtful = true;
        }
    }

    fn advance(&mut self, sent: Sent) {
        self.seq += 1;
        self.base = sent.counts;
        self.middle = None;
    }

    /// Moves the base on where it is too old, so that a report's rate stays true.
    fn age(&mut self, now: &Counts) {
        let age = |counts: &Counts| now.at.saturating_duration_since(counts.at);
        if age(&self.base) > LONGEST
            && let Some(middle) = self.middle.take()
        {
            self.base = middle;
        }
        if self.middle.is_none() && age(&self.base) >= LONGEST / 2 {
            self.middle = Some(now.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Memberships;
    use crate::state::State;
    use std::path::Path;
    use std::time::Instant;
    use wire::PoolReport;

    struct Bench {
        memberships: Memberships,
        outbox: Outbox,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let text = "edge: { listeners: [{ address: 127.0.0.1:0 }] }\nroutes: []\npools: [{ name: shop, origins: [127.0.0.1:1] }]";
            let region =
                config::parse(text, Path::new("test.yaml"), Path::new("/")).map_err(|e| e.to_string()).unwrap();
            let (memberships, now) = (Memberships::new(&region, 2), Instant::now());
            let outbox = Outbox::new("edge-1", 7, Counts::take(&memberships, &State::default(), now));
            Bench { memberships, outbox, now }
        }

        /// `requests` arrive in `seconds`, and then a report is due.
        fn after(&mut self, seconds: u64, requests: u64) -> (Report, PoolReport, bool) {
            self.memberships.pool("shop").unwrap().load(1).requests.add(requests);
            self.now += Duration::from_secs(seconds);
            let (report, repeat) = self.outbox.next(Counts::take(&self.memberships, &State::default(), self.now));
            let pool = report.pools["shop"].clone();
            (report, pool, repeat)
        }
    }

    #[test]
    fn a_report_has_only_what_came_since_the_last_one() {
        let mut bench = Bench::new();
        let (report, pool, _) = bench.after(1, 10);
        assert_eq!((report.seq, report.period_ms, pool.requests), (1, 1000, 10));
        bench.outbox.delivered();
        let (report, pool, _) = bench.after(2, 3);
        assert_eq!((report.seq, report.period_ms, pool.requests), (2, 2000, 3));
        assert_eq!((report.edge.as_str(), report.boot), ("edge-1", 7));
    }

    #[test]
    fn what_was_not_delivered_is_in_the_next_report_under_the_same_number() {
        let mut bench = Bench::new();
        bench.after(1, 10);
        bench.outbox.undelivered();
        let (report, pool, repeat) = bench.after(1, 5);
        assert_eq!((report.seq, report.period_ms, pool.requests, repeat), (1, 2000, 15, false));
    }

    #[test]
    fn what_may_have_been_delivered_is_repeated_word_for_word() {
        let mut bench = Bench::new();
        let (first, ..) = bench.after(1, 10);
        bench.outbox.unknown();
        let (again, _, repeat) = bench.after(1, 5);
        assert!(repeat);
        assert_eq!(again, first);
        // That it cannot be reached now says nothing about the first time.
        bench.outbox.undelivered();
        let (again, ..) = bench.after(1, 1);
        assert_eq!(again, first);
        bench.outbox.delivered();
        let (next, pool, repeat) = bench.after(0, 0);
        assert_eq!((next.seq, next.period_ms, pool.requests, repeat), (2, 2000, 6, false));
    }

    #[test]
    fn the_last_report_says_so_and_comes_after_what_may_have_been_delivered() {
        let mut bench = Bench::new();
        let (first, ..) = bench.after(1, 10);
        bench.outbox.unknown();
        let counts = || Counts::take(&bench.memberships, &State::default(), bench.now);
        let (again, repeat) = bench.outbox.last(counts());
        assert!(repeat);
        assert_eq!(again, first, "word for word: it says nothing of an end");
        bench.outbox.delivered();
        let (last, repeat) = bench.outbox.last(counts());
        assert_eq!((last.seq, last.farewell, repeat), (2, true, false));
    }

    #[test]
    fn what_plugins_ask_for_is_in_every_report_and_a_cost_is_in_one() {
        use config::region::{HintKind, Hints};
        let mut bench = Bench::new();
        let pool = bench.memberships.pool("shop").unwrap();
        let (plugin, minute) = ("p".into(), Duration::from_secs(60));
        let rule = Hints { kinds: HintKind::ALL.to_vec(), add: 1, longest: minute, per_second: 9 };
        let (kind, due) = (HintKind::Prewarm, Duration::ZERO);
        let hint = crate::scale::Hint { plugin: &plugin, kind, value: 3.0, ttl: minute, due };
        pool.hints.tell(&rule, &hint, bench.now).unwrap();
        pool.hints.cost(&plugin, 2_500);
        let (_, first, _) = bench.after(1, 1);
        assert_eq!((first.hints[0].value, first.hints[0].ttl_ms, first.costs["p"]), (3.0, 59_000, 2.5));
        bench.outbox.undelivered();
        let (_, again, _) = bench.after(1, 0);
        assert_eq!((again.hints[0].ttl_ms, again.costs["p"]), (58_000, 2.5), "it was not delivered");
        bench.outbox.delivered();
        let (_, next, _) = bench.after(1, 0);
        assert_eq!((next.hints.len(), next.costs.len()), (1, 0));
        bench.outbox.delivered();
        let (_, last, _) = bench.after(57, 0);
        assert_eq!(last.hints, [], "its time is over");
    }

    #[test]
    fn an_outage_longer_than_a_minute_keeps_the_rate_true() {
        let mut bench = Bench::new();
        for _ in 0..600 {
            let (report, pool, _) = bench.after(1, 10);
            let rate = pool.requests as f64 / (report.period_ms as f64 / 1e3);
            assert!(report.period_ms <= 60_000 && (rate - 10.0).abs() < 0.01, "{} {rate}", report.period_ms);
            bench.outbox.undelivered();
        }
        let (report, ..) = bench.after(1, 10);
        assert_eq!(report.seq, 1);
        assert!(report.period_ms >= 30_000, "at least half a minute is kept");
    }

    #[test]
    fn a_reject_that_comes_later_than_its_request_waits_for_one() {
        let mut bench = Bench::new();
        bench.after(1, 2);
        bench.outbox.delivered();
        bench.memberships.pool("shop").unwrap().load(0).rejects.add(2);
        let (_, pool, _) = bench.after(1, 0);
        assert_eq!((pool.requests, pool.rejects), (0, 0));
        bench.outbox.delivered();
        let (_, pool, _) = bench.after(1, 5);
        assert_eq!((pool.requests, pool.rejects), (5, 2));
    }

    #[test]
    fn a_pool_that_was_removed_and_brought_back_counts_from_zero() {
        let mut bench = Bench::new();
        bench.after(1, 100);
        bench.outbox.delivered();
        let text = "edge: { listeners: [{ address: 127.0.0.1:0 }] }\nroutes: []\npools: ";
        for pools in ["[]", "[{ name: shop, origins: [127.0.0.1:1] }]"] {
            let region = config::parse(&format!("{text}{pools}"), Path::new("test.yaml"), Path::new("/"));
            bench.memberships.reload(&region.map_err(|errors| errors.to_string()).unwrap(), bench.now);
        }
        let (_, pool, _) = bench.after(1, 4);
        assert_eq!(pool.requests, 4);
    }
}
