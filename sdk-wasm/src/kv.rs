//! Key-value stores of the region, granted as `kv:<name>`. Keys and values are bytes.
//!
//! Each call gives its `then` what the store said; return `Action::Pause` meanwhile and let `then`
//! end with `resume_http_request` or another call that goes on. `then` is not called if the exchange
//! ends before, and in `on_log`, where nothing waits, it is not called at all.
//!
//! # Errors
//!
//! A call that is refused at once is an error of the function: 100 (not granted, or the store takes no
//! scripts), 101 (not in this phase), 102 (more than the limit `buffer`; one over the limit
//! `kv_calls` ends the exchange), 104 (the store has been given up for now), 1 on another host. What
//! the store or the way to it says is an error that `then` gets: 2 (it will not: the value is no
//! number, the script has an error), 102 (the answer is larger than the limit `buffer`), 103 (no
//! answer in time), 104 (no store).

use std::time::Duration;

use crate::packed::{self, Arguments, Refusal, Value};

/// The value of a key, or `None`.
pub fn get(
    kv: &str,
    key: &[u8],
    then: impl FnOnce(Result<Option<Vec<u8>>, Refusal>) + 'static,
) -> Result<(), Refusal> {
    ask("forebay_kv_get", named(kv, key), move |reply| {
        then(reply.map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }));
    })
}

/// Writes. With a time to live (1 ms to 366 days) the key is gone after it.
pub fn set(
    kv: &str,
    key: &[u8],
    value: &[u8],
    ttl: Option<Duration>,
    then: impl FnOnce(Result<(), Refusal>) + 'static,
) -> Result<(), Refusal> {
    let arguments = named(kv, key).bytes(value).maybe(ttl, live);
    ask("forebay_kv_set", arguments, move |reply| then(reply.map(drop)))
}

/// Adds `by` to the number that the key holds, 0 if there is none, and gives what it is then. `ttl`
/// is given to a key that has none, so that it counts from the first of a run of calls.
pub fn incr(
    kv: &str,
    key: &[u8],
    by: i64,
    ttl: Option<Duration>,
    then: impl FnOnce(Result<i64, Refusal>) + 'static,
) -> Result<(), Refusal> {
    let arguments = named(kv, key).i64(by).maybe(ttl, live);
    ask("forebay_kv_incr", arguments, move |reply| {
        then(reply.map(|value| match value {
            Value::Int(number) => number,
            _ => 0,
        }));
    })
}

/// Deletes; gives whether there was such a key.
pub fn delete(kv: &str, key: &[u8], then: impl FnOnce(Result<bool, Refusal>) + 'static) -> Result<(), Refusal> {
    ask("forebay_kv_delete", named(kv, key), move |reply| then(reply.map(|value| value == Value::Bool(true))))
}

/// Runs a script of Redis' Lua on the store, if it takes scripts; gives what the script returns. What
/// is nil inside a list comes as `Value::Bool(false)`.
pub fn eval(
    kv: &str,
    script: &str,
    keys: &[&[u8]],
    args: &[&[u8]],
    then: impl FnOnce(Result<Value, Refusal>) + 'static,
) -> Result<(), Refusal> {
    let arguments = named(kv, script.as_bytes())
        .list(keys.iter(), |to, key| to.bytes(key))
        .list(args.iter(), |to, arg| to.bytes(arg));
    ask("forebay_kv_eval", arguments, then)
}

fn named(kv: &str, bytes: &[u8]) -> Arguments {
    Arguments::new().bytes(kv.as_bytes()).bytes(bytes)
}

fn live(to: Arguments, ttl: Duration) -> Arguments {
    to.u64(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX))
}

fn ask(
    call: &str,
    arguments: Arguments,
    then: impl FnOnce(Result<Value, Refusal>) + 'static,
) -> Result<(), Refusal> {
    let token = packed::call(call, arguments)?.u32()?;
    packed::when_replied(token, then);
    Ok(())
}
