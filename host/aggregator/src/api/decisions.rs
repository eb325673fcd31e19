//! `GET /v1/decisions` and `GET /v1/pools/NAME/explain`: what was decided, and why. What is not in
//! memory any more is read from the journal, aside.

use std::path::PathBuf;

use http::StatusCode;
use jiff::Timestamp;
use scaler::{Decision, stamp};
use serde_json::json as value;

use super::query::Query;
use super::reading::aside;
use super::{Answer, fail, json, unknown_pool};
use crate::Shared;
use crate::journal::files::{self, Recorded};

const SHOWN: usize = 100;
/// More are a matter for who reads the journal itself.
const MOST_SHOWN: usize = 10_000;

fn refuse(refused: &str) -> Answer {
    fail(StatusCode::BAD_REQUEST, "query", refused)
}

struct Listing {
    pool: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: usize,
}

impl Listing {
    fn read(query: &str) -> Result<Listing, String> {
        let query = Query::read(query, &["pool", "from", "to", "limit"])?;
        let (from, to) = (query.instant("from")?, query.instant("to")?);
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(format!("to `{to}` is before from `{from}`"));
        }
        let limit = query.count("limit")?.unwrap_or(SHOWN);
        if limit > MOST_SHOWN {
            return Err(format!("limit `{limit}`; at most {MOST_SHOWN}"));
        }
        Ok(Listing { pool: query.get("pool").map(str::to_string), from, to, limit })
    }
}

pub async fn list(query: &str, shared: &Shared) -> Answer {
    let Listing { pool, from, to, limit } = match Listing::read(query) {
        Ok(listing) => listing,
        Err(refused) => return refuse(&refused),
    };
    let journal = {
        let steer = shared.steer();
        if let Some(name) = pool.as_deref().filter(|name| !steer.pools().iter().any(|known| known == name)) {
            return unknown_pool(name, &steer.pools());
        }
        match steer.journal().filter(|_| from.is_some() || to.is_some()) {
            Some(journal) => journal,
            None => {
                let found = steer.decisions(pool.as_deref(), usize::MAX).into_iter();
                let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
                let mut found: Vec<&Decision> = found.filter(|decision| (from..=to).contains(&decision.at)).collect();
                found.drain(..found.len().saturating_sub(limit));
                return json(StatusCode::OK, &value!({ "decisions": found }));
            }
        }
    };
    let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
    match aside(&shared.reading, "journal", move || files::decisions(&journal, pool.as_deref(), from, to, limit)).await
    {
        Ok(found) => {
            let decisions: Vec<Decision> = found.into_iter().map(|recorded| recorded.decision).collect();
            json(StatusCode::OK, &value!({ "decisions": decisions }))
        }
        Err(answer) => answer,
    }
}

pub async fn explain(name: &str, query: &str, shared: &Shared) -> Answer {
    let asked = Query::read(query, &["at"]).and_then(|query| query.instant("at"));
    match asked {
        Ok(Some(at)) => then(name, at, shared).await,
        Ok(None) => now(name, shared),
        Err(refused) => refuse(&refused),
    }
}

fn now(name: &str, shared: &Shared) -> Answer {
    let mut steer = shared.steer();
    let now = steer.now();
    let Some(view) = steer.pool(name, now) else { return unknown_pool(name, &steer.pools()) };
    let shows = steer.shows(now);
    let body = value!({
        "pool": name,
        "at": format!("{shows:.3}"),
        "line": view.decision.as_ref().map(|decision| &decision.line),
        "role": steer.role(),
        "token": steer.token(),
        "decision_age_seconds": view.decision.as_ref().map(|decision| stamp::seconds(stamp::age(shows, decision.at))),
        "decision": view.decision,
        "schedules": view.schedules,
        "mode": view.mode,
        "advised": view.advised,
        "scored": view.scored,
        "tuner": view.tuner,
        "lead": view.lead,
        "budget": view.budget,
        "carries": view.carries,
        "replaced": view.replaced,
        "warm_pool": view.warm_pool,
        "foreign": view.foreign,
        "hold": view.operator,
        "warm_seconds": view.warm_seconds,
        "capacity": view.capacity,
        "inputs": view.inputs,
        "origins": view.origins,
        "origin_seconds": view.origin_seconds,
        "actuator": steer.actuator(name),
    });
    json(StatusCode::OK, &body)
}

/// The decision that stood at an instant: the last that was made until then.
async fn then(name: &str, at: Timestamp, shared: &Shared) -> Answer {
    if at > Timestamp::now() {
        return refuse(&format!("at `{at}` lies ahead: nothing was decided yet"));
    }
    let (journal, remembered, role) = {
        let steer = shared.steer();
        if !steer.pools().iter().any(|known| known == name) {
            return unknown_pool(name, &steer.pools());
        }
        let remembered: Vec<Decision> = steer.decisions(Some(name), usize::MAX).into_iter().cloned().collect();
        (steer.journal(), remembered, steer.role())
    };
    let pool = name.to_string();
    let found = aside(&shared.reading, "journal", move || Found::of(journal, (remembered, role), &pool, at)).await;
    match found {
        Ok(Found::Stood(recorded)) => {
            let Recorded { decision, origins, role, token } = *recorded;
            let age = stamp::seconds(stamp::age(at, decision.at));
            let body = value!({
                "pool": name, "at": format!("{at:.3}"), "line": decision.line, "decision_age_seconds": age, "role": role,
                "token": token, "decision": decision, "origins": origins,
            });
            json(StatusCode::OK, &body)
        }
        Ok(Found::Outside(kept)) => fail(StatusCode::NOT_FOUND, "at", &format!("nothing is known of {at:.3}; {kept}")),
        Err(answer) => answer,
    }
}

enum Found {
    Stood(Box<Recorded>),
    /// What is kept in place of it.
    Outside(String),
}

impl Found {
    /// `role`: of who remembers, which holds where no journal tells it of each.
    fn of(
        journal: Option<PathBuf>,
        (remembered, role): (Vec<Decision>, &str),
        pool: &str,
        at: Timestamp,
    ) -> std::io::Result<Found> {
        let kept = match journal {
            Some(path) => {
                if let Some(recorded) = files::at(&path, pool, at)? {
                    return Ok(Found::Stood(Box::new(recorded)));
                }
                files::span(&path, pool)?
            }
            None => {
                let stood = remembered.iter().rev().find(|decision| decision.at <= at);
                if let Some(decision) = stood.cloned() {
                    let (origins, role) = (Vec::new(), role.to_string());
                    return Ok(Found::Stood(Box::new(Recorded { decision, origins, role, token: None })));
                }
                remembered.first().zip(remembered.last()).map(|(first, last)| (first.at, last.at))
            }
        };
        Ok(Found::Outside(match kept {
            Some((from, to)) => format!("kept are decisions from {from:.3} to {to:.3}"),
            None => format!("no decision on pool `{pool}` is kept"),
        }))
    }
}
