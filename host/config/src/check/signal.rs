//! The list `signals` of a pool's `scaling`, and which rules go by it.

use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::form::{Ratio, written_duration};
use crate::raw::per_origin::PerOrigin;
use crate::raw::pool as pool_raw;
use crate::raw::signal as raw;
use crate::raw::signal::Source;
use crate::raw::value::At;
use crate::region::{Learn, PluginMetric, Scrape, Signal, SignalSource};

/// The keys that each source has beside `source` and `name`; those in front are needed.
fn keys(source: Source) -> (&'static [&'static str], &'static [&'static str]) {
    match source {
        Source::Requests | Source::InFlight => (&["per_origin"], &[]),
        Source::Latency => (&["target"], &["quantile"]),
        Source::Queue => (&["queue", "per_origin"], &[]),
        Source::Metric => (&["metric", "per_origin"], &["plugin", "labels"]),
        Source::Origin => {
            (&["metric", "per", "per_origin"], &["labels", "over", "path", "port", "interval", "timeout"])
        }
    }
}

pub fn signals(scaling: &pool_raw::Scaling, plugins: &Names, errors: &mut Errors) -> Option<Vec<Signal>> {
    let all: Vec<_> = scaling.signals.iter().map(|raw| signal(raw, plugins, errors)).collect();
    let most = Signal::MOST;
    if all.len() > most {
        let problem = Problem::found(format!("found {} signals", all.len()));
        errors.add(&scaling.signals[most].place, problem.allowed(format!("allowed: up to {most}")));
    }
    let mut seen: Vec<&Signal> = Vec::new();
    for (signal, raw) in all.iter().zip(scaling.signals.iter()) {
        let Some(signal) = signal else { continue };
        let requests = |signal: &Signal| matches!(signal.source, SignalSource::Requests { .. });
        if seen.iter().any(|other| other.name == signal.name) {
            let at = raw.name.as_ref().map_or(&raw.place, |name| &name.place);
            let problem = Problem::found(format!("two signals are named \"{}\"", signal.name));
            errors.add(at, problem.allowed("needed: a \"name\" of its own for each"));
        } else if requests(signal) && seen.iter().any(|other| requests(other)) {
            let problem = Problem::found("requests are a signal already");
            errors.add(&raw.place, problem.allowed("allowed: one with \"source: requests\""));
        }
        seen.push(signal);
    }
    refuse_unused(scaling, errors);
    all.into_iter().collect()
}

fn signal(raw: &At<raw::Signal>, plugins: &Names, errors: &mut Errors) -> Option<Signal> {
    let source = raw.source.as_ref()?.value;
    let word = super::text(&source);
    let (needed, more) = keys(source);
    for (key, at) in raw.given() {
        if !needed.contains(&key) && !more.contains(&key) {
            let problem = Problem::found(format!("\"{key}\" stands beside \"source: {word}\", which has no such key"));
            let all: Vec<_> = ["name"].iter().chain(needed).chain(more).copied().collect();
            errors.add(at, problem.allowed(format!("allowed: {}", all.join(", "))));
        }
    }
    for key in needed {
        let given = raw.given().iter().any(|(other, _)| other == key);
        if !given && !errors.has_under(&raw.place.key(key)) {
            let problem = Problem::found("missing");
            errors.add(&raw.place.key(key), problem.allowed(format!("needed: with \"source: {word}\"")));
        }
    }
    let requests = source == Source::Requests;
    let (per_origin, learn) = per_origin(raw, requests, errors).unzip();
    let per_origin = || per_origin;
    let source = match source {
        Source::Requests => SignalSource::Requests { per_origin: per_origin()?, learn: learn? },
        Source::InFlight => SignalSource::InFlight { per_origin: per_origin()? },
        Source::Latency => {
            let quantile = raw.quantile.as_ref().map_or(SignalSource::QUANTILE, |quantile| quantile.0);
            refuse_quantile(raw.quantile.as_ref(), errors);
            SignalSource::Latency { quantile, target: raw.target.as_ref()?.0 }
        }
        Source::Queue => SignalSource::Queue { queue: raw.queue.as_ref()?.0.clone(), per_origin: per_origin()? },
        Source::Metric => {
            SignalSource::Metric { metric: plugin_metric(raw, plugins, errors)?, per_origin: per_origin()? }
        }
        Source::Origin => SignalSource::Origin { scrape: scrape(raw, errors)?, per_origin: per_origin()? },
    };
    Some(Signal { name: raw.name.as_ref().map_or(word, |name| name.0.clone()), source })
}

fn refuse_quantile(quantile: Option<&At<Ratio>>, errors: &mut Errors) {
    if let Some(given) = quantile.filter(|given| !(0.0..=0.999).contains(&given.0)) {
        let problem = Problem::found(format!("found the number {}", given.0));
        let near = (1.0..=100.0).contains(&given.0).then(|| (given.0 / 100.0).to_string());
        errors.add(&given.place, problem.allowed("allowed: over 0, up to 0.999").near(near));
    }
}

