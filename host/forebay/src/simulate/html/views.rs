//! Demand, and the pool of the first policy by stage: all of the recording, and each day of it. Which one is
//! shown is a choice of radio buttons, so that it needs no script.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scaler::replay::course::Moment;
use scaler::replay::excess::excess;

use super::plot::{self, Plot, Scale, area, band, entry, number, path};
use crate::simulate::runs::{Case, Runs};

/// Places along the width: of a longer time the least and the most of each are drawn.
const BUCKETS: usize = 720;
const DAY: usize = 5760;
/// The forecast is drawn over so many days at most.
const FORESEEN_DAYS: usize = 4;
/// More views than this and a view is a week, then four.
const MOST_VIEWS: usize = 36;

/// What is drawn at one place.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Demand, if it is known: the least and the most.
    demand: Option<(f64, f64)>,
    mean: f64,
    /// Up to the top of serving, warming, booting, draining, when there were most.
    tops: [f64; 4],
    /// The least that could be served.
    least: f64,
    foreseen: Option<(f64, f64)>,
    /// Percent of the demand.
    violation: f64,
}

struct View {
    name: String,
    steps: Range<usize>,
}

pub fn html(case: &Case, runs: &Runs) -> String {
    let views = views(case);
    let (mut inputs, mut labels, mut style, mut bodies) = (String::new(), String::new(), String::new(), String::new());
    for (at, view) in views.iter().enumerate() {
        let checked = if at == 0 { " checked=\"\"" } else { "" };
        let name = plot::escape(&view.name);
        let _ = write!(inputs, "<input type=\"radio\" name=\"view\" id=\"v{at}\" aria-label=\"{name}\"{checked}/>");
        let _ = write!(labels, "<label for=\"v{at}\">{name}</label>");
        let _ = write!(
            style,
            "#v{at}:checked~.w{at}{{display:block}}#v{at}:checked~.choice label[for=v{at}]{{background:var(--accent);\
             color:var(--page)}}#v{at}:focus-visible~.choice label[for=v{at}]{{outline:3px solid var(--p4)}}"
        );
        let _ = writeln!(bodies, "<div class=\"view w{at}\">{}</div>", one(case, runs, view));
    }
    format!(
        "<style>{style}</style>\n<div class=\"views\" role=\"radiogroup\" aria-label=\"Time that is shown\">\n{inputs}\n\
         <div class=\"choice\">{labels}</div>\n{}{bodies}</div>\n",
        legend(case, runs)
    )
}

fn legend(case: &Case, runs: &Runs) -> String {
    let mut entries = vec![
        entry("s-demand", "demand, on the mean"),
        entry("s-range", "from its least to its most"),
        entry("s-serving", "serving"),
        entry("s-warming", "warming up"),
        entry("s-booting", "booting"),
        entry("s-draining", "draining"),
        entry("s-least", "capacity, at the least"),
    ];
    if runs.moments.iter().any(|moment| moment.foreseen.is_some()) {
        entries.push(entry(
            "s-band",
            "what was foreseen a lead before, from the lowest to the highest bound (in views of a day)",
        ));
    }
    if case.course.demand.iter().any(Option::is_none) {
        entries.push(entry("s-gap", "not recorded"));
    }
    if case.course.from > 0 {
        entries.push(entry("s-learning", "for learning, not scored"));
    }
    format!("<ul class=\"legend\">{}</ul>\n", entries.join(""))
}

fn views(case: &Case) -> Vec<View> {
    let steps = case.course.demand.len();
    let mut views = vec![View { name: "All".to_string(), steps: 0..steps }];
    let days = steps.div_ceil(DAY);
    let length = [1, 7, 28].into_iter().find(|length| days.div_ceil(*length) < MOST_VIEWS).unwrap_or(28) * DAY;
    // Days of the calendar where there is one.
    let into_day = if case.dated { (case.start.as_second().rem_euclid(86_400) / 15) as usize } else { 0 };
    let mut from = 0;
    let mut to = length - into_day;
    while from < steps {
        views.push(View { name: day_name(case, from), steps: from..to.min(steps) });
        (from, to) = (to, to + length);
    }
    views
}

