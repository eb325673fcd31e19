//! What each policy cost and lost, as it added up, and all of them against what is possible.

use std::fmt::Write as _;

use super::plot::{self, Plot, Scale, entry, line, number, path};
use super::views;
use crate::simulate::runs::{Case, HOUR, Hour, Played, Runs};

/// Colours that there are.
const COLOURS: usize = 8;
/// Places along the width.
const BUCKETS: usize = 720;
/// A letter's width and a line's height in percent of a plot, where the page is narrow.
const LETTER: f64 = 1.2;
const LINE: f64 = 4.5;

pub fn html(case: &Case, runs: &Runs) -> String {
    let entries: String =
        runs.played.iter().enumerate().map(|(at, played)| entry(&class(at), &played.policy)).collect();
    let cost = adding_up(case, runs, "Cost so far", "origin-hours", |hour| hour.billed);
    let lost = adding_up(case, runs, "Violations so far", "origin-hours of demand over capacity", |hour| hour.lost);
    format!(
        "<style>{}</style><ul class=\"legend\">{entries}</ul><div class=\"two\">{cost}{lost}</div>\n{}",
        colours(runs.played.len()),
        frontier(runs)
    )
}

fn class(at: usize) -> String {
    format!("line l{at}")
}

/// Lines differ by colour, and where that repeats or is not seen, by their dashes.
fn colours(count: usize) -> String {
    let dashes = ["", "8 4", "2 3", "12 3 3 3"];
    (0..count).fold(String::new(), |mut style, at| {
        let (colour, dash) = (at % COLOURS, dashes[at % dashes.len()]);
        let _ = write!(
            style,
            ".l{at}{{stroke:var(--p{colour});stroke-dasharray:{dash}}}.d{at}{{background:var(--p{colour})}}"
        );
        style.replace("stroke-dasharray:}", "}")
    })
}

fn adding_up(case: &Case, runs: &Runs, caption: &str, unit: &str, of: impl Fn(&Hour) -> f64) -> String {
    let sums = |played: &Played| {
        let mut sum = 0.0;
        let add = |hour: &Hour| {
            sum += of(hour);
            sum
        };
        played.hours.iter().map(add).collect::<Vec<f64>>()
    };
    let all: Vec<Vec<f64>> = runs.played.iter().map(sums).collect();
    let most = all.iter().filter_map(|sums| sums.last()).copied().fold(0.0, f64::max);
    let y = Scale::linear(0.0, most * 1.05);
    let drawn = |(at, sums): (usize, &Vec<f64>)| {
        let count = sums.len().clamp(1, BUCKETS);
        let hour = |bucket: usize| (bucket + 1) * sums.len() / count;
        let place = |bucket: usize| Some((hour(bucket) as f64 / sums.len() as f64, y.part(sums[hour(bucket) - 1])));
        path(&class(at), &line(std::iter::once(Some((0.0, 0.0))).chain((0..count).map(place))))
    };
    let told: Vec<String> = runs
        .played
        .iter()
        .zip(&all)
        .map(|(played, sums)| format!("{} {}", played.policy, number(sums.last().copied().unwrap_or(0.0))))
        .collect();
    let steps = case.course.from..case.course.from + all.first().map_or(0, Vec::len) * HOUR;
    Plot {
        caption,
        unit,
        told: format!("{caption}, at the end: {} {unit}", told.join(", ")),
        high: 14.0,
        y,
        x: fewer(views::ticks(case, &steps)),
        drawn: all.iter().enumerate().map(drawn).collect(),
        over: String::new(),
    }
    .html()
}

/// As many as half of the width has room for.
fn fewer(ticks: Vec<(f64, String)>) -> Vec<(f64, String)> {
    let every = if ticks.len() > 6 { 2 } else { 1 };
    ticks.into_iter().step_by(every).collect()
}

