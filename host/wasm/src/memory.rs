//! Every pointer and length that a guest gives is checked here and nowhere else.
//!
//! Functions that take `data` look at the guest's memory as it is now; anything that calls into
//! the guest ([`give`] does, to allocate) may grow or move it, so slices never outlive that.

use std::rc::Rc;

use abi::{Answer, Refusal, Status};
use bytes::Bytes;
use wasmtime::{Caller, Extern, Memory, TypedFunc};

use crate::budget;
use crate::state::State;

/// Bytes that are copied between two looks at the clock.
const PIECE: usize = 256 << 10;
/// The largest map that is taken from or given to a guest.
const MAX_PAIRS: usize = 1024;
const MAX_PAIRS_BYTES: usize = 1 << 20;
/// The longest name: of a target, a key, a metric. Whoever keeps or looks up one of 30 MB would be held for
/// long past the guest's deadline.
pub const MAX_NAME: usize = 64 << 10;
/// The largest value that is stored or hashed as a whole, what a string of Lua may have too.
pub const MAX_VALUE: usize = 4 << 20;

/// Why a hostcall ends early: refused (the guest goes on with a status), or the guest itself
/// failed while it was called back, which ends the callback.
pub enum Stop {
    Refused(Refusal),
    Trap(wasmtime::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Stop {
        Stop::Trap(error)
    }
}

pub type Outcome<T = ()> = Result<T, Stop>;

pub fn refuse<T>(status: Status, message: impl Into<std::borrow::Cow<'static, str>>) -> Outcome<T> {
    Err(Stop::Refused(Refusal::new(status, message)))
}

#[cold]
fn outside(at: u32, len: usize, size: usize) -> Refusal {
    let text = format!("pointer {at:#x} with length {len} is outside the module's memory of {size} bytes");
    Refusal::new(Status::InvalidMemoryAccess, text)
}

/// The guest's memory and the host's state beside it.
pub fn view<'a>(caller: &'a mut Caller<'_, State>) -> Outcome<(&'a mut [u8], &'a mut State)> {
    let memory = memory(caller)?;
    Ok(memory.data_and_store_mut(caller))
}

/// Known after the start; a start function may ask before that.
fn memory(caller: &mut Caller<'_, State>) -> Outcome<Memory> {
    match caller.data().memory {
        Some(memory) => Ok(memory),
        None => match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(memory),
            _ => refuse(Status::InvalidMemoryAccess, "the module exports no memory"),
        },
    }
}

/// `len` bytes at `at`. An empty range is right anywhere.
pub fn bytes(data: &[u8], at: u32, len: u32) -> Answer<&[u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    let end = (at as usize).checked_add(len as usize);
    end.and_then(|end| data.get(at as usize..end)).ok_or_else(|| outside(at, len as usize, data.len()))
}

/// The same, for the host to write to.
pub fn bytes_mut(data: &mut [u8], at: u32, len: u32) -> Answer<&mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    let size = data.len();
    let end = (at as usize).checked_add(len as usize);
    end.and_then(|end| data.get_mut(at as usize..end)).ok_or_else(|| outside(at, len as usize, size))
}

/// The same, of no more than `most` bytes.
fn bounded<'a>(data: &'a [u8], at: u32, len: u32, most: usize, what: &str) -> Answer<&'a [u8]> {
    within(len as usize, most, what)?;
    bytes(data, at, len)
}

#[inline]
pub fn within(len: usize, most: usize, what: &str) -> Answer<()> {
    if len <= most { Ok(()) } else { Err(too_long(len, most, what)) }
}

#[cold]
fn too_long(len: usize, most: usize, what: &str) -> Refusal {
    Refusal::new(Status::BadArgument, format!("a {what} of {len} bytes, it may have {most}"))
}

/// A name as bytes: a key.
pub fn name(data: &[u8], at: u32, len: u32) -> Answer<&[u8]> {
    bounded(data, at, len, MAX_NAME, "name")
}

/// The name of a header. None is as long as [`MAX_NAME`], so what is longer is cut: the host says of it what
/// it says of any name that is none.
pub fn header_name(data: &[u8], at: u32, len: u32) -> Answer<&[u8]> {
    let name = bytes(data, at, len)?;
    Ok(&name[..name.len().min(MAX_NAME)])
}

/// What is stored under a name.
pub fn value(data: &[u8], at: u32, len: u32) -> Answer<&[u8]> {
    bounded(data, at, len, MAX_VALUE, "value")
}

/// A copy of a body or a message, however large: a piece at a time, within the guest's deadline.
pub fn payload(caller: &mut Caller<'_, State>, at: u32, len: u32) -> Outcome<Bytes> {
    let (data, state) = view(caller)?;
    let all = bytes(data, at, len)?;
    if all.len() <= PIECE {
        return Ok(Bytes::copy_from_slice(all));
    }
    let mut copy = Vec::with_capacity(all.len());
    for piece in all.chunks(PIECE) {
        budget::afford(state)?;
        copy.extend_from_slice(piece);
    }
    Ok(copy.into())
}

