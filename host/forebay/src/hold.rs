//! `forebay hold`: an operator keeps a pool from shrinking for a while, and says why.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::region::Unfit;
use crate::{ask, region, span};

#[derive(clap::Args)]
pub struct Options {
    /// The pool. Without more: the hold that stands
    pool: String,
    /// How long: 90s, 30m, 1h 30m; up to a week
    #[arg(long = "for", value_name = "TIME", value_parser = span::parse, conflicts_with_all = ["until", "lift"])]
    lasts: Option<Duration>,
    /// Until an instant such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "INSTANT", conflicts_with = "lift")]
    until: Option<Timestamp>,
    /// Why, for whoever asks `forebay explain`
    #[arg(long, value_name = "TEXT", conflicts_with = "lift")]
    reason: Option<String>,
    /// Keep it from growing too; its floor and ceiling hold all the same
    #[arg(long, conflicts_with = "lift")]
    both_ways: bool,
    /// Take the hold back
    #[arg(long)]
    lift: bool,
    /// The aggregator to tell, of several each by itself
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    aggregator: Option<String>,
    /// A region file: its aggregator is told
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let (method, query) = options.request()?;
    let authority = match &options.config {
        None => ask::authority(options.aggregator.as_deref().unwrap_or(ask::USUAL))?,
        Some(file) => {
            let region = region::load(file)?;
            let named = ask::of_region(&region)?;
            named.ok_or_else(|| Unfit::one(format!("{}: names no aggregator", file.display())))?
        }
    };
    let path = format!("/v1/pools/{}/hold{query}", ask::escape(&options.pool));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(ask::ask(method, &authority, &path))?;
    let answer: Value =
        serde_json::from_slice(&body).with_context(|| format!("{authority} answers what is no JSON"))?;
    if status != StatusCode::OK {
        let detail = answer["error"]["detail"].as_str().unwrap_or("no reason is given");
        bail!(Unfit::one(format!("{authority} answers {status}: {detail}")));
    }
    println!("{}", told(&options.pool, &answer));
    Ok(())
}

impl Options {
    /// What to ask, and its query.
    fn request(&self) -> Result<(Method, String), Unfit> {
        if self.lift {
            return Ok((Method::DELETE, String::new()));
        }
        let until = match (self.lasts, self.until) {
            // In milliseconds, which any reader of durations knows.
            (Some(lasts), _) => format!("for={}ms", lasts.as_millis()),
            (None, Some(until)) => format!("until={until}"),
            (None, None) if self.reason.is_none() && !self.both_ways => return Ok((Method::GET, String::new())),
            (None, None) => return Err(Unfit::one("a hold needs --for TIME or --until INSTANT: it always ends")),
        };
        let Some(reason) = &self.reason else {
            return Err(Unfit::one("a hold needs a --reason TEXT, for whoever asks why"));
        };
        let both_ways = if self.both_ways { "&both_ways=true" } else { "" };
        Ok((Method::PUT, format!("?{until}&because={}{both_ways}", ask::escape(reason))))
    }
}

/// The answer in one line.
fn told(pool: &str, answer: &Value) -> String {
    let hold = &answer["hold"];
    let Some(until) = hold["until"].as_str() else { return format!("pool {pool}: no operator holds it") };
    let what = if hold["both_ways"] == true { "neither shrinks nor grows" } else { "does not shrink" };
    let standby =
        if answer["role"] == "standby" { "; this aggregator stands by: tell the one that leads too" } else { "" };
    format!("pool {pool} {what} until {until}: {}{standby}", hold["because"].as_str().unwrap_or_default())
}
