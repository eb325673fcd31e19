//! `forebay simulate`: what the scaler, and others, would have made of a recorded demand.
//!
//! - [`stdio`]: the engine as another simulator's policy
//! - [`recorded`]: recorded demand, from a [`file`], a pool's history or a [`prometheus`] server
//! - [`tried`]: the pools of region files that are tried on it
//! - [`runs`]: each policy's run; [`asked`]: the scripts of its pool
//! - [`outcome`], [`table`], [`html`]: what the runs say
//!
//! The same recording and options give the same report: nothing here is measured or drawn.

use std::io::{ErrorKind, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use config::region::{Pool, ScalingMode};
use jiff::Timestamp;
use scaler::peers::Spec;
use scaler::replay::Lives;

use crate::region::Unfit;
use crate::{moment, span};

mod asked;
mod file;
mod html;
mod outcome;
mod progress;
mod prometheus;
mod recorded;
mod runs;
mod source;
mod stdio;
mod table;
mod tried;

use outcome::Report;
use progress::Progress;
use runs::Case;
use tried::{Changes, Tried};

const EXAMPLES: &str = "\
Examples:
  Would a change have been better last week? Both files over what the pool really saw:
    forebay simulate --history http://127.0.0.1:9902 --pool shop --policy now.yaml new.yaml --html week.html

  Against what others do, over requests that Prometheus has counted:
    forebay simulate --prometheus http://127.0.0.1:9090 --query 'sum(rate(http_requests_total[1m]))' --from -14d \\
      --policy region.yaml --against hpa:50,tt:60

  Why the pool would have had as many origins as it would have had:
    forebay simulate --trace shop.csv --policy region.yaml --out explain | less

  The engine alone, on a trace that is scaled to 12 origins:
    forebay simulate --trace trace.csv.gz --against hpa:50,kpa:70,static

The first 7 days are for learning and are not scored (of less than 8 days, the first half). What is scored: \
origin-hours, and the demand over capacity, in a pool that is only thought: an origin boots, warms up, serves and \
drains as long as --boot, --warm and --drain say.";

const RECORDED: &str = "What was recorded (one of the first four)";
const TRIED: &str = "What is tried on it";
const LIVES: &str = "How origins live";
const SAID: &str = "What is said of it";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("recording").required(true).args(["trace", "history", "prometheus", "stdio"]))]
pub struct Options {
    /// Files, plain or gzip: CSV of `t_seconds`, `time` or `timestamp` and `value` (requests in the row) or `rate`
    /// (requests a second); the same as JSON lines; or the history of a pool
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = RECORDED)]
    trace: Vec<PathBuf>,
    /// The history of a pool: of an aggregator that runs (http://127.0.0.1:9902), or a file saved from one
    #[arg(long, value_name = "URL|FILE", help_heading = RECORDED)]
    history: Option<String>,
    /// A Prometheus server, such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL", requires = "query", help_heading = RECORDED)]
    prometheus: Option<String>,
    /// Be the policy of another program's simulator: one observation a line in, one count of origins a line out
    #[arg(long, help_heading = RECORDED, conflicts_with_all = ["policy", "against", "html", "out"])]
    stdio: bool,
    /// PromQL that answers requests a second in one series
    #[arg(long, value_name = "PROMQL", allow_hyphen_values = true, requires = "prometheus", help_heading = RECORDED)]
    query: Option<String>,
    /// From then on: an instant, HH:MM of today, or -14d (ago). Default: 14 days, or all that the history has
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, help_heading = RECORDED)]
    from: Option<Timestamp>,
    /// Until then. Default: now
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, help_heading = RECORDED)]
    to: Option<Timestamp>,
    /// Between two points of the query: 15s, 1m, ... The value at an instant is about the step before it
    #[arg(long, default_value = "1m", value_parser = step, requires = "prometheus", help_heading = RECORDED)]
    step: i64,
    /// A file whose line is the token that Prometheus asks for
    #[arg(long, value_name = "FILE", requires = "prometheus", help_heading = RECORDED)]
    bearer: Option<PathBuf>,
    /// A file whose line is the `user:password` that Prometheus asks for
    #[arg(long, value_name = "FILE", requires = "prometheus", conflicts_with = "bearer", help_heading = RECORDED)]
    basic_auth: Option<PathBuf>,
    /// When a trace of `t_seconds` began, for schedules
    #[arg(long, value_name = "TIME", value_parser = moment::parse, requires = "trace", help_heading = RECORDED)]
    start: Option<Timestamp>,

    /// Region files: all scaling of the pool, as the aggregator would run it. Without one: the engine alone
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = TRIED)]
    policy: Vec<PathBuf>,
    /// The pool; not needed where only one has `scaling`
    #[arg(long, value_name = "NAME", help_heading = TRIED)]
    pool: Option<String>,
    /// In place of the pool's mode: on, up-only, advise, shadow or off
    #[arg(long, value_parser = mode, requires = "policy", help_heading = TRIED)]
    mode: Option<ScalingMode>,
    /// In place of the aggregator's; 15s is some 10 times quicker and coarser, as steps are for each tick
    #[arg(long, value_parser = tick, requires = "policy", help_heading = TRIED)]
    tick: Option<Duration>,
    /// Other autoscalers, by kind and target in percent of what an origin carries:
    /// hpa:50,hpa-cpu:50,kpa:70,tt:60,tt+schedule:60,tt+predictive:70,static
    #[arg(long, value_name = "RULES", value_delimiter = ',', help_heading = TRIED)]
    against: Vec<Spec>,
    /// What a violating request costs, in what serving one costs, for the tuner. Default: the file's, or 80
    #[arg(long, value_parser = price, help_heading = TRIED)]
    price: Option<f64>,

    /// Requests a second that one origin carries. Default: the pool's `requests_per_origin`
    #[arg(long, value_name = "REQUESTS", value_parser = capacity, requires = "policy", help_heading = LIVES)]
    capacity: Option<f64>,
    /// Scale demand so that its mean takes so many origins. Default: as it is with --policy, otherwise 12
    #[arg(long, value_name = "ORIGINS", value_parser = origins, help_heading = LIVES)]
    mean: Option<f64>,
    /// From the launch of an origin to its first request (`180`, `3m`). Default: the pool's `lead` without its
    /// `slow_start`, or 3m
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = LIVES)]
    boot: Option<f64>,
    /// From then to its full capacity. Default: the pool's `slow_start`, or 1m
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = LIVES)]
    warm: Option<f64>,
    /// Paid after its removal. Default: 1m, or the pool's time-outs if they are shorter
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = LIVES)]
    drain: Option<f64>,

    /// How long it is learned from and not scored. Default: 7 days, or half of less than 8 days
    #[arg(long, value_name = "TIME", value_parser = learning, help_heading = SAID)]
    learn: Option<f64>,
    /// What a violating request costs, in what serving one costs, for the column J
    #[arg(long, value_name = "PRICE", default_value_t = 100.0, value_parser = price, help_heading = SAID)]
    judge: f64,
    /// How it is printed: figures, the same as JSON, or a line for each decision
    #[arg(long, default_value = "table", help_heading = SAID)]
    out: Form,
    /// Also write a page with plots: one file that loads nothing from elsewhere
    #[arg(long, value_name = "FILE", help_heading = SAID)]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Explain,
}