pub fn instant(case: &Case, step: usize) -> Timestamp {
    case.start.saturating_add(jiff::SignedDuration::from_secs(step as i64 * 15)).unwrap_or(Timestamp::MAX)
}

/// `Mon 2 Mar`, or `day 3` of a recording that does not say when it was.
pub fn day_name(case: &Case, step: usize) -> String {
    if case.dated {
        instant(case, step).to_zoned(TimeZone::UTC).strftime("%a %-d %b").to_string()
    } else {
        format!("day {}", step / DAY + 1)
    }
}

fn one(case: &Case, runs: &Runs, view: &View) -> String {
    let buckets = buckets(case, runs, &view.steps);
    let x = |at: usize| (at as f64 + 0.5) / buckets.len() as f64;
    let demanded = buckets.iter().filter_map(|bucket| bucket.demand).map(|(_, most)| most).fold(0.0, f64::max);
    let had = buckets.iter().map(|bucket| bucket.tops[3]).fold(0.0, f64::max);
    // A bound that nobody believed is cut off at the top.
    let most = demanded.max(had) * 1.08;
    let y = Scale::linear(0.0, most);
    let of = |top: usize| area(buckets.iter().enumerate().map(|(at, bucket)| (x(at), y.part(bucket.tops[top]))));
    let between = |of: &dyn Fn(&Bucket) -> Option<(f64, f64)>| {
        let place = |(at, bucket): (usize, &Bucket)| of(bucket).map(|(low, high)| (x(at), y.part(low), y.part(high)));
        band(buckets.iter().enumerate().map(place))
    };
    let least = plot::line(buckets.iter().enumerate().map(|(at, bucket)| Some((x(at), y.part(bucket.least)))));
    let mean = |(at, bucket): (usize, &Bucket)| bucket.demand.map(|_| (x(at), y.part(bucket.mean)));
    let mean = plot::line(buckets.iter().enumerate().map(mean));
    // Over weeks, what was foreseen for a lead is a haze over all the rest.
    let short = view.steps.len() <= FORESEEN_DAYS * DAY;
    let foreseen = if short { between(&|bucket| bucket.foreseen) } else { String::new() };
    let drawn = [
        behind(case, view, &buckets),
        path("s-draining", &of(3)),
        path("s-booting", &of(2)),
        path("s-warming", &of(1)),
        path("s-serving", &of(0)),
        path("s-least", &least),
        path("s-band", &foreseen),
        path("s-range", &between(&|bucket| bucket.demand)),
        path("s-demand", &mean),
    ]
    .concat();
    let ticks = ticks(case, &view.steps);
    let capacity = Plot {
        caption: "Demand, and capacity by stage",
        unit: "origins",
        told: format!(
            "{}: demand up to {} origins, and up to {} origins paid",
            view.name,
            number(demanded),
            number(had)
        ),
        high: 20.0,
        y,
        x: ticks.clone(),
        drawn,
        over: String::new(),
    };
    let worst = buckets.iter().map(|bucket| bucket.violation).fold(0.0, f64::max);
    let bad = Scale::linear(0.0, worst.max(0.1) * 1.08);
    let shape = area(buckets.iter().enumerate().map(|(at, bucket)| (x(at), bad.part(bucket.violation))));
    let violations = Plot {
        caption: "Violations",
        unit: "% of the requests over capacity",
        told: format!("{}: up to {} % of the requests over capacity", view.name, number(worst)),
        high: 6.0,
        y: bad,
        x: ticks,
        drawn: path("s-bad", &if worst > 0.0 { shape } else { String::new() }),
        over: String::new(),
    };
    capacity.html() + &violations.html()
}

