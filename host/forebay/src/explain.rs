//! `forebay explain`: why a pool has as many origins as it has, now or then. It asks the running
//! aggregator, or reads the journal where none runs.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aggregator::journal::files::{self, Recorded};
use anyhow::{Context, bail};
use http::StatusCode;
use jiff::Timestamp;
use scaler::{Decision, OriginView};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::region::Unfit;
use crate::{ask, moment, region};

mod account;

#[derive(clap::Args)]
pub struct Options {
    /// The pool
    pool: String,
    /// What stood then: an instant, HH:MM of today, or -10m. Default: what stands now
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    at: Option<Timestamp>,
    /// All decisions from then on
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, conflicts_with = "at")]
    from: Option<Timestamp>,
    /// All decisions until then
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, conflicts_with = "at")]
    to: Option<Timestamp>,
    /// The latest N decisions (with --from or --to: of those)
    #[arg(long, value_name = "N", conflicts_with = "at")]
    last: Option<usize>,
    /// The records themselves
    #[arg(long)]
    json: bool,
    /// The aggregator to ask
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "journal"])]
    aggregator: Option<String>,
    /// A region file: its aggregator is asked, or its journal read
    #[arg(short, long, value_name = "FILE", conflicts_with = "journal")]
    config: Option<PathBuf>,
    /// A journal to read
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// One decision, as an aggregator and a journal both tell it.
#[derive(Default, Deserialize)]
struct Told {
    decision: Option<Decision>,
    #[serde(default)]
    origins: Vec<OriginView>,
    /// `leader`, `lapsed`, `standby`.
    role: Option<String>,
    token: Option<u64>,
    /// Of what stands now, where an aggregator tells.
    tuner: Option<scaler::tune::told::Told>,
    scored: Option<scaler::trial::Scored>,
}

