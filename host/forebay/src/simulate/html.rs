//! What the runs say, as a page: one file that loads nothing from elsewhere and needs no script. [`views`] are the
//! demand and the pool over time, [`sums`] what it comes to, [`words`] the rest; [`plot`] is what plots share.

use std::fs;
use std::path::Path;

use super::Options;
use super::runs::{Case, Runs};
use super::tried::Tried;
use crate::region::Unfit;

mod plot;
mod sums;
mod views;
mod words;

const STYLE: &str = include_str!("html/style.css");

pub fn page(case: &Case, runs: &Runs, options: &Options, tried: &[Tried]) -> String {
    let name = plot::escape(&runs.outcome.trace);
    let first = runs.played.first().map_or("", |played| played.policy.as_str());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/>\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n<title>forebay simulate: {name}</title>\n<style>\n\
         {STYLE}</style>\n</head>\n<body>\n<main>\n{}<h2>Over time: {}</h2>\n{}<h2>What it comes to</h2>\n{}{}{}</main>\n\
         <script type=\"application/json\" id=\"figures\">{}</script>\n</body>\n</html>\n",
        words::head(case, runs, options, tried),
        plot::escape(first),
        views::html(case, runs),
        sums::html(case, runs),
        words::days(case, runs),
        words::settings(case, runs, options, tried),
        figures(runs),
    )
}

/// The same figures for programs: the outcome as `--out json` has it, and by policy the origin-hours of each hour.
fn figures(runs: &Runs) -> String {
    let hours = |of: fn(&super::runs::Hour) -> f64| {
        let each = |played: &super::runs::Played| {
            let hours = played.hours.iter().map(|hour| (of(hour) * 1e6).round() / 1e6);
            (played.policy.clone(), serde_json::Value::from(hours.collect::<Vec<f64>>()))
        };
        runs.played.iter().map(each).collect::<serde_json::Map<_, _>>()
    };
    let figures = serde_json::json!({
        "outcome": runs.outcome,
        "hours": {
            "demand": runs.played.first().map(|played| played.hours.iter().map(|hour| hour.demand).collect::<Vec<f64>>()),
            "billed": hours(|hour| hour.billed),
            "lost": hours(|hour| hour.lost),
        },
    });
    // Within a script a tag would end it; and the page is well-formed for strict readers too.
    figures.to_string().replace('<', "\\u003c").replace('&', "\\u0026")
}

/// Whole or not at all: what is there stays until the new one is written.
pub fn write(file: &Path, page: &str) -> Result<(), Unfit> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, page).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        Unfit::one(format!("--html {}: {error}", file.display()))
    })
}
