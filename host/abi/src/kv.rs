//! What a plugin may ask of a key-value store of the region. Keys and values are bytes.

use std::time::Duration;

use crate::hostcall::Call;

/// One question to a store. Its end comes as [`crate::Event::Reply`], as the value that the variant
/// names or a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvAsk {
    /// [`crate::Value::Bytes`], or [`crate::Value::Nil`] if there is no such key.
    Get { key: Vec<u8> },
    /// [`crate::Value::Bool`], true. Without `ttl` the key stays until it is deleted.
    Set { key: Vec<u8>, value: Vec<u8>, ttl: Option<Duration> },
    /// [`crate::Value::Int`]: the number after it; a missing key counts from 0. `ttl` is given to a
    /// key that has none: so it counts from the first of a run of increments.
    Incr { key: Vec<u8>, by: i64, ttl: Option<Duration> },
    /// [`crate::Value::Bool`]: whether there was such a key.
    Delete { key: Vec<u8> },
    /// Whatever the script gives: numbers, bytes, lists of them; what is missing inside a list is
    /// `false`.
    Eval { script: Vec<u8>, keys: Vec<Vec<u8>>, args: Vec<Vec<u8>> },
}

impl KvAsk {
    /// The row that it is asked by.
    pub fn call(&self) -> Call {
        match self {
            KvAsk::Get { .. } => Call::KvGet,
            KvAsk::Set { .. } => Call::KvSet,
            KvAsk::Incr { .. } => Call::KvIncr,
            KvAsk::Delete { .. } => Call::KvDelete,
            KvAsk::Eval { .. } => Call::KvEval,
        }
    }
}