/// A name as text: of a target, a metric, a service.
pub fn text(data: &[u8], at: u32, len: u32) -> Answer<&str> {
    std::str::from_utf8(name(data, at, len)?).map_err(|_| Refusal::new(Status::BadArgument, "the text is no UTF-8"))
}

pub fn read_u32(data: &[u8], at: u32) -> Answer<u32> {
    Ok(u32::from_le_bytes(bytes(data, at, 4)?.try_into().expect("four bytes were asked for")))
}

pub fn put(data: &mut [u8], at: u32, value: &[u8]) -> Answer<()> {
    let size = data.len();
    let end = (at as usize).checked_add(value.len());
    let place = end.and_then(|end| data.get_mut(at as usize..end));
    place.ok_or_else(|| outside(at, value.len(), size))?.copy_from_slice(value);
    Ok(())
}

pub fn put_u32(data: &mut [u8], at: u32, value: u32) -> Answer<()> {
    put(data, at, &value.to_le_bytes())
}

pub fn put_u64(data: &mut [u8], at: u32, value: u64) -> Answer<()> {
    put(data, at, &value.to_le_bytes())
}

/// Writes one number to where the guest wants it.
pub fn answer_u32(caller: &mut Caller<'_, State>, at: u32, value: u32) -> Outcome {
    Ok(put_u32(view(caller)?.0, at, value)?)
}

pub fn answer_u64(caller: &mut Caller<'_, State>, at: u32, value: u64) -> Outcome {
    Ok(put_u64(view(caller)?.0, at, value)?)
}

/// Copies `value` into memory that the guest allocates, and writes its address and length to
/// `at_out` and `len_out`. An empty value is a null pointer, as Envoy has it.
pub fn give(caller: &mut Caller<'_, State>, value: &[u8], at_out: u32, len_out: u32) -> Outcome {
    let data = view(caller)?.0;
    // Checked before the guest allocates: it would never learn of the block to free it.
    bytes(data, at_out, 4)?;
    bytes(data, len_out, 4)?;
    let len = u32::try_from(value.len())
        .map_err(|_| Refusal::new(Status::InvalidMemoryAccess, "the value is larger than a module's memory"))?;
    let at = if value.is_empty() { 0 } else { allocate(caller, len)? };
    if value.len() > PIECE {
        give_long(caller, value, at)?;
        let data = view(caller)?.0;
        put_u32(data, at_out, at)?;
        return Ok(put_u32(data, len_out, len)?);
    }
    let data = view(caller)?.0;
    if !value.is_empty() {
        put(data, at, value)?;
    }
    put_u32(data, at_out, at)?;
    Ok(put_u32(data, len_out, len)?)
}

/// Touched for the first time, 16 MiB take 7 ms: a piece at a time, with a look at the clock.
#[cold]
fn give_long(caller: &mut Caller<'_, State>, value: &[u8], at: u32) -> Outcome {
    // All of it or nothing: where a piece is outside, none is written.
    bytes(view(caller)?.0, at, value.len() as u32)?;
    for (number, piece) in value.chunks(PIECE).enumerate() {
        budget::afford(caller.data_mut())?;
        put(view(caller)?.0, at + (number * PIECE) as u32, piece)?;
    }
    Ok(())
}

fn allocate(caller: &mut Caller<'_, State>, len: u32) -> Outcome<u32> {
    let function = match &caller.data().allocate {
        Some(function) => function.clone(),
        None => Rc::new(allocator(caller)?),
    };
    match function.call(&mut *caller, len)? {
        0 => refuse(Status::InvalidMemoryAccess, format!("the module could not allocate {len} bytes")),
        at => Ok(at),
    }
}

fn allocator(caller: &mut Caller<'_, State>) -> Outcome<TypedFunc<u32, u32>> {
    for name in crate::exports::ALLOCATORS {
        if let Some(Extern::Func(function)) = caller.get_export(name) {
            return Ok(function.typed(&*caller)?);
        }
    }
    refuse(Status::InvalidMemoryAccess, "the module exports no allocator")
}

