//! Forebay's own calls, all with one wire. The import `forebay_<group>_<call>(at, len, at_out,
//! len_out) -> status` takes its arguments packed and gives its results packed; so does
//! `proxy_call_foreign_function` under the same name, whose results begin with our status (an
//! i32), as the code that it answers itself can only be one of proxy-wasm's. After a refusal its
//! text follows.
//!
//! **Packed:** arguments in order, numbers little-endian; a text or bytes is its length (u32) and
//! its bytes; a list is its length (u32) and its items; what may be missing is a byte, 0 or 1, and
//! then the thing if there is one.

use std::borrow::Cow;
use std::time::Duration;

use abi::{Answer, Refusal, Status, Value};
use bytes::Bytes;
use wasmtime::Linker;

use super::{Guest, dict, kv, limit, limits, log, metric, origin, queue, scale, secret, trace};
use crate::budget;
use crate::clock::thread_cpu;
use crate::memory::{self, Outcome};
use crate::state::State;

/// One call: it never enters the guest, so it may hold on to the guest's memory.
pub type Call = fn(&State, &mut Reader<'_>) -> Answer<Writer>;

/// By the import's name. A new call joins here, and its row in `abi::hostcall`.
pub const CALLS: &[(&str, Call)] = &[
    ("forebay_origin_set_pool", origin::set_pool),
    ("forebay_origin_set_host", origin::set_host),
    ("forebay_origin_exclude", origin::exclude),
    ("forebay_origin_get", origin::get),
    ("forebay_origin_stats", origin::stats),
    ("forebay_limits_remaining", limits::remaining),
    ("forebay_log", log::fields),
    ("forebay_metric_define", metric::define_with_labels),
    ("forebay_secret_hmac", secret::hmac),
    ("forebay_secret_mark", secret::mark),
    ("forebay_trace_finish", trace::finish),
    ("forebay_trace_set", trace::set),
    ("forebay_trace_span", trace::span),
    ("forebay_dict_get", dict::get_named),
    ("forebay_dict_set", dict::set_named),
    ("forebay_dict_add", dict::add),
    ("forebay_dict_incr", dict::incr),
    ("forebay_dict_delete", dict::delete),
    ("forebay_dict_cas", dict::cas),
    ("forebay_http_call_all", super::callout::call_all),
    ("forebay_queue_push", queue::push),
    ("forebay_queue_pop", queue::pop),
    ("forebay_response_set_event", super::event::set),
    ("forebay_limit_take", limit::take),
    ("forebay_tokens_reserve", limit::reserve),
    ("forebay_lease_commit", limit::commit),
    ("forebay_lease_release", limit::release),
    ("forebay_scale_hint", scale::hint),
    ("forebay_scale_view", scale::view),
    ("forebay_scale_propose", scale::propose),
    ("forebay_kv_get", kv::get),
    ("forebay_kv_set", kv::set),
    ("forebay_kv_incr", kv::incr),
    ("forebay_kv_delete", kv::delete),
    ("forebay_kv_eval", kv::eval),
];

pub fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for &(name, call) in CALLS {
        linker.func_wrap(
            "env",
            name,
            move |mut guest: Guest<'_>, at: u32, len: u32, at_out: u32, len_out: u32| -> wasmtime::Result<i32> {
                let outcome = answer(&mut guest, call, at, len, at_out, len_out);
                super::status(&guest, name, outcome)
            },
        )?;
    }
    Ok(())
}

fn answer(guest: &mut Guest<'_>, call: Call, at: u32, len: u32, at_out: u32, len_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    // Nothing must be done whose result cannot be told.
    memory::bytes(data, at_out, 4)?;
    memory::bytes(data, len_out, 4)?;
    let results = run(state, call, memory::bytes(data, at, len)?)??;
    memory::give(guest, &results.bytes, at_out, len_out)
}

/// What is read of arguments between two looks at the clock: a list of a million empty items is as much
/// work as bytes are.
const PIECE: usize = 64 << 10;

/// Reads arguments and makes the call. Reading many ends the guest at its deadline, as an epoch does.
fn run(state: &mut State, call: Call, arguments: &[u8]) -> Outcome<Answer<Writer>> {
    let mut reader = Reader::new(arguments);
    if arguments.len() > PIECE {
        budget::afford(state)?;
        reader.until = state.budget.since.map(|since| since + state.budget.limit);
    }
    let answer = call(state, &mut reader);
    if reader.late {
        budget::afford(state)?;
    }
    Ok(answer)
}

/// The same by name, as a foreign function: status, then results or the refusal's text. `None` if
/// there is no such call.
pub fn foreign(state: &mut State, name: &[u8], arguments: &[u8]) -> Outcome<Option<Vec<u8>>> {
    let Some((_, call)) = CALLS.iter().find(|(known, _)| known.as_bytes() == name) else { return Ok(None) };
    let answer = run(state, *call, arguments)?;
    state.denied.set(answer.as_ref().is_err_and(|refusal| refusal.status == Status::CapabilityDenied));
    Ok(Some(with_status(answer)))
}

