//! `GET /v1/pools/NAME/history`: what a pool saw, as JSON or CSV. Read aside: two weeks of minutes
//! would keep the loop waiting.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;
use scaler::{Capacity, Point, Step};

use super::query::Query;
use super::reading::aside;
use super::{Answer, fail, json, unknown_pool};
use crate::Shared;
use crate::history::store::Reader;

const COLUMNS: &str = "time,requests,rejects,errors,cost,covered,booting,warming,serving,draining\n";

pub async fn answer(name: &str, query: &str, shared: &Shared) -> Answer {
    let asked = match Asked::read(name, query) {
        Ok(asked) => asked,
        Err(refused) => return fail(StatusCode::BAD_REQUEST, "query", &refused),
    };
    let reader = {
        let steer = shared.steer();
        if !steer.pools().iter().any(|pool| pool == name) {
            return unknown_pool(name, &steer.pools());
        }
        match steer.history() {
            Ok(reader) => reader,
            Err(because) => return fail(StatusCode::SERVICE_UNAVAILABLE, "history", because),
        }
    };
    aside(&shared.reading, "history", move || asked.render(&reader)).await.unwrap_or_else(|refused| refused)
}

struct Asked {
    pool: String,
    step: Step,
    from: Timestamp,
    to: Timestamp,
    csv: bool,
}

impl Asked {
    fn read(pool: &str, query: &str) -> Result<Asked, String> {
        let query = Query::read(query, &["from", "to", "step", "format"])?;
        let csv = match query.get("format") {
            None | Some("json") => false,
            Some("csv") => true,
            Some(other) => return Err(format!("format `{other}`; allowed are json and csv")),
        };
        let from = query.instant("from")?.unwrap_or(Timestamp::UNIX_EPOCH);
        let to = query.instant("to")?.unwrap_or(Timestamp::MAX);
        if to <= from {
            return Err(format!("to `{to}` is not after from `{from}`"));
        }
        let step = query.get("step").map_or(Ok(Step::Minute), str::parse)?;
        Ok(Asked { pool: pool.to_string(), step, from, to, csv })
    }

    fn render(&self, reader: &Reader) -> Result<Answer, redb::Error> {
        let points = reader.points(&self.pool, self.step, self.from, self.to)?;
        if self.csv {
            let mut answer = Response::new(Full::new(Bytes::from(csv(&points))));
            let kind = header::HeaderValue::from_static("text/csv; charset=utf-8");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(answer);
        }
        let kept = reader.span(&self.pool, self.step)?;
        let kept = kept
            .map(|(first, last)| serde_json::json!({ "from": format!("{first:.3}"), "last": format!("{last:.3}") }));
        let body = serde_json::json!({
            "pool": self.pool, "step": self.step.name(), "step_seconds": self.step.seconds(),
            "kept": kept, "points": points,
        });
        Ok(json(StatusCode::OK, &body))
    }
}

fn csv(points: &[Point]) -> String {
    let mut text = String::from(COLUMNS);
    for Point { at, requests, rejects, errors, cost, covered, origins } in points {
        let Capacity { booting, warming, serving, draining, .. } = origins;
        let _ = writeln!(
            text,
            "{at},{requests},{rejects},{errors},{cost},{covered},{booting},{warming},{serving},{draining}"
        );
    }
    text
}
