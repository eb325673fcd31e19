//! What the runs say, for people: a table for each trace, and one for all of them.

use std::fmt::Write as _;

use scaler::replay::clairvoyant;

use super::outcome::{Line, Outcome, Report};

/// Violations, in percent, for which the clairvoyant's hours are told.
const FRONTIER: [f64; 4] = [0.01, 0.1, 1.0, 5.0];

pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for outcome in &report.traces {
        let Outcome { trace, days, clairvoyant_hours, lines, notes, gap_hours, .. } = outcome;
        let _ = writeln!(
            text,
            "{trace}: {days:.1} days scored; a clairvoyant needs {clairvoyant_hours:.0} origin-hours at 0.1 % violation"
        );
        if *gap_hours > 0.0 {
            let _ = writeln!(text, "  {gap_hours:.1} hours were not recorded, and are scored for nobody");
        }
        for note in notes {
            let _ = writeln!(text, "  {note}");
        }
        text.push_str(&rows(lines, report.judge));
        let at =
            |violation: &f64| format!("{:.0} at {violation} %", clairvoyant::cost_at(&outcome.frontier, *violation));
        let frontier: Vec<String> = FRONTIER.iter().map(at).collect();
        let _ = writeln!(text, "  clairvoyant: origin-hours {}\n", frontier.join(", "));
    }
    if report.traces.len() > 1 {
        let _ = writeln!(text, "all: geometric mean of cost and J, mean of the others");
        text.push_str(&rows(&report.all, report.judge));
    }
    text
}

fn rows(lines: &[Line], judge: f64) -> String {
    let width = lines.iter().map(|line| line.policy.chars().count()).max().unwrap_or(0).max(18);
    let mut text = format!(
        "  {:<width$} {:>7} {:>12} {:>8} {:>9} {:>8} {:>12} {:>13} {:>13}\n",
        "",
        "cost x",
        "violation %",
        format!("J({judge})"),
        "bad min %",
        "bad min",
        "actions/day",
        "launches/day",
        "origin-hours"
    );
    for Line { policy, cost_ratio, price_ratio, score, .. } in lines {
        let _ = writeln!(
            text,
            "  {policy:<width$} {cost_ratio:>7.3} {:>12.4} {price_ratio:>8.3} {:>9.2} {:>8.0} {:>12.1} {:>13.1} {:>13.1}",
            score.violation,
            score.bad_minutes,
            score.violating_minutes,
            score.actions_a_day,
            score.launches_a_day,
            score.cost
        );
    }
    for line in lines.iter().filter(|line| line.waiting_hours > 0.0) {
        let (policy, waited) = (&line.policy, line.waiting_hours);
        let _ = writeln!(
            text,
            "  {policy}: {waited:.0} origin-hours waited in the warm pool, which are in its bill at their cost"
        );
    }
    text
}