/// A status, then results or the refusal's text: what a foreign function gives and what a reply is.
pub fn with_status(answer: Answer<Writer>) -> Vec<u8> {
    let (status, rest) = match answer {
        Ok(results) => (Status::Ok, results.bytes),
        Err(refusal) => {
            let mut text = Writer::default();
            text.bytes(refusal.message.as_bytes());
            (refusal.status, text.bytes)
        }
    };
    let mut all = (status as i32).to_le_bytes().to_vec();
    all.extend_from_slice(&rest);
    all
}

/// Items of all lists in one call's arguments.
const MAX_ITEMS: u32 = 8192;
/// What reading one thing costs, as bytes that could be copied in that time.
const EACH: usize = 32;

/// Reads packed arguments.
pub struct Reader<'a> {
    rest: &'a [u8],
    items: u32,
    /// Read since the last look at the clock.
    work: usize,
    /// CPU time of the thread at which the guest's deadline is.
    until: Option<Duration>,
    /// It was found to be past.
    late: bool,
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest, items: 0, work: 0, until: None, late: false }
    }

    /// Refuses what is read past the deadline.
    fn afford(&mut self, len: usize) -> Answer<()> {
        self.work += len + EACH;
        if self.work < PIECE {
            return Ok(());
        }
        self.work = 0;
        self.late = self.until.is_some_and(|until| thread_cpu() >= until);
        match self.late {
            true => Err(Refusal::new(Status::Timeout, "no time is left to read the arguments")),
            false => Ok(()),
        }
    }

    fn take(&mut self, len: usize) -> Answer<&'a [u8]> {
        if len > self.rest.len() {
            let text = format!("packed arguments end too early: {len} bytes wanted, {} left", self.rest.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        self.afford(len)?;
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Answer<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("that many bytes were taken"))
    }

    pub fn u8(&mut self) -> Answer<u8> {
        Ok(u8::from_le_bytes(self.number()?))
    }

    pub fn u32(&mut self) -> Answer<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    pub fn u64(&mut self) -> Answer<u64> {
        Ok(u64::from_le_bytes(self.number()?))
    }

    pub fn i64(&mut self) -> Answer<i64> {
        Ok(i64::from_le_bytes(self.number()?))
    }

    pub fn f64(&mut self) -> Answer<f64> {
        Ok(f64::from_le_bytes(self.number()?))
    }

    /// A value.
    pub fn bytes(&mut self) -> Answer<&'a [u8]> {
        let len = self.u32()? as usize;
        memory::within(len, memory::MAX_VALUE, "value")?;
        self.take(len)
    }

    /// A body, which may be as large as the guest's memory.
    pub fn payload(&mut self) -> Answer<Bytes> {
        let len = self.u32()? as usize;
        if len > self.rest.len() {
            self.take(len)?;
        }
        let mut copy = Vec::with_capacity(len);
        while copy.len() < len {
            copy.extend_from_slice(self.take(PIECE.min(len - copy.len()))?);
        }
        Ok(copy.into())
    }

    /// A key.
    pub fn name(&mut self) -> Answer<&'a [u8]> {
        let len = self.u32()? as usize;
        memory::within(len, memory::MAX_NAME, "name")?;
        self.take(len)
    }

    pub fn text(&mut self) -> Answer<&'a str> {
        std::str::from_utf8(self.name()?).map_err(|_| Refusal::new(Status::BadArgument, "the text is no UTF-8"))
    }

    pub fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Answer<T>) -> Answer<Option<T>> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => {
                let text = format!("packed arguments: {other} where 0 (missing) or 1 (there) is allowed");
                Err(Refusal::new(Status::BadArgument, text))
            }
        }
    }

    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Answer<T>) -> Answer<Vec<T>> {
        let count = self.u32()?;
        self.items = self.items.saturating_add(count);
        if self.items > MAX_ITEMS {
            let text = format!("packed arguments: lists of {} items, at most {MAX_ITEMS} in one call", self.items);
            return Err(Refusal::new(Status::BadArgument, text));
        }
        // Not reserved for: the count may lie.
        (0..count).map(|_| read(self)).collect()
    }
}