/// Reads proxy-wasm's form of a map: a count, the length of each name and value, then each of
/// them with a NUL behind it. No bytes at all is an empty map.
pub fn decode_pairs(data: &[u8]) -> Answer<Vec<(&[u8], &[u8])>> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let broken = || Refusal::new(Status::BadArgument, "the map is not in proxy-wasm's form");
    if data.len() > MAX_PAIRS_BYTES {
        return Err(Refusal::new(Status::BadArgument, format!("a map of more than {MAX_PAIRS_BYTES} bytes")));
    }
    let number = |at: usize| {
        let bytes = data.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0).ok_or_else(broken)?;
    if count > MAX_PAIRS {
        return Err(Refusal::new(
            Status::BadArgument,
            format!("a map of {count} pairs, at most {MAX_PAIRS} are taken"),
        ));
    }
    let mut pairs = Vec::with_capacity(count);
    let mut at = 4 + 8 * count;
    let mut next = |len: usize| {
        let value = data.get(at..at.checked_add(len)?)?;
        // The last NUL is left out by some SDKs.
        at += len + 1;
        Some(value)
    };
    for i in 0..count {
        let name = number(4 + 8 * i).and_then(&mut next).ok_or_else(broken)?;
        let value = number(8 + 8 * i).and_then(&mut next).ok_or_else(broken)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Writes a map in the same form.
#[derive(Default)]
pub struct Pairs {
    lengths: Vec<u8>,
    texts: Vec<u8>,
}

impl Pairs {
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.lengths.extend_from_slice(&(name.len() as u32).to_le_bytes());
        self.lengths.extend_from_slice(&(value.len() as u32).to_le_bytes());
        for text in [name, value] {
            self.texts.extend_from_slice(text);
            self.texts.push(0);
        }
    }

    pub fn encode(self) -> Vec<u8> {
        let count = (self.lengths.len() / 8) as u32;
        let mut all = count.to_le_bytes().to_vec();
        all.extend_from_slice(&self.lengths);
        all.extend_from_slice(&self.texts);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pointer_reaches_past_the_memory() {
        let mut data = [7u8; 16];
        assert_eq!(bytes(&data, 4, 12).unwrap().len(), 12);
        for (at, len) in [(16, 1), (15, 2), (0, 17), (u32::MAX, 1), (u32::MAX, u32::MAX), (1, u32::MAX)] {
            assert_eq!(bytes(&data, at, len).unwrap_err().status, Status::InvalidMemoryAccess);
            assert_eq!(bytes_mut(&mut data, at, len).unwrap_err().status, Status::InvalidMemoryAccess);
        }
        assert!(bytes(&data, u32::MAX, 0).unwrap().is_empty());
        for at in [13, 16, u32::MAX - 1, u32::MAX] {
            assert_eq!(put_u32(&mut data, at, 1).unwrap_err().status, Status::InvalidMemoryAccess);
        }
        assert_eq!(data, [7; 16]);
    }

    #[test]
    fn names_and_values_have_bounds() {
        let data = vec![b'a'; MAX_VALUE + 1];
        assert_eq!(text(&data, 0, MAX_NAME as u32).unwrap().len(), MAX_NAME);
        assert_eq!(value(&data, 0, MAX_VALUE as u32).unwrap().len(), MAX_VALUE);
        for refused in [text(&data, 0, MAX_NAME as u32 + 1).map(str::as_bytes), name(&data, 0, MAX_NAME as u32 + 1)] {
            assert_eq!(refused.unwrap_err().message, "a name of 65537 bytes, it may have 65536");
        }
        let refused = value(&data, 0, MAX_VALUE as u32 + 1).unwrap_err();
        assert_eq!(
            (refused.status, &*refused.message),
            (Status::BadArgument, "a value of 4194305 bytes, it may have 4194304")
        );
        // Where both are wrong the length is told: it would be wrong anywhere.
        assert_eq!(name(&data, u32::MAX, u32::MAX).unwrap_err().status, Status::BadArgument);
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let mut pairs = Pairs::default();
        pairs.push(b":path", b"/");
        pairs.push(b"empty", b"");
        let bytes = pairs.encode();
        assert_eq!(decode_pairs(&bytes).unwrap(), [(&b":path"[..], &b"/"[..]), (b"empty", b"")]);
        assert_eq!(decode_pairs(&Pairs::default().encode()).unwrap(), []);
        assert_eq!(decode_pairs(&[]).unwrap(), []);
        assert_eq!(decode_pairs(&bytes[..bytes.len() - 1]).unwrap().len(), 2);
    }

    #[test]
    fn a_map_whose_lengths_lie_is_refused() {
        let mut pairs = Pairs::default();
        pairs.push(b"a", b"b");
        let good = pairs.encode();
        for cut in 1..good.len() - 1 {
            assert_eq!(decode_pairs(&good[..cut]).unwrap_err().status, Status::BadArgument, "{cut}");
        }
        for lie in [100u32, u32::MAX, u32::MAX - 4] {
            for at in [0, 4, 8] {
                let mut bad = good.clone();
                bad[at..at + 4].copy_from_slice(&lie.to_le_bytes());
                assert_eq!(decode_pairs(&bad).unwrap_err().status, Status::BadArgument);
            }
        }
    }
}
