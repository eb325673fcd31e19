//! The live view, on stderr: drawn in place on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use super::driver::Tally;
use super::observer::{Decision, PoolView};
use super::scenario::{CAPACITY, PEAK};

/// Between two frames on a terminal.
const FRAME: Duration = Duration::from_millis(500);
/// What rates and latencies are taken over: long enough for a hundred requests, short enough to
/// show a step as a step.
const RECENT: Duration = Duration::from_secs(1);
/// Between two plain lines before the load.
const QUIET: Duration = Duration::from_secs(2);
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// As much as fits beside the numbers in 80 columns.
const SPARKS: usize = 40;
/// Lines of decisions: a frame must fit in a terminal of 24, or it cannot be drawn over.
const DECISIONS: usize = 12;
/// Columns of a decision's text, so that a frame fits in 80.
const TEXT: usize = 66;

/// What there is to show at one moment.
pub struct Moment<'a> {
    /// Since the first request; `None` before it.
    pub elapsed: Option<Duration>,
    pub tally: &'a Tally,
    pub pool: &'a PoolView,
    /// Those that changed a count, oldest first, with their time since the first request.
    pub decisions: &'a [(f64, Decision)],
    /// Seconds by which capacity was there before the peak.
    pub ready_before_peak: Option<f64>,
}

/// What does not change in a run.
pub struct Title {
    pub length: Duration,
    pub peak_at: Duration,
    /// How much the schedule leads by, or that there is none.
    pub schedule: String,
}

pub struct View {
    title: Title,
    in_place: bool,
    /// Lines of the last frame, to draw over.
    drawn: usize,
    /// Decisions that were printed, on plain lines.
    told: usize,
    drawn_at: Option<Duration>,
    recent: VecDeque<(Duration, Tally)>,
    sparks: VecDeque<f64>,
}

struct Rates {
    demand: f64,
    rejects: f64,
    p50: f64,
    p99: f64,
}

impl View {
    pub fn new(title: Title) -> View {
        View {
            title,
            in_place: std::io::stderr().is_terminal(),
            drawn: 0,
            told: 0,
            drawn_at: None,
            recent: VecDeque::new(),
            sparks: VecDeque::new(),
        }
    }

    /// Draws if it is time to. `now` counts from any fixed instant.
    pub fn show(&mut self, now: Duration, moment: &Moment) {
        let every = match (self.in_place, moment.elapsed) {
            (true, _) => FRAME,
            (false, None) => QUIET,
            (false, Some(_)) => (self.title.length / 30).max(FRAME),
        };
        if self.drawn_at.is_some_and(|at| now - at < every) {
            return;
        }
        self.end(now, moment);
    }

    /// Draws in any case: the last state of a run must not be missed.
    pub fn end(&mut self, now: Duration, moment: &Moment) {
        self.drawn_at = Some(now);
        let rates = self.rates(now, moment.tally);
        if self.in_place {
            self.sparks.push_back(rates.demand);
            if self.sparks.len() > SPARKS {
                self.sparks.pop_front();
            }
            let frame = self.frame(moment, &rates);
            self.draw(&frame);
        } else {
            self.lines(moment, &rates);
        }
    }

