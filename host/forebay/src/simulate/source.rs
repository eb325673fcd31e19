//! Where recorded demand comes from.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::Options;
use super::file;
use super::progress::Progress;
use super::prometheus::{self, Asked};
use super::recorded::Recorded;
use crate::ask;
use crate::region::Unfit;

/// What is asked for if nothing says from when: what a history keeps.
const USUAL: Duration = Duration::from_secs(14 * 86_400);
/// Two weeks of minutes are some megabytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `pool`: of the policy, if one is named. Files that are no recordings are told beside those that are.
pub fn read(
    options: &Options,
    pool: Option<&str>,
    progress: &Progress,
) -> anyhow::Result<Vec<Result<Recorded, String>>> {
    if let Some(url) = &options.prometheus {
        return Ok(vec![Ok(of_prometheus(options, url, progress)?)]);
    }
    let Some(history) = &options.history else {
        return Ok(options.trace.iter().map(|path| file::read(path)).collect());
    };
    if !history.contains("://") {
        if options.from.is_some() || options.to.is_some() {
            bail!(Unfit::one("--from and --to are for a history that is asked for: --history http://…"));
        }
        return Ok(vec![file::read(Path::new(history))]);
    }
    let Some(pool) = options.pool.as_deref().or(pool) else {
        bail!(Unfit::one("--history of an aggregator is that of a pool: --pool NAME"));
    };
    Ok(vec![Ok(of_aggregator(options, history, pool)?)])
}

fn of_aggregator(options: &Options, url: &str, pool: &str) -> anyhow::Result<Recorded> {
    let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let Some(authority) = authority.filter(|rest| !rest.contains('/') && rest.contains(':')) else {
        bail!(Unfit::one(format!("--history {url}; allowed is http://host:port, or a file")));
    };
    let mut path = format!("/v1/pools/{}/history?step=1m", ask::escape(pool));
    for (word, at) in [("from", options.from), ("to", options.to)] {
        path.extend(at.map(|at| format!("&{word}={at}")));
    }
    let (status, body) = block_on(ask::get_as(authority, &path, None, PATIENCE))??;
    if status != StatusCode::OK {
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = answer["error"]["detail"].as_str().unwrap_or("no reason is given");
        bail!(Unfit::one(format!("{authority} answers {status}: {detail}")));
    }
    file::history(pool, &body).map_err(|problem| Unfit::one(format!("{authority}: {problem}")).into())
}

fn of_prometheus(options: &Options, url: &str, progress: &Progress) -> anyhow::Result<Recorded> {
    let to = options.to.unwrap_or_else(Timestamp::now);
    let from = options.from.unwrap_or_else(|| to.saturating_sub(USUAL).unwrap_or(Timestamp::MIN));
    if from >= to {
        bail!(Unfit::one(format!("--to {to:.0} is not after --from {from:.0}")));
    }
    let authorization = match (&options.bearer, &options.basic_auth) {
        (Some(file), _) => Some(prometheus::bearer(file)?),
        (None, Some(file)) => Some(prometheus::basic(file)?),
        (None, None) => None,
    };
    let query = options.query.as_deref().unwrap_or_default();
    let asked = Asked { url, query, from, to, step: options.step, authorization };
    progress.begin("asking prometheus".to_string());
    let recorded = block_on(prometheus::ask(&asked, |part| progress.tell(part)))?;
    progress.end();
    recorded
}

fn block_on<T>(asked: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asked))
}
