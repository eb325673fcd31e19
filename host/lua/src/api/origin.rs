//! `forebay.origin`: which origin gets the request.

use abi::OriginStats;

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::{Function, Kind, State};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "origin.set_pool" set_pool;
    "origin.set_host" set_host;
    "origin.exclude" exclude;
    "origin.get" get;
    "origin.stats" stats;
};

fn set_pool(asked: Asked) -> Reply {
    let pool = asked.name(1, "origin.set_pool", "pool")?;
    asked.answer(asked.vm.host().origin_set_pool(pool))
}

fn set_host(asked: Asked) -> Reply {
    let address = asked.name(1, "origin.set_host", "address")?;
    asked.answer(asked.vm.host().origin_set_host(address))
}

fn exclude(asked: Asked) -> Reply {
    let address = asked.name(1, "origin.exclude", "address")?;
    asked.answer(asked.vm.host().origin_exclude(address))
}

/// `get()`: `{address, pool, attempt}`, or nil where nobody was picked.
fn get(asked: Asked) -> Reply {
    match asked.vm.host().origin_picked() {
        Ok(Some(picked)) => {
            let state = asked.state;
            state.reserve(4);
            state.new_table(0, 3);
            text(state, "address", &picked.address.to_string());
            text(state, "pool", &picked.pool);
            number(state, "attempt", picked.attempt.into());
            Ok(1)
        }
        Ok(None) => asked.nil(),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `stats(pool or nil)`: an array of tables.
fn stats(asked: Asked) -> Reply {
    let pool = match asked.state.kind(1) {
        Kind::Nil | Kind::None => None,
        _ => Some(asked.name(1, "origin.stats", "pool")?),
    };
    match asked.vm.host().origin_stats(pool) {
        Ok(origins) => {
            asked.state.reserve(6);
            asked.state.new_table(origins.len() as i32, 0);
            for (i, origin) in origins.iter().enumerate() {
                push_stats(asked.state, origin);
                asked.state.raw_set_index(-2, i as i32 + 1);
            }
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn push_stats(state: State, origin: &OriginStats) {
    state.new_table(0, 7);
    text(state, "address", &origin.address.to_string());
    text(state, "stage", origin.stage);
    state.push_bool(origin.healthy);
    state.raw_set_field(-2, "healthy");
    number(state, "share", origin.share);
    number(state, "in_flight", origin.in_flight as f64);
    number(state, "requests", origin.requests as f64);
    if let Some(latency) = origin.latency {
        number(state, "latency", latency.as_secs_f64());
    }
}

fn text(state: State, field: &str, value: &str) {
    state.push_bytes(value.as_bytes());
    state.raw_set_field(-2, field);
}

fn number(state: State, field: &str, value: f64) {
    state.push_number(value);
    state.raw_set_field(-2, field);
}