    fn rates(&mut self, now: Duration, tally: &Tally) -> Rates {
        self.recent.push_back((now, tally.clone()));
        while self.recent.len() > 2 && now - self.recent[1].0 >= RECENT {
            self.recent.pop_front();
        }
        let (then, before) = &self.recent[0];
        let seconds = (now - *then).as_secs_f64();
        let rate = |after: u64, before: u64| if seconds > 0.0 { (after - before) as f64 / seconds } else { 0.0 };
        let mut latency = tally.latency.clone();
        latency.subtract(&before.latency).expect("counts only grow");
        let quantile = |q| if latency.is_empty() { 0.0 } else { latency.value_at_quantile(q) as f64 / 1e3 };
        Rates {
            demand: rate(tally.sent_to_shop, before.sent_to_shop),
            rejects: rate(tally.rejects(), before.rejects()),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }

    fn clock(&self, moment: &Moment) -> String {
        match moment.elapsed {
            Some(elapsed) => format!("{:.1} s of {} s", elapsed.as_secs_f64(), self.title.length.as_secs_f64()),
            None => "the first origins boot and are warmed".into(),
        }
    }

    fn frame(&self, moment: &Moment, rates: &Rates) -> String {
        let (capacity, tally) = (&moment.pool.capacity, moment.tally);
        let spark = |rate: &f64| BARS[((rate / PEAK * 7.0).round() as usize).min(7)];
        let sparks: String = self.sparks.iter().map(spark).collect();
        let origins =
            [(capacity.serving, '█'), (capacity.warming, '▒'), (capacity.booting, '░'), (capacity.draining, '·')];
        let origins: String = origins.iter().flat_map(|&(count, mark)| vec![mark; count as usize]).collect();
        let red = if rates.rejects > 0.0 { "\x1b[31m" } else { "" };
        let mut frame = String::new();
        let _ = writeln!(frame, "\x1b[1mforebay quickstart\x1b[0m   {}", self.clock(moment));
        let _ = writeln!(frame);
        let _ = writeln!(frame, "demand    {:>5.0}/s   {sparks}", rates.demand);
        let _ = writeln!(
            frame,
            "capacity  {:>5.0}/s   {origins:<9} booting {}  warming {}  serving {}  draining {}",
            f64::from(capacity.serving) * CAPACITY,
            capacity.booting,
            capacity.warming,
            capacity.serving,
            capacity.draining
        );
        let _ = writeln!(frame, "rejects   {red}{:>5.0}/s\x1b[0m   {} so far", rates.rejects, tally.rejects());
        let _ = writeln!(frame, "latency   p50 {:.0} ms   p99 {:.0} ms", rates.p50, rates.p99);
        let _ = writeln!(frame, "answered  {} of {} requests", tally.answered(), tally.sent);
        let _ = writeln!(frame, "peak      {}", self.peak(moment));
        let _ = writeln!(frame);
        let _ = writeln!(frame, "decisions of the aggregator for the pool `shop`");
        for line in latest(moment.decisions) {
            let _ = writeln!(frame, "{line}");
        }
        frame
    }

    fn peak(&self, moment: &Moment) -> String {
        let at = self.title.peak_at.as_secs_f64();
        let ready = match moment.ready_before_peak {
            Some(ready) if ready >= 0.0 => format!("ready {ready:.1} s before"),
            Some(late) => format!("ready {:.1} s late", -late),
            None if moment.elapsed.is_some_and(|elapsed| elapsed >= self.title.peak_at) => "missing".into(),
            None => "not there yet".into(),
        };
        format!("demand triples at {at:.1} s ({}); capacity: {ready}", self.title.schedule)
    }

    /// Over the last frame. Lines are cut at the terminal's edge and not wrapped, so that their
    /// number is known.
    fn draw(&mut self, frame: &str) {
        let mut out = String::from("\x1b[?25l\x1b[?7l");
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        for line in frame.lines() {
            let _ = write!(out, "\x1b[2K{line}\r\n");
        }
        out.push_str("\x1b[J\x1b[?7h\x1b[?25h");
        self.drawn = frame.lines().count();
        // Whoever closed stderr does not want to see it.
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    fn lines(&mut self, moment: &Moment, rates: &Rates) {
        let mut out = String::new();
        for (at, decision) in &moment.decisions[self.told..] {
            let _ = writeln!(out, "{at:>7.1} s  decision: {}", line(decision));
        }
        self.told = moment.decisions.len();
        let capacity = &moment.pool.capacity;
        let _ = writeln!(
            out,
            "{:>24}  demand {:>3.0}/s  booting {} warming {} serving {} draining {}  rejects {}  p50 {:.0} ms p99 {:.0} ms",
            self.clock(moment),
            rates.demand,
            capacity.booting,
            capacity.warming,
            capacity.serving,
            capacity.draining,
            moment.tally.rejects(),
            rates.p50,
            rates.p99
        );
        let _ = std::io::stderr().write_all(out.as_bytes());
    }
}

/// The latest decisions, whole, as many as there are lines for; oldest first.
fn latest(decisions: &[(f64, Decision)]) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for (at, decision) in decisions.iter().rev() {
        let parts = wrap(line(decision)).into_iter().enumerate();
        let parts: Vec<String> = parts
            .map(|(i, part)| if i == 0 { format!("{at:>7.1} s  {part}") } else { format!("{:>13}{part}", "") })
            .collect();
        if shown.len() + parts.len() > DECISIONS {
            break;
        }
        shown.splice(..0, parts);
    }
    shown
}

/// At blanks, into lines of at most [`TEXT`] columns (a longer word stays whole).
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= TEXT => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// The aggregator's own line; every one here is about the same pool.
fn line(decision: &Decision) -> &str {
    let line = decision.line.strip_prefix("pool ").and_then(|line| line.strip_prefix(decision.pool.as_str()));
    line.map_or(&decision.line, |line| line.trim_start_matches([':', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(n: u32, words: usize) -> (f64, Decision) {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let line = format!("pool shop: {n} -> 1: {}", "because ".repeat(words));
        (f64::from(n), Decision { at, pool: "shop".into(), from: n, to: 1, line })
    }

    #[test]
    fn decisions_never_take_more_lines_than_there_are_and_the_latest_are_kept() {
        let decisions: Vec<_> = (0..40).map(|n| decision(n, n as usize % 20)).collect();
        let shown = latest(&decisions);
        assert!(shown.len() <= DECISIONS, "{shown:#?}");
        assert!(shown.iter().any(|line| line.contains("39 -> 1")), "{shown:#?}");
        assert!(!shown.iter().any(|line| line.contains("5 -> 1") && !line.contains("35")), "{shown:#?}");
    }

    #[test]
    fn a_long_reason_is_wrapped_and_loses_no_word() {
        let text = "2 -> 6: schedule batch (floor 6 from 04:07:28 UTC, lead 4750ms) over reactive 2; ceiling 8";
        let lines = wrap(text);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT), "{lines:?}");
        assert_eq!(lines.join(" "), text);
    }
}
