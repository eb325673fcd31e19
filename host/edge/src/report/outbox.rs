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
        };
        self.sent = Some(Sent { report: report.clone(), counts: now, doubtful: false });
        (report, false)
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