const PRICE: f64 = 80.0;

impl Options {
    fn explains(&self) -> bool {
        self.out == Form::Explain
    }

    fn price(&self) -> f64 {
        self.price.unwrap_or(PRICE)
    }

    /// As the command line has them, or else the pool.
    fn lives(&self, pool: Option<&Pool>) -> Lives {
        let usual = Lives::default();
        let scaling = pool.and_then(|pool| Some((pool, pool.scaling.as_ref()?)));
        let (boot, warm, drain, floor) = match scaling {
            None => (usual.boot, usual.warm, usual.drain, usual.floor),
            Some((pool, scaling)) => {
                let lead = scaling.lead.as_secs_f64();
                let warm = pool.slow_start.as_secs_f64().min(lead);
                let longest = (pool.timeouts.response + pool.timeouts.body).as_secs_f64();
                (lead - warm, warm, usual.drain.min(longest), scaling.floor)
            }
        };
        Lives {
            boot: self.boot.unwrap_or(boot),
            warm: self.warm.unwrap_or(warm),
            drain: self.drain.unwrap_or(drain),
            floor,
            ..usual
        }
    }

    /// What cannot be meant together, and clap does not see.
    fn check(&self) -> Result<(), Unfit> {
        if (self.from.is_some() || self.to.is_some()) && self.history.is_none() && self.prometheus.is_none() {
            return Err(Unfit::one("--from and --to are for --history http://… and --prometheus"));
        }
        if self.explains() && self.policy.is_empty() {
            return Err(Unfit::one("--out explain tells a policy's decisions: --policy FILE"));
        }
        if self.html.is_some() && self.trace.len() > 1 {
            return Err(Unfit::one("--html is about one recording: one --trace"));
        }
        Ok(())
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.stdio {
        return stdio::serve(options.price(), stdin().lock(), stdout().lock());
    }
    options.check()?;
    let changes = Changes { mode: options.mode, price: options.price };
    let load = |file: &PathBuf| Tried::load(file, options.pool.as_deref(), changes);
    let tried = gather(options.policy.iter().map(load).map(|tried| tried.map_err(|unfit| unfit.to_string())))?;
    let progress = Progress::new();
    // Every recording is read before the first is worked on: a bad one is told at once, with all the others.
    let recorded = source::read(options, tried.first().map(|tried| tried.pool.as_str()), &progress)?;
    let cases = gather(recorded.iter().map(|recorded| match recorded {
        Ok(recorded) => Case::of(recorded, options, &tried),
        Err(error) => Err(error.clone()),
    }))?;
    let played = cases.iter().map(|case| runs::play(case, options, &tried, &progress));
    let played: Vec<_> = gather(played)?;
    if let (Some(file), Some(case), Some(runs)) = (&options.html, cases.first(), played.first()) {
        html::write(file, &html::page(case, runs, options, &tried))?;
    }
    let explained: String = played.iter().map(|runs| runs.explained.as_str()).collect();
    let lives = options.lives(tried.first().map(Tried::pool));
    let traces: Vec<_> = played.into_iter().map(|runs| runs.outcome).collect();
    let report = Report {
        price: tuned_price(options, &tried),
        judge: options.judge,
        lead_seconds: lives.boot + lives.warm,
        boot_seconds: lives.boot,
        warm_seconds: lives.warm,
        drain_seconds: lives.drain,
        requests_per_origin: cases.first().and_then(|case| case.unit),
        pool: tried.first().map(|tried| tried.pool.clone()),
        all: outcome::all(&traces),
        traces,
    };
    let text = match options.out {
        Form::Table => table::table(&report),
        Form::Json => serde_json::to_string_pretty(&report)? + "\n",
        Form::Explain => explained,
    };
    match stdout().write_all(text.as_bytes()) {
        // `| head`: who reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The price that the first policy's tuner goes by.
fn tuned_price(options: &Options, tried: &[Tried]) -> f64 {
    let rule = tried.first().and_then(|tried| tried.scaling().predictive.as_ref());
    rule.map_or(options.price(), |rule| rule.price)
}

/// All, or every error.
fn gather<T>(results: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, Unfit> {
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(good) } else { Err(Unfit { errors }) }
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

/// `0`, `12h` or `7d`.
fn learning(text: &str) -> Result<f64, String> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<f64>().ok()).filter(|days| *days >= 0.0) {
        return Ok(days * 86_400.0);
    }
    if text == "0" {
        return Ok(0.0);
    }
    span::parse(text).map(|span| span.as_secs_f64()).map_err(|problem| format!("7d, or {problem}"))
}

/// A step of a query, in seconds.
fn step(text: &str) -> Result<i64, String> {
    let step = span::parse(text)?;
    let seconds = step.as_secs() as i64;
    let fits = (seconds % 15 == 0 || [1, 3, 5].contains(&seconds)) && (1..=3600).contains(&seconds);
    if fits && step.subsec_nanos() == 0 {
        return Ok(seconds);
    }
    Err(format!("1s, 3s, 5s or 15s, or a multiple of 15s up to 1h, not `{text}`"))
}

fn tick(text: &str) -> Result<Duration, String> {
    let tick = span::parse(text)?;
    let fits = (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&tick);
    if fits { Ok(tick) } else { Err(format!("from 10ms to 60s, not `{text}`")) }
}

fn mode(text: &str) -> Result<ScalingMode, String> {
    use ScalingMode::{Advise, Off, On, Shadow, UpOnly};
    let modes = [On, UpOnly, Advise, Shadow, Off];
    let known = modes.into_iter().find(|mode| mode.name() == text);
    known.ok_or_else(|| format!("{}, not `{text}`", modes.map(ScalingMode::name).join(", ")))
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| (0.1..=1e6).contains(price));
    price.ok_or_else(|| format!("a number from 0.1 to 1000000, not `{text}`"))
}

fn capacity(text: &str) -> Result<f64, String> {
    let capacity = text.parse().ok().filter(|capacity: &f64| (1e-3..=1e7).contains(capacity));
    capacity.ok_or_else(|| format!("a number from 0.001 to 10000000, not `{text}`"))
}

fn origins(text: &str) -> Result<f64, String> {
    let mean = text.parse().ok().filter(|mean: &f64| (0.1..=1e5).contains(mean));
    mean.ok_or_else(|| format!("a number from 0.1 to 100000, not `{text}`"))
}
