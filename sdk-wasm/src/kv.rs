//! Key-value stores of the region, granted as `kv:<name>`. Keys and values are bytes.
//!
//! Each call gives a [`Reply`]: `.await` it in a [task](crate::task), or give it a closure with
//! [`then`](Reply::then). In `on_log` of a plain `HttpContext`, where nothing waits, nobody is told.
//!
//! # Errors
//!
//! Refused at once: 100 (not granted, or the store takes no scripts), 101 (not in this phase), 102
//! (more than the limit `buffer`; one over the limit `kv_calls` ends the exchange), 104 (the store has
//! been given up for now), 1 on another host. What the store or the way to it says: 2 (it will not:
//! the value is no number, the script has an error), 102 (the answer is larger than the limit
//! `buffer`), 103 (no answer in time), 104 (no store).

use std::time::Duration;

use crate::packed::{ask, broken, Arguments, Value};
use crate::reply::Reply;

/// The value of a key, or `None`.
pub fn get(kv: &str, key: &[u8]) -> Reply<Option<Vec<u8>>> {
    ask("forebay_kv_get", named(kv, key), |value| match value {
        Value::Bytes(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        _ => Err(broken()),
    })
}

/// Writes. With a time to live (1 ms to 366 days) the key is gone after it.
pub fn set(kv: &str, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Reply<()> {
    ask("forebay_kv_set", named(kv, key).bytes(value).maybe(ttl, live), |_| Ok(()))
}

/// Adds `by` to the number that the key holds, 0 if there is none, and gives what it is then. `ttl`
/// is given to a key that has none, so that it counts from the first of a run of calls.
pub fn incr(kv: &str, key: &[u8], by: i64, ttl: Option<Duration>) -> Reply<i64> {
    ask("forebay_kv_incr", named(kv, key).i64(by).maybe(ttl, live), |value| match value {
        Value::Int(number) => Ok(number),
        _ => Err(broken()),
    })
}

/// Deletes; gives whether there was such a key.
pub fn delete(kv: &str, key: &[u8]) -> Reply<bool> {
    ask("forebay_kv_delete", named(kv, key), |value| Ok(value == Value::Bool(true)))
}

/// Runs a script of Redis' Lua on the store, if it takes scripts; gives what the script returns. What
/// is nil inside a list comes as `Value::Bool(false)`.
pub fn eval(kv: &str, script: &str, keys: &[&[u8]], args: &[&[u8]]) -> Reply<Value> {
    let arguments = named(kv, script.as_bytes())
        .list(keys.iter(), |to, key| to.bytes(key))
        .list(args.iter(), |to, arg| to.bytes(arg));
    ask("forebay_kv_eval", arguments, Ok)
}

fn named(kv: &str, bytes: &[u8]) -> Arguments {
    Arguments::new().bytes(kv.as_bytes()).bytes(bytes)
}

fn live(to: Arguments, ttl: Duration) -> Arguments {
    to.u64(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX))
}
