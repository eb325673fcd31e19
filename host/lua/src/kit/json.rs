//! `forebay.json`: RFC 8259, to Lua values and back.
//!
//! What JSON has and Lua lacks: `null` is `json.null`, so that a list keeps its places, and an array
//! that was decoded (or marked by `json.array`) has a metatable, so that an empty one is `[]` again.

mod writing;

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use abi::Status;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{PIECE, look};
use crate::api::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "forebay.json.encode" writing::encode;
    "forebay.json.decode" decode;
    "forebay.json.mark" mark;
    "forebay.json.null" |asked| { asked.state.push_mark(std::ptr::null_mut()); Ok(1) };
};

/// Tables in each other, both ways: serde_json's own limit.
const MAX_DEPTH: usize = 128;
/// Values between two looks at the watchdog.
const VALUES: u32 = 128;
/// Longer texts are read in pieces: a string of this size is one step of the parser.
const WHOLE: usize = 1 << 20;

/// Takes the metatable of arrays from the prelude.
fn mark(asked: Asked) -> Reply {
    asked.state.set_top(1);
    asked.vm.array.set(asked.state.keep());
    Ok(0)
}

/// `decode(text)`: the value, or nil and why not.
fn decode(asked: Asked) -> Reply {
    let text = asked.text(1, "json.decode", "text")?;
    let top = asked.state.top();
    let reading = Reading { asked, stopped: Cell::new(None), values: Cell::new(0) };
    let read = if text.len() <= WHOLE {
        reading.all(serde_json::Deserializer::from_slice(text))
    } else {
        reading.all(serde_json::Deserializer::from_reader(Pieces { text, reading: &reading }))
    };
    if let Some(out) = reading.stopped.take() {
        return Err(out);
    }
    match read {
        Ok(()) => Ok(1),
        Err(error) => {
            asked.state.set_top(top);
            asked.failure(Status::ParseFailure.name(), &format!("json.decode: {error}"))
        }
    }
}

/// Pushes the value of a text of ours that is JSON, for sure.
pub fn push(asked: &Asked, text: &[u8]) -> Result<(), Out> {
    let reading = Reading { asked: *asked, stopped: Cell::new(None), values: Cell::new(0) };
    let read = reading.all(serde_json::Deserializer::from_slice(text));
    match reading.stopped.take() {
        Some(out) => Err(out),
        None => read.map_err(|error| asked.error(&error.to_string())),
    }
}

/// Puts what is read onto the stack, value by value.
struct Reading {
    asked: Asked,
    /// The script must end: the error that the parser gives then is not its own.
    stopped: Cell<Option<Out>>,
    values: Cell<u32>,
}

impl Reading {
    fn all<'de, R: serde_json::de::Read<'de>>(&self, mut from: serde_json::Deserializer<R>) -> serde_json::Result<()> {
        self.deserialize(&mut from)?;
        from.end()
    }

    /// Values are made without the memory limit's say (see `vm/heap.rs`): it is asked here.
    fn look<E: Error>(&self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values % VALUES);
        if values < VALUES { Ok(()) } else { self.check() }
    }

    fn check<E: Error>(&self) -> Result<(), E> {
        let used = self.asked.vm.heap.used();
        match look(&self.asked, used) {
            Ok(()) => Ok(()),
            Err(out) => {
                self.stopped.set(Some(out));
                Err(E::custom("stopped"))
            }
        }
    }

    /// Room for a value and its key, at any depth.
    fn room<E: Error>(&self) -> Result<(), E> {
        if self.asked.state.reserve(6) {
            return Ok(());
        }
        Err(E::custom("no room on the stack: the call is nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for &Reading {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.look()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reading {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.asked.state.push_mark(std::ptr::null_mut());
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.asked.state.push_bool(truth);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.asked.state.push_number(number as f64);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.asked.state.push_number(number as f64);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.asked.state.push_number(number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.asked.state.push_bytes(text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.room()?;
        let state = self.asked.state;
        state.new_table(0, 0);
        state.push_kept(self.asked.vm.array.get());
        state.set_metatable(-2);
        let mut at = 0;
        while items.next_element_seed(self)?.is_some() {
            at += 1;
            state.raw_set_index(-2, at);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.room()?;
        let state = self.asked.state;
        state.new_table(0, 0);
        while entries.next_key_seed(self)?.is_some() {
            entries.next_value_seed(self)?;
            state.raw_set(-3);
        }
        Ok(())
    }
}

/// A long text, given on a piece at a time.
struct Pieces<'a> {
    text: &'a [u8],
    reading: &'a Reading,
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.reading.check::<serde_json::Error>().map_err(io::Error::other)?;
        let len = to.len().min(PIECE);
        self.text.read(&mut to[..len])
    }
}
