//! Dictionaries of this machine, the same for all workers and for plugins in Lua.

use std::time::Duration;

use crate::packed::{Arguments, Refusal, call};

/// A dictionary by its name, granted as `dict:<name>`; the plugin's own name needs no grant.
pub struct Dict {
    name: String,
}

/// Nothing is asked of the host yet.
pub fn open(name: &str) -> Dict {
    Dict { name: name.to_owned() }
}

const NOT_FOUND: i32 = 1;

/// Every call may be refused with [`Refusal::CAPABILITY_DENIED`], writes with
/// [`Refusal::LIMIT_EXCEEDED`] (the value is larger than the dictionary takes) and code 2 (the key
/// has over 1 KiB, or a ttl of 0).
impl Dict {
    fn key(&self, key: &[u8]) -> Arguments {
        Arguments::new().bytes(self.name.as_bytes()).bytes(key)
    }

    /// The value and its version.
    pub fn get(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, Refusal> {
        match call("forebay_dict_get", self.key(key)) {
            Ok(mut found) => Ok(Some((found.bytes()?, found.u32()?))),
            Err(refusal) if refusal.code == NOT_FOUND => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Writes over whatever is there; it stays for `ttl`, or for good.
    pub fn set(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), Refusal> {
        let arguments = ttl_of(self.key(key).maybe(Some(value), Arguments::bytes), ttl).u8(0);
        call("forebay_dict_set", arguments).map(drop)
    }

    /// Writes if nothing is there; false if something is.
    pub fn add(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Refusal> {
        won(call("forebay_dict_add", ttl_of(self.key(key).bytes(value), ttl)).map(drop))
    }

    /// Adds to a whole number (to `init` where nothing is) and gives what it is then; `ttl` is for a
    /// number that this makes.
    ///
    /// # Errors
    /// Code 2 if the value is no whole number, or would be more than 64 bits hold.
    pub fn incr(&self, key: &[u8], by: i64, init: i64, ttl: Option<Duration>) -> Result<i64, Refusal> {
        call("forebay_dict_incr", ttl_of(self.key(key).i64(by).i64(init), ttl))?.i64()
    }

    /// Also if nothing is there.
    pub fn delete(&self, key: &[u8]) -> Result<(), Refusal> {
        call("forebay_dict_delete", self.key(key)).map(drop)
    }

    /// Writes if the value still has the version that [`Dict::get`] gave; false if not.
    pub fn cas(&self, key: &[u8], value: &[u8], version: u32, ttl: Option<Duration>) -> Result<bool, Refusal> {
        won(call("forebay_dict_cas", ttl_of(self.key(key).bytes(value).u32(version), ttl)).map(drop))
    }
}

fn ttl_of(arguments: Arguments, ttl: Option<Duration>) -> Arguments {
    let nanos = ttl.map(|ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
    arguments.maybe(nanos, Arguments::u64)
}

const CAS_MISMATCH: i32 = 8;

fn won(answer: Result<(), Refusal>) -> Result<bool, Refusal> {
    match answer {
        Ok(()) => Ok(true),
        Err(refusal) if refusal.code == CAS_MISMATCH => Ok(false),
        Err(refusal) => Err(refusal),
    }
}
