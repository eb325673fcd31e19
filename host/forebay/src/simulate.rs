//! `forebay simulate`: what the scaler, and others, would have made of a recorded demand.
//!
//! - [`stdio`]: the engine as another simulator's policy
//! - [`file`]: recorded demand
//! - [`outcome`], [`table`]: what the runs say
//!
//! The same file and options give the same report: nothing here is measured or drawn.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use scaler::engine::Settings;
use scaler::peers::{Spec, contest};
use scaler::replay::score::Score;
use scaler::replay::{Lives, clairvoyant, trace};

use crate::region::Unfit;
use crate::span;

mod file;
mod outcome;
mod stdio;
mod table;

use outcome::{Line, Outcome, Report};

/// At this violation, in percent, costs are compared with the clairvoyant's.
const COMPARED_AT: f64 = 0.1;
const OURS: &str = "forebay";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Answer another program's simulator: one observation a line in, one count of origins a line out
    #[arg(long, conflicts_with = "trace", required_unless_present = "trace")]
    stdio: bool,
    /// Recorded demand: `t_seconds,value`, a row a minute, as CSV or gzip; the first 7 days are for learning
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "stdio")]
    trace: Vec<PathBuf>,
    /// Other autoscalers, by kind and target in percent: hpa:50,hpa-cpu:50,kpa:70,tt:60,tt+schedule:60,tt+predictive:70,static
    #[arg(long, value_name = "RULE", value_delimiter = ',', requires = "trace")]
    against: Vec<Spec>,
    /// What a violating request costs, in what serving one costs, for the tuner
    #[arg(long, default_value_t = 80.0, value_parser = price)]
    price: f64,
    /// The same, for the column J
    #[arg(long, default_value_t = 100.0, value_parser = price, requires = "trace")]
    judge: f64,
    /// From the launch of an origin to its first request (`180`, `3m`)
    #[arg(long, default_value = "180", value_parser = seconds, requires = "trace")]
    boot: f64,
    /// From then to its full capacity
    #[arg(long, default_value = "60", value_parser = seconds, requires = "trace")]
    warm: f64,
    /// Billed after its removal
    #[arg(long, default_value = "60", value_parser = seconds, requires = "trace")]
    drain: f64,
    /// Demand is scaled so that its mean takes so many origins
    #[arg(long, default_value_t = 12.0, value_parser = origins, requires = "trace")]
    mean: f64,
    /// How the report is printed
    #[arg(long, default_value = "table", requires = "trace")]
    out: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.stdio {
        return stdio::serve(options.price, stdin().lock(), stdout().lock());
    }
    let report = report(options)?;
    let text = match options.out {
        Form::Table => table::table(&report),
        Form::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    match stdout().write_all(text.as_bytes()) {
        // `| head`: who reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn report(options: &Options) -> anyhow::Result<Report> {
    let lives = Lives { boot: options.boot, warm: options.warm, drain: options.drain, ..Lives::default() };
    // Every file is read before the first is worked on: a bad one is told at once, with all the others.
    let (mut demands, mut errors) = (Vec::new(), Vec::new());
    for path in &options.trace {
        match demand(path, options.mean, &lives) {
            Ok(demand) => demands.push((name(path), demand)),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Unfit { errors }.into());
    }
    let traces: Vec<Outcome> = demands.iter().map(|(name, demand)| outcome(name, demand, &lives, options)).collect();
    Ok(Report {
        price: options.price,
        judge: options.judge,
        lead_seconds: lives.boot + lives.warm,
        all: outcome::all(&traces),
        traces,
    })
}

fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.strip_suffix(".gz").unwrap_or(&file).trim_end_matches(".csv").to_string()
}

fn demand(path: &Path, mean: f64, lives: &Lives) -> Result<Vec<f64>, String> {
    let counts = file::read(path)?;
    let learning = contest::LEARNING_DAYS * 1440.0;
    if (counts.len() as f64) < learning + 60.0 {
        let days = counts.len() as f64 / 1440.0;
        return Err(format!(
            "{}: {days:.1} days, of which the first {} are for learning: an hour more is the least",
            path.display(),
            contest::LEARNING_DAYS
        ));
    }
    let demand = trace::demand(&counts, lives.step, mean);
    if demand[contest::scored_from(lives)..].iter().sum::<f64>() <= 0.0 {
        return Err(format!("{}: no demand after the first {} days", path.display(), contest::LEARNING_DAYS));
    }
    Ok(demand)
}

fn outcome(name: &str, demand: &[f64], lives: &Lives, options: &Options) -> Outcome {
    let from = contest::scored_from(lives);
    let progress = Progress::of(name);
    progress.tell("clairvoyant");
    let frontier = clairvoyant::frontier(demand, from, lives, &clairvoyant::PRICES);
    let compared = clairvoyant::cost_at(&frontier, COMPARED_AT).max(1e-9);
    let least = |bound: &clairvoyant::Bound| bound.cost + options.judge * bound.lost;
    let least = frontier.iter().map(least).fold(f64::INFINITY, f64::min).max(1e-9);
    let line = |policy: String, score: Score| Line {
        policy,
        cost_ratio: score.cost / compared,
        price_ratio: score.price(options.judge) / least,
        score,
    };

    let mut settings = Settings::of(*lives);
    settings.tuning.price = options.price;
    let part = (demand.len() / 100).max(1);
    let ours = contest::engine(settings, demand, |step, _, _| {
        if step.is_multiple_of(part) {
            progress.tell(&format!("{OURS} {} %", step / part));
        }
    });
    let mut lines = vec![line(OURS.to_string(), ours)];
    for spec in &options.against {
        progress.tell(&spec.to_string());
        lines.push(line(spec.to_string(), contest::peer(*spec, demand, lives)));
    }
    progress.end();
    let days = (demand.len() - from) as f64 * lives.step / 86400.0;
    Outcome { trace: name.to_string(), days, clairvoyant_hours: compared, frontier, lines }
}

/// On a terminal: what is being worked on.
struct Progress {
    trace: String,
    shown: bool,
}

impl Progress {
    fn of(trace: &str) -> Progress {
        Progress { trace: trace.to_string(), shown: stderr().is_terminal() }
    }

    fn tell(&self, what: &str) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K{}: {what}", self.trace);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// `180` or `3m`.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => span::parse(text).map_err(|problem| format!("seconds, or {problem}"))?.as_secs_f64(),
    };
    let fits = (0.0..=86_400.0).contains(&seconds);
    if fits { Ok(seconds) } else { Err(format!("from 0 to 86400 seconds, not `{text}`")) }
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| (0.1..=1e6).contains(price));
    price.ok_or_else(|| format!("a number from 0.1 to 1000000, not `{text}`"))
}

fn origins(text: &str) -> Result<f64, String> {
    let mean = text.parse().ok().filter(|mean: &f64| (0.1..=1e5).contains(mean));
    mean.ok_or_else(|| format!("a number from 0.1 to 100000, not `{text}`"))
}
