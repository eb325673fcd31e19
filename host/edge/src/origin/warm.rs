//! Warm-up: real requests to a new origin before it takes traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;

use crate::link::Link;
use crate::membership::Member;

/// Bytes of a warm-up answer that are read: whole answers warm what real ones will use.
const MOST_BODY: usize = 16 << 20;
const AGENT: &str = concat!("forebay-warmup/", env!("CARGO_PKG_VERSION"));
/// Between a request that was not answered and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Warms one origin and marks it, or tries on until it is dropped because the origin has left
/// the stage: how long is long enough is the aggregator's decision. Requests go in order over
/// one connection; one that was not answered, or with 500 and up, counts for nothing and is sent
/// again. Without `warmup` in the pool a connection is enough.
pub async fn warm(pool: Arc<config::Pool>, member: Arc<Member>) {
    let began = Instant::now();
    let mut link = Link::new(member.address.to_string(), pool.http2, MOST_BODY);
    let (path, requests) = match &pool.warmup {
        Some(warmup) => (warmup.path.as_str(), warmup.requests),
        None => ("/", 0),
    };
    let mut answered = 0;
    let mut connected = false;
    while !connected || answered < requests {
        match step(&pool, &mut link, path, answered < requests).await {
            Ok(asked) => {
                connected = true;
                answered += u32::from(asked);
                count(&pool, asked.then_some("answered"));
            }
            Err(why) => {
                count(&pool, Some("failed"));
                tracing::debug!(target: "forebay::warm", pool = pool.name, origin = %member.address, why, "not warm yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    member.set_warmed();
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(target: "forebay::warm", pool = pool.name, origin = %member.address, requests, seconds, "origin is warm");
}

/// One request, or one connection where none is asked for. Says whether a request was answered.
async fn step(pool: &config::Pool, link: &mut Link, path: &str, ask: bool) -> Result<bool, String> {
    if !ask {
        return link.connect(pool.timeouts.connect).await.map(|()| false).map_err(|error| error.to_string());
    }
    let answer = link.get(path, AGENT, pool.timeouts.response).await.map_err(|error| error.to_string())?;
    if answer.status().as_u16() < 500 { Ok(true) } else { Err(format!("status {}", answer.status().as_u16())) }
}

fn count(pool: &config::Pool, result: Option<&'static str>) {
    let Some(result) = result else { return };
    counter!("forebay_warmup_requests_total", "pool" => pool.name.clone(), "result" => result).increment(1);
}
