//! What the runs say, for people: a table for each trace, and one for all of them.

use std::fmt::Write as _;

use super::outcome::{Line, Outcome, Report};

pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for outcome in &report.traces {
        let Outcome { trace, days, clairvoyant_hours, lines, .. } = outcome;
        let _ = writeln!(
            text,
            "{trace}: {days:.1} days scored; a clairvoyant needs {clairvoyant_hours:.0} origin-hours at 0.1 % violation"
        );
        text.push_str(&rows(lines, report.judge));
        text.push('\n');
    }
    if report.traces.len() > 1 {
        let _ = writeln!(text, "all: geometric mean of cost and J, mean of the others");
        text.push_str(&rows(&report.all, report.judge));
    }
    text
}

fn rows(lines: &[Line], judge: f64) -> String {
    let mut text = format!(
        "  {:<18} {:>7} {:>12} {:>8} {:>10} {:>12} {:>13}\n",
        "",
        "cost x",
        "violation %",
        format!("J({judge})"),
        "bad min %",
        "actions/day",
        "launches/day"
    );
    for Line { policy, cost_ratio, price_ratio, score } in lines {
        let _ = writeln!(
            text,
            "  {policy:<18} {cost_ratio:>7.3} {:>12.4} {price_ratio:>8.3} {:>10.2} {:>12.1} {:>13.1}",
            score.violation, score.bad_minutes, score.actions_a_day, score.launches_a_day
        );
    }
    text
}
