//! The words and figures of the page: what it comes to, each day, the settings.

use std::fmt::Write as _;

use config::region::{Scaling, Schedule};
use scaler::replay::Lives;

use super::plot::{escape, number};
use super::views;
use crate::simulate::Options;
use crate::simulate::outcome::Line;
use crate::simulate::runs::{Case, HOUR, Hour, OURS, Runs};
use crate::simulate::tried::Tried;

/// What it comes to, in two sentences and a table.
pub fn head(case: &Case, runs: &Runs, options: &Options, tried: &[Tried]) -> String {
    let outcome = &runs.outcome;
    let when = match outcome.start {
        Some(_) => {
            let end = views::instant(case, case.course.demand.len());
            format!("{:.0} to {end:.0}", views::instant(case, 0))
        }
        None => format!("{:.1} days", case.days()),
    };
    let first = outcome.lines.first();
    let sum = first.map_or(String::new(), |line| {
        format!(
            "<p><strong>{}</strong> would have cost <strong>{}</strong> origin-hours, {:.2} times what a clairvoyant \
             needs for 0.1 % violation, with <strong>{} %</strong> of the requests over capacity.{}</p>",
            escape(&line.policy),
            number(line.score.cost),
            line.cost_ratio,
            number(line.score.violation),
            outcome.lines.iter().take(tried.len()).skip(1).map(|other| beside(other, line)).collect::<String>()
        )
    });
    let notes: String = outcome.notes.iter().map(|note| format!("<li>{}</li>", options_as_code(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul class=\"notes\">{notes}</ul>") };
    let gaps = match outcome.gap_hours {
        gaps if gaps > 0.0 => format!(", but for {} hours that nobody recorded", number(gaps)),
        _ => String::new(),
    };
    format!(
        "<h1>What would have been: {}</h1>\n<p class=\"faint\">{when} (UTC); {:.1} days are scored, after {:.1} for \
         learning{gaps}.</p>\n{sum}{notes}\n{}",
        escape(&outcome.trace),
        outcome.days,
        outcome.learning_days,
        table(&outcome.lines, options.judge)
    )
}

/// What another file would have made of it, which is what the page was asked for.
fn beside(other: &Line, first: &Line) -> String {
    let more = 100.0 * (other.score.cost / first.score.cost.max(1e-9) - 1.0);
    let (way, size) = if more < 0.0 { ("less", -more) } else { ("more", more) };
    let name = escape(&other.policy);
    let (cost, violation) = (number(other.score.cost), number(other.score.violation));
    format!(" <strong>{name}</strong> would have cost {size:.1} % {way} ({cost}), with <strong>{violation} %</strong>.")
}

/// An option of the command line is not broken over two lines.
fn options_as_code(note: &str) -> String {
    let word = |word: &str| match word.strip_prefix("--") {
        Some(_) => format!("<code>{}</code>", escape(word)),
        None => escape(word),
    };
    note.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn table(lines: &[Line], judge: f64) -> String {
    let head = [
        "policy".to_string(),
        "origin-hours".into(),
        "cost, × clairvoyant".into(),
        "requests over capacity, %".into(),
        format!("J({judge}), × clairvoyant"),
        "minutes violating".into(),
        "of all, %".into(),
        "actions a day".into(),
        "launches a day".into(),
    ];
    let head: String = head.iter().map(|word| format!("<th scope=\"col\">{word}</th>")).collect();
    let row = |line: &Line| {
        let score = &line.score;
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:.3}</td><td>{:.4}</td><td>{:.3}</td><td>{:.0}</td><td>{:.2}\
             </td><td>{:.1}</td><td>{:.1}</td></tr>\n",
            escape(&line.policy),
            number(score.cost),
            line.cost_ratio,
            score.violation,
            line.price_ratio,
            score.violating_minutes,
            score.bad_minutes,
            score.actions_a_day,
            score.launches_a_day
        )
    };
    let rows: String = lines.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n<p \
         class=\"faint\">J counts bill and violations as one: a violating request at {judge} times what serving one \
         costs. A violating minute has more than 1 % of its requests over capacity.</p>\n"
    )
}

