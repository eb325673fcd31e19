//! What is written to a dictionary.

use std::time::Duration;

use crate::hostcall::Call;

/// One write to one key. A value without a `ttl` stays until it is written over, deleted, or the
/// one that was used longest ago when room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictWrite<'a> {
    /// Over whatever is there; with a version only over that one.
    Set { value: &'a [u8], ttl: Option<Duration>, version: Option<u32> },
    /// Only where nothing is.
    Add { value: &'a [u8], ttl: Option<Duration> },
    /// Only over the value that has this version.
    Cas { value: &'a [u8], ttl: Option<Duration>, version: u32 },
    /// Also where nothing is; with a version only the value that has it.
    Delete { version: Option<u32> },
}

/// What is added to a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DictIncr {
    pub by: i64,
    /// What `by` is added to where nothing is.
    pub init: i64,
    /// How long a number lives that this call makes; one that was there keeps its own time.
    pub ttl: Option<Duration>,
}

impl DictWrite<'_> {
    /// The hostcall that it is.
    pub fn call(&self) -> Call {
        match self {
            DictWrite::Set { .. } => Call::DictSet,
            DictWrite::Add { .. } => Call::DictAdd,
            DictWrite::Cas { .. } => Call::DictCas,
            DictWrite::Delete { .. } => Call::DictDelete,
        }
    }
}