/// Cost against violation: each policy a point, and the line that nobody gets under.
fn frontier(runs: &Runs) -> String {
    let bounds = runs.outcome.frontier.iter().map(|bound| (bound.violation, bound.cost));
    let points: Vec<(f64, f64)> =
        runs.played.iter().map(|played| (played.score.violation, played.score.cost)).collect();
    let all: Vec<(f64, f64)> = bounds.clone().chain(points.iter().copied()).collect();
    let range = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let values = all.iter().map(of).filter(|value| *value > 0.0);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    };
    let ((left, right), (low, high)) = (range(&|point| point.0), range(&|point| point.1));
    // What violates next to nothing stands at the left edge.
    let x = Scale::log(left.clamp(1e-4, 0.01) * 0.7, right.max(0.1) * 1.4);
    let y = if high > 4.0 * low { Scale::log(low * 0.8, high * 1.25) } else { Scale::linear(low * 0.85, high * 1.08) };
    let mut curve: Vec<(f64, f64)> = bounds.collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    let curve = line(curve.iter().map(|(violation, cost)| Some((x.part(*violation), y.part(*cost)))));
    let ticks = x.ticks(6).iter().map(|value| (x.part(*value), format!("{value} %"))).collect();
    let told: Vec<String> = runs
        .played
        .iter()
        .map(|played| {
            format!(
                "{}: {} origin-hours at {} %",
                played.policy,
                number(played.score.cost),
                number(played.score.violation)
            )
        })
        .collect();
    let plot = Plot {
        caption: "Cost against violations",
        unit: "origin-hours, by % of the requests over capacity: lower and further left is better",
        told: told.join("; "),
        high: 22.0,
        y,
        x: ticks,
        drawn: path("bound", &curve),
        over: dots(runs, &points, x, y),
    };
    let bound = entry("bound", "clairvoyant: nobody can be under this line");
    format!("{}<ul class=\"legend\">{bound}</ul>", plot.html())
}

/// Points, and their words to the right of them, or to the left near the right edge; moved up or down where
/// they would cover each other.
fn dots(runs: &Runs, points: &[(f64, f64)], x: Scale, y: Scale) -> String {
    let places: Vec<(f64, f64)> =
        points.iter().map(|(violation, cost)| (x.part(*violation) * 100.0, y.part(*cost) * 100.0)).collect();
    // What is taken: from, to, and the middle's height. A point is as wide as two letters.
    let mut taken: Vec<(f64, f64, f64)> =
        places.iter().map(|(left, bottom)| (left - LETTER, left + LETTER, *bottom)).collect();
    let mut html = String::new();
    for (at, (left, bottom)) in places.iter().copied().enumerate() {
        let name = &runs.played[at].policy;
        let wide = (name.chars().count() as f64 + 2.0) * LETTER;
        let span = |flipped: bool| if flipped { (left - wide, left - LETTER) } else { (left + LETTER, left + wide) };
        let free = |flipped: bool, height: f64| {
            let (from, to) = span(flipped);
            let covers = |(a, b, h): &(f64, f64, f64)| *a < to && from < *b && (h - height).abs() < LINE;
            from > 0.0 && to < 100.0 && (2.0..98.0).contains(&height) && !taken.iter().any(covers)
        };
        let heights = [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0].map(|lines| bottom + lines * LINE);
        let mut sides = heights.into_iter().flat_map(|height| [(false, height), (true, height)]);
        let found = sides.find(|(flipped, height)| free(*flipped, *height));
        let (flipped, height) = found.unwrap_or((left > 50.0, bottom));
        let (from, to) = span(flipped);
        taken.push((from, to, height));
        let side = if flipped { " left" } else { "" };
        let _ = write!(
            html,
            "<span class=\"dot d{at}\" style=\"left:{left:.2}%;bottom:{bottom:.2}%\"></span><span class=\"dotname{side}\" \
             style=\"left:{left:.2}%;bottom:{height:.2}%\">{}</span>",
            plot::escape(name)
        );
    }
    html
}