/// Each day that is scored: demand, and of each policy hours and violation.
pub fn days(case: &Case, runs: &Runs) -> String {
    let mut head = "<th scope=\"col\">day</th><th scope=\"col\">demand, origin-hours</th>".to_string();
    for played in &runs.played {
        let _ = write!(
            head,
            "<th scope=\"col\">{}: origin-hours</th><th scope=\"col\">violation, %</th>",
            escape(&played.policy)
        );
    }
    let count = runs.played.first().map_or(0, |played| played.hours.len());
    let name = |hour: usize| views::day_name(case, case.course.from + hour * HOUR);
    let mut rows = String::new();
    let mut begin = 0;
    while begin < count {
        let day = name(begin);
        let end = (begin..count).find(|hour| name(*hour) != day).unwrap_or(count);
        let sum = |at: usize| {
            let hours = runs.played[at].hours[begin..end].iter();
            hours.fold(Hour::default(), |sum, hour| Hour {
                demand: sum.demand + hour.demand,
                billed: sum.billed + hour.billed,
                lost: sum.lost + hour.lost,
            })
        };
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th><td>{}</td>", escape(&day), number(sum(0).demand));
        for at in 0..runs.played.len() {
            let Hour { demand, billed, lost } = sum(at);
            let _ = write!(rows, "<td>{}</td><td>{:.3}</td>", number(billed), 100.0 * lost / demand.max(1e-9));
        }
        rows.push_str("</tr>\n");
        begin = end;
    }
    format!(
        "<details><summary>Each day in figures</summary><div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n\
         <tbody>{rows}</tbody></table></div></details>\n"
    )
}

/// What it was made with, so that it can be made again.
pub fn settings(case: &Case, runs: &Runs, options: &Options, tried: &[Tried]) -> String {
    let Lives { boot, warm, drain, spread, .. } = case.course.lives;
    let unit = match case.unit.filter(|_| !tried.is_empty()) {
        Some(unit) => format!("an origin carries {unit} requests a second"),
        None => "demand is scaled".to_string(),
    };
    let scaled = options.mean.or((tried.is_empty()).then_some(12.0));
    let scaled = scaled.map_or(String::new(), |mean| format!("; its mean takes {mean} origins"));
    let mut rows = vec![
        ("recording".to_string(), escape(&runs.outcome.trace)),
        ("demand".into(), format!("{unit}{scaled}")),
        (
            "an origin".into(),
            format!(
                "boots {boot} s (paid, no capacity), warms up {warm} s (from a quarter of its capacity), is paid for \
                 {drain} s after its removal; the youngest goes first"
            ),
        ),
        (
            "scored".into(),
            format!(
                "in steps of 15 s; within a step demand is normal with a deviation of {} % of it, and what is over \
                 capacity violates",
                spread * 100.0
            ),
        ),
        ("price in J".into(), options.judge.to_string()),
    ];
    if tried.is_empty() {
        rows.push((OURS.into(), format!("the engine alone, price {}", options.price())));
    }
    rows.extend(tried.iter().map(|tried| (escape(&tried.name), policy(tried))));
    let against: Vec<String> = options.against.iter().map(ToString::to_string).collect();
    if !against.is_empty() {
        rows.push(("beside".into(), escape(&against.join(", "))));
    }
    rows.push(("forebay".into(), env!("CARGO_PKG_VERSION").into()));
    let rows: String =
        rows.iter().map(|(name, what)| format!("<tr><th scope=\"row\">{name}</th><td>{what}</td></tr>\n")).collect();
    format!(
        "<details><summary>How it was made</summary><table class=\"settings\"><tbody>{rows}</tbody></table></details>\n"
    )
}

fn policy(tried: &Tried) -> String {
    let Scaling { mode, floor, ceiling, reactive, predictive, schedules, step_up, step_down, stabilisation, .. } =
        tried.scaling();
    let mut rules = Vec::new();
    rules.extend(
        reactive.as_ref().map(|rule| format!("reactive {} × {}", carries(rule.requests_per_origin), rule.headroom)),
    );
    rules.extend(predictive.as_ref().map(|rule| {
        let shadow = if rule.shadow { " (shadow)" } else { "" };
        format!("predictive {}, price {}{shadow}", carries(rule.requests_per_origin), rule.price)
    }));
    let schedule =
        |rule: &Schedule| format!("schedule {}: {} {} ({})", rule.name, rule.written(), rule.zone, rule.asks());
    rules.extend(schedules.iter().map(schedule));
    escape(&format!(
        "pool {}, mode {}, {floor} to {ceiling} origins; {}; at most {step_up} more and {step_down} fewer at once; down \
         after {} s",
        tried.pool,
        mode.name(),
        rules.join("; "),
        stabilisation.as_secs_f64()
    ))
}

fn carries(requests: Option<f64>) -> String {
    requests.map_or("by signals".to_string(), |requests| format!("{requests} requests/s per origin"))
}