/// Writes packed results.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn u8(&mut self, number: u8) -> &mut Writer {
        self.bytes.push(number);
        self
    }

    pub fn u32(&mut self, number: u32) -> &mut Writer {
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn u64(&mut self, number: u64) -> &mut Writer {
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn i64(&mut self, number: i64) -> &mut Writer {
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn f64(&mut self, number: f64) -> &mut Writer {
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.u32(bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A tag, then what it says: 0 nothing, 1 bytes, 2 an i64, 3 a boolean (u8), 4 nanoseconds (u64),
    /// 5 a map (a list of two texts each), 6 a list of values.
    pub fn value(&mut self, value: &Value) -> &mut Writer {
        match value {
            Value::Nil => self.u8(0),
            Value::Bytes(bytes) => self.u8(1).bytes(bytes),
            Value::Int(number) => self.u8(2).i64(*number),
            Value::Bool(truth) => self.u8(3).u8((*truth).into()),
            Value::Nanos(nanos) => self.u8(4).u64(*nanos),
            Value::Map(pairs) => {
                self.u8(5).u32(pairs.len() as u32);
                pairs.iter().fold(self, |to, (name, value)| to.bytes(name).bytes(value))
            }
            Value::List(items) => {
                self.u8(6).u32(items.len() as u32);
                items.iter().fold(self, Writer::value)
            }
        }
    }

    /// Bytes that may be missing.
    pub fn maybe_bytes(&mut self, bytes: Option<&[u8]>) -> &mut Writer {
        match bytes {
            None => self.u8(0),
            Some(bytes) => self.u8(1).bytes(bytes),
        }
    }

    /// What was written, for who keeps it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written, for who gives it on.
    pub fn done(&mut self) -> Writer {
        std::mem::take(self)
    }
}

/// What a guest is told at the end of a wait: see [`with_status`].
pub fn reply(reply: &Answer<Value>) -> Vec<u8> {
    let told: Answer<Writer> = match reply {
        Ok(value) => Ok(Writer::default().value(value).done()),
        Err(refusal) => Err(Refusal::new(refusal.status, Cow::clone(&refusal.message))),
    };
    with_status(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_end_too_early_or_lie_are_refused() {
        let bad = [&[][..], &[1, 0, 0], &[5, 0, 0, 0, b'a'], &[255, 255, 255, 255]];
        for bytes in bad {
            assert_eq!(Reader::new(bytes).bytes().unwrap_err().status, Status::BadArgument, "{bytes:?}");
            assert_eq!(Reader::new(bytes).list(Reader::u8).unwrap_err().status, Status::BadArgument, "{bytes:?}");
        }
        assert_eq!(Reader::new(&[2]).maybe(Reader::u8).unwrap_err().status, Status::BadArgument);
        assert_eq!(Reader::new(&[1, 0, 0, 0, 0xff]).text().unwrap_err().status, Status::BadArgument);
    }

    #[test]
    fn lists_names_and_values_have_bounds() {
        let list = |count: u32| [&count.to_le_bytes()[..], &vec![0; count as usize]].concat();
        assert_eq!(Reader::new(&list(MAX_ITEMS)).list(Reader::u8).unwrap().len(), 8192);
        let refused = Reader::new(&list(MAX_ITEMS + 1)).list(Reader::u8).unwrap_err();
        assert_eq!(refused.message, "packed arguments: lists of 8193 items, at most 8192 in one call");
        // Lists in lists are of one sum.
        let nested = [&2u32.to_le_bytes()[..], &list(5000), &list(5000)].concat();
        let refused = Reader::new(&nested).list(|from| from.list(Reader::u8)).unwrap_err();
        assert_eq!(refused.message, "packed arguments: lists of 10002 items, at most 8192 in one call");
        let long = list(memory::MAX_VALUE as u32 + 1);
        assert!(Reader::new(&long).text().unwrap_err().message.starts_with("a name of 4194305 bytes"));
        assert!(Reader::new(&long).bytes().unwrap_err().message.starts_with("a value of 4194305 bytes"));
        assert_eq!(Reader::new(&long).payload().unwrap().len(), memory::MAX_VALUE + 1);
        assert_eq!(Reader::new(&long[..9]).payload().unwrap_err().status, Status::BadArgument);
    }

    #[test]
    fn reading_ends_at_the_deadline() {
        let packed = Writer::default().bytes(&vec![0; 1 << 20]).done();
        let mut reader = Reader::new(&packed.bytes);
        reader.until = Some(Duration::ZERO);
        assert_eq!(reader.payload().unwrap_err().status, Status::Timeout);
        assert!(reader.late);
    }

    #[test]
    fn what_was_packed_is_read_as_it_was() {
        let packed = Writer::default().u8(1).u32(7).bytes(b"ab").i64(-3).f64(0.5).done();
        let mut reader = Reader::new(&packed.bytes);
        assert_eq!(reader.maybe(Reader::u32).unwrap(), Some(7));
        assert_eq!((reader.bytes().unwrap(), reader.i64().unwrap(), reader.f64().unwrap()), (&b"ab"[..], -3, 0.5));
        let reply = reply(&Ok(Value::List(vec![Value::Int(1), Value::Nil])));
        assert_eq!(reply, [0, 0, 0, 0, 6, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let refused = super::reply(&Err(Refusal::new(Status::Unavailable, "no")));
        assert_eq!(refused, [104, 0, 0, 0, 2, 0, 0, 0, b'n', b'o']);
    }
}