/// The figure, and how it is learned if it is.
fn per_origin(raw: &raw::Signal, requests: bool, errors: &mut Errors) -> Option<(f64, Option<Learn>)> {
    let at = raw.per_origin.as_ref()?;
    let map = match &at.value {
        PerOrigin::Fixed(figure) => return Some((*figure, None)),
        PerOrigin::Learned(map) => map,
    };
    if !requests {
        let problem = Problem::found("found a map, by which what an origin carries of requests is learned");
        errors.add(&at.place, problem.allowed("allowed: a number over 0, such as 50 or 1.2"));
    }
    refuse_quantile(map.quantile.as_ref(), errors);
    let initial = map.initial.as_ref()?;
    let at_least = map.at_least.as_ref().map_or(initial.0 * Learn::AT_LEAST, |least| least.0);
    let at_most = map.at_most.as_ref().map_or(initial.0 * Learn::AT_MOST, |most| most.0);
    let place = |given: &Option<At<Ratio>>| given.as_ref().map(|given| given.place.clone());
    if at_least > at_most {
        let problem = Problem::found(format!("at_least, {at_least}, is over at_most, {at_most}"));
        let at = place(&map.at_least).or(place(&map.at_most)).unwrap_or_else(|| at.place.clone());
        errors.add(&at, problem.allowed("needed: at_least <= initial <= at_most"));
    } else if !(at_least..=at_most).contains(&initial.0) {
        let problem = Problem::found(format!("{} is not within its own bounds", initial.0));
        errors.add(&initial.place, problem.allowed(format!("allowed: {at_least} to {at_most}")));
    }
    let quantile = map.quantile.as_ref().map_or(SignalSource::QUANTILE, |quantile| quantile.0);
    Some((initial.0, Some(Learn { at_least, at_most, latency: map.latency.as_ref()?.0, quantile })))
}

fn plugin_metric(raw: &raw::Signal, plugins: &Names, errors: &mut Errors) -> Option<PluginMetric> {
    let name = metric_name(raw, errors)?;
    // The aggregator's file need not have the plugins.
    if let Some(plugin) = &raw.plugin
        && !plugins.is_empty()
    {
        plugins.resolve(&plugin.0, &plugin.place, errors);
    }
    Some(PluginMetric { name, plugin: raw.plugin.as_ref().map(|plugin| plugin.0.clone()), labels: labels(raw) })
}

fn scrape(raw: &raw::Signal, errors: &mut Errors) -> Option<Scrape> {
    let interval = raw.interval.as_ref().map_or(Scrape::INTERVAL, |interval| interval.0);
    let timeout = raw.timeout.as_ref().map_or(Scrape::TIMEOUT.min(interval), |timeout| timeout.0);
    if let Some(given) = raw.timeout.as_ref().filter(|given| given.0 > interval) {
        let problem = Problem::found("\"timeout\" is longer than \"interval\": an origin is asked again before");
        errors.add(&given.place, problem.allowed(format!("allowed: up to {}", written_duration(interval))));
    }
    Some(Scrape {
        path: raw.path.as_ref().map_or(Scrape::PATH.to_owned(), |path| path.0.clone()),
        port: raw.port.as_ref().map(|port| port.0),
        metric: metric_name(raw, errors)?,
        labels: labels(raw),
        per: raw.per.as_ref()?.value,
        over: raw.over.as_ref().map(|over| over.value).unwrap_or_default(),
        interval,
        timeout,
    })
}

fn metric_name(raw: &raw::Signal, errors: &mut Errors) -> Option<String> {
    let metric = raw.metric.as_ref()?;
    if metric.0.is_empty() || metric.0.len() > 200 {
        let problem = Problem::found(format!("found a name of {} bytes", metric.0.len()));
        errors.add(&metric.place, problem.allowed("allowed: 1 to 200"));
    }
    Some(metric.0.clone())
}

fn labels(raw: &raw::Signal) -> Vec<(String, String)> {
    let pairs = raw.labels.iter().flat_map(|labels| &labels.0);
    pairs.map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

/// A rule without `requests_per_origin` goes by the signals: both need each other.
fn refuse_unused(scaling: &pool_raw::Scaling, errors: &mut Errors) {
    let reactive = scaling.reactive.as_ref().map(|rule| (&rule.place, rule.requests_per_origin.is_none()));
    let predictive = scaling.predictive.as_ref().map(|rule| (&rule.place, rule.requests_per_origin.is_none()));
    let rules: Vec<_> = reactive.into_iter().chain(predictive).collect();
    let none = scaling.signals.is_empty() && scaling.signals.complete;
    for (place, by_signals) in &rules {
        let key = place.key("requests_per_origin");
        if *by_signals && none && !errors.has_under(&key) {
            let problem = Problem::found("missing");
            let needed = "needed: requests a second that one origin carries, or \"signals\" in the same scaling";
            errors.add(&key, problem.allowed(needed));
        }
    }
    if let Some(first) = scaling.signals.first()
        && !rules.iter().any(|(_, by_signals)| *by_signals)
        // A script is shown them.
        && scaling.scripts.is_empty()
        && !errors.has_under(&first.place)
    {
        let problem = Problem::found("no rule goes by the signals");
        let needed = "needed: \"reactive\" or \"predictive\" without \"requests_per_origin\", or \"scripts\", in the same scaling";
        errors.add(&first.place, problem.allowed(needed));
    }
}