#[derive(Deserialize)]
struct Listed {
    decisions: Vec<Decision>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (options.from, options.to)
        && to < from
    {
        bail!(Unfit::one(format!("--to {to:.0} is before --from {from:.0}")));
    }
    if let Some(ahead) = options.at.filter(|at| *at > Timestamp::now()) {
        bail!(Unfit::one(format!("--at {ahead:.0} lies ahead: nothing was decided yet")));
    }
    let text = match &options.journal {
        Some(journal) => from_journal(options, journal)?,
        None => {
            let (authority, journal) = whom(options)?;
            match (from_aggregator(options, &authority), journal) {
                (Err(Failed::Silent(error)), Some(journal)) => {
                    eprintln!("no aggregator answers ({error:#}): this is of {}", journal.display());
                    from_journal(options, &journal)?
                }
                (Err(Failed::Silent(error)), None) => {
                    return Err(
                        error.context("no aggregator answers; --journal FILE or -c REGION_FILE read without one")
                    );
                }
                (Err(Failed::Refused(refused)), _) => bail!(Unfit::one(refused)),
                (Ok(text), _) => text,
            }
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // `| head`: who reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// `host:port` of the aggregator, and the journal that may be read in its place.
fn whom(options: &Options) -> anyhow::Result<(String, Option<PathBuf>)> {
    let Some(file) = &options.config else {
        let url = options.aggregator.as_deref().unwrap_or(ask::USUAL);
        return Ok((ask::authority(url)?, None));
    };
    let region = region::load(file)?;
    let journal = region.aggregator.as_ref().and_then(|aggregator| aggregator.journal.as_ref());
    let journal = journal.map(|journal| journal.path.clone());
    let Some(asked) = ask::of_region(&region)? else {
        bail!(Unfit::one(format!("{}: names no aggregator", file.display())));
    };
    Ok((asked, journal))
}

enum Failed {
    /// Nobody answered.
    Silent(anyhow::Error),
    /// It answered, and says what is wrong.
    Refused(String),
}

fn from_aggregator(options: &Options, authority: &str) -> Result<String, Failed> {
    let pool = ask::escape(&options.pool);
    let mut query = Vec::new();
    let path = if options.is_list() {
        query.push(format!("pool={pool}"));
        query.extend(options.from.map(|from| format!("from={from}")));
        query.extend(options.to.map(|to| format!("to={to}")));
        query.push(format!("limit={}", options.limit()));
        "/v1/decisions".to_string()
    } else {
        query.extend(options.at.map(|at| format!("at={at}")));
        format!("/v1/pools/{pool}/explain")
    };
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::Silent(error.into()))?;
    let (status, body) = runtime.block_on(ask::get(authority, &path)).map_err(Failed::Silent)?;
    let unread = |error: serde_json::Error| Failed::Refused(format!("{authority} answers what is no record: {error}"));
    let answer: Value = serde_json::from_slice(&body).map_err(unread)?;
    if status != StatusCode::OK {
        let detail = answer["error"]["detail"].as_str().unwrap_or("no reason is given");
        return Err(Failed::Refused(format!("{authority} answers {status}: {detail}")));
    }
    if options.json {
        return Ok(format!("{answer:#}\n"));
    }
    if options.is_list() {
        let Listed { decisions } = serde_json::from_value(answer).map_err(unread)?;
        return options.lines(&decisions).map_err(Failed::Refused);
    }
    let told: Told = serde_json::from_value(answer).map_err(unread)?;
    match &told.decision {
        Some(decision) => Ok(options.account(decision, &told)),
        None => Err(Failed::Refused(format!("nothing was decided on pool {:?} yet", options.pool))),
    }
}

fn from_journal(options: &Options, journal: &Path) -> anyhow::Result<String> {
    let context = || journal.display().to_string();
    let (from, to) = (options.from.unwrap_or(Timestamp::MIN), options.to.unwrap_or(Timestamp::MAX));
    let to = options.at.unwrap_or(to);
    let limit = if options.is_list() { options.limit() } else { 1 };
    let found = files::decisions(journal, Some(&options.pool), from, to, limit).with_context(context)?;
    let Some(latest) = found.last() else { bail!(Unfit::one(nothing(options, journal)?)) };
    if options.json {
        let record = |Recorded { decision, origins, role, token }: &Recorded| json!({ "role": role, "token": token, "decision": decision, "origins": origins });
        let records: Vec<Value> = found.iter().map(record).collect();
        let value = if options.is_list() { json!({ "records": records }) } else { records[0].clone() };
        return Ok(format!("{value:#}\n"));
    }
    if options.is_list() {
        let decisions: Vec<Decision> = found.into_iter().map(|recorded| recorded.decision).collect();
        return options.lines(&decisions).map_err(|none| Unfit::one(none).into());
    }
    let Recorded { decision, origins, role, token } = latest.clone();
    let told = Told { origins, role: Some(role), token, ..Told::default() };
    Ok(options.account(&decision, &told))
}

/// Why a journal has no answer.
fn nothing(options: &Options, journal: &Path) -> anyhow::Result<String> {
    let path = journal.display();
    let Some(all) = files::kept(journal, None)? else { return Ok(format!("{path} has no decision")) };
    let Some(kept) = files::kept(journal, Some(&options.pool))? else {
        let pools: Vec<_> = all.pools.into_iter().collect();
        return Ok(format!("{path} has no pool {:?}; it has: {}", options.pool, pools.join(", ")));
    };
    let (from, to) = (kept.from, kept.to);
    Ok(format!("{path} has nothing of pool {:?} then; it has decisions from {from:.0} to {to:.0}", options.pool))
}

impl Options {
    fn is_list(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.last.is_some()
    }

    fn limit(&self) -> usize {
        self.last.unwrap_or(1000)
    }

    fn lines(&self, decisions: &[Decision]) -> Result<String, String> {
        if decisions.is_empty() {
            return Err(format!("no decision on pool {:?} in that time", self.pool));
        }
        Ok(decisions.iter().map(|decision| format!("{:.0} {}\n", decision.at, decision.line)).collect())
    }

    fn account(&self, decision: &Decision, told: &Told) -> String {
        account::of(decision, told, self.at.unwrap_or_else(Timestamp::now))
    }
}
