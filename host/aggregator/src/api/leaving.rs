//! `POST /v1/pools/NAME/origins/ADDR/leaving`: whoever runs an origin's machine knows that it is going.
//!
//! Saying it twice is saying it once. It is kept with the origin's record, so a restart, and whoever leads next, knows.

use std::net::SocketAddr;

use http::StatusCode;
use scaler::Event;
use scaler::region::Applied;
use serde_json::json as value;

use super::query::Query;
use super::{Answer, fail, json, unknown_pool};
use crate::Shared;

const LONGEST_REASON: usize = 200;

/// The name and the address in `NAME/origins/ADDR/leaving`.
pub fn path(rest: &str) -> Option<(&str, &str)> {
    rest.strip_suffix("/leaving")?.rsplit_once("/origins/")
}

pub fn answer(name: &str, address: &str, query: &str, shared: &Shared) -> Answer {
    let refuse = |detail: &str| fail(StatusCode::BAD_REQUEST, "query", detail);
    let query = match Query::read(query, &["because"]) {
        Ok(query) => query,
        Err(detail) => return refuse(&detail),
    };
    let because = query.get("because").unwrap_or("it was said over the API");
    if because.is_empty() || because.len() > LONGEST_REASON || because.contains(char::is_control) {
        return refuse(&format!("because: allowed are 1 to {LONGEST_REASON} bytes of text in one line"));
    }
    let Ok(address) = address.parse::<SocketAddr>() else {
        return refuse(&format!("origin `{address}`; allowed is an address such as 127.0.0.1:8080"));
    };
    let mut steer = shared.steer();
    if !steer.pools().iter().any(|known| known == name) {
        return unknown_pool(name, &steer.pools());
    }
    let now = steer.now();
    let event = Event::Leaving { pool: name.to_owned(), address, because: because.to_owned() };
    match steer.tell(event, now) {
        Applied::Taken | Applied::Repeat => {
            shared.wake.notify_one();
            json(StatusCode::OK, &value!({ "pool": name, "origin": address, "leaving": because }))
        }
        Applied::Unknown => {
            let all = steer.pool(name, now).map(|view| view.origins).unwrap_or_default();
            let known: Vec<String> = all.iter().map(|origin| origin.address.to_string()).collect();
            let detail = format!("origin `{address}`; run here are: {}", known.join(", "));
            fail(StatusCode::NOT_FOUND, "origin", &detail)
        }
    }
}