/// The time that is not scored.
fn behind(case: &Case, view: &View, buckets: &[Bucket]) -> String {
    let count = view.steps.len() as f64;
    let learning = case.course.from.saturating_sub(view.steps.start) as f64 / count;
    let learning = if learning > 0.0 {
        band([(0.0, 0.0, 1.0), (learning.min(1.0), 0.0, 1.0)].map(Some).into_iter())
    } else {
        String::new()
    };
    let wide = buckets.len() as f64;
    let gap = |(at, bucket): (usize, &Bucket)| {
        let (from, to) = (at as f64 / wide, (at + 1) as f64 / wide);
        bucket.demand.is_none().then(|| band([(from, 0.0, 1.0), (to, 0.0, 1.0)].map(Some).into_iter()))
    };
    let gaps: String = buckets.iter().enumerate().filter_map(gap).collect();
    path("s-learning", &learning) + &path("s-gap", &gaps)
}

fn buckets(case: &Case, runs: &Runs, steps: &Range<usize>) -> Vec<Bucket> {
    let count = steps.len().clamp(1, BUCKETS);
    let begin = |at: usize| steps.start + at * steps.len() / count;
    (0..count).map(|at| bucket(case, runs, begin(at)..begin(at + 1))).collect()
}

fn bucket(case: &Case, runs: &Runs, steps: Range<usize>) -> Bucket {
    let lead = case.course.lives.lead_steps();
    let spread = case.course.lives.spread;
    let mut bucket = Bucket { least: f64::INFINITY, ..Bucket::default() };
    let (mut lost, mut demanded, mut known) = (0.0, 0.0, 0.0);
    for step in steps {
        let Some(moment) = runs.moments.get(step) else { continue };
        if let Some(demand) = case.course.demand[step] {
            let (low, high) = bucket.demand.unwrap_or((demand, demand));
            bucket.demand = Some((low.min(demand), high.max(demand)));
            demanded += demand;
            known += 1.0;
            lost += excess(demand, moment.capacity, spread);
        }
        let Moment { stages, capacity, .. } = moment;
        let mut top = 0;
        let tops = [stages.serving, stages.warming, stages.booting, stages.draining].map(|count| {
            top += count;
            f64::from(top)
        });
        if tops[3] >= bucket.tops[3] {
            bucket.tops = tops;
        }
        bucket.least = bucket.least.min(*capacity);
        let foreseen = step.checked_sub(lead).and_then(|then| runs.moments.get(then)?.foreseen);
        bucket.foreseen = match (bucket.foreseen, foreseen) {
            (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
            (before, now) => before.or(now),
        };
    }
    if !bucket.least.is_finite() {
        bucket.least = 0.0;
    }
    bucket.mean = demanded / f64::max(known, 1.0);
    bucket.violation = if demanded > 0.0 { 100.0 * lost / demanded } else { 0.0 };
    bucket
}

/// Words along the bottom: hours of a day, days of more.
pub fn ticks(case: &Case, steps: &Range<usize>) -> Vec<(f64, String)> {
    let seconds = steps.len() as f64 * 15.0;
    let long = steps.len() > DAY * 3 / 2;
    let lengths: &[i64] = if long { &[1, 2, 7, 14, 28, 56, 112] } else { &[1, 2, 3] };
    let unit = if long { 86_400 } else { 3600 };
    let count = |length: &&i64| seconds / ((**length * unit) as f64) <= if long { 14.5 } else { 12.5 };
    let length = lengths.iter().find(count).or(lengths.last()).copied().unwrap_or(1) * unit;
    let begin = instant(case, steps.start).as_second();
    let first = begin + (length - begin.rem_euclid(length)).rem_euclid(length);
    let first = if long && !case.dated {
        begin
    } else if long {
        begin + (86_400 - begin.rem_euclid(86_400)).rem_euclid(86_400)
    } else {
        first
    };
    let mut ticks = Vec::new();
    let mut at = first;
    while (at - begin) as f64 <= seconds {
        let step = steps.start + ((at - begin) / 15) as usize;
        let word = if long { day_name(case, step) } else { clock(case, step) };
        ticks.push(((at - begin) as f64 / seconds, word));
        at += length;
    }
    ticks
}

fn clock(case: &Case, step: usize) -> String {
    instant(case, step).to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}
