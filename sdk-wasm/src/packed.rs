//! The wire of Forebay's own calls: arguments in order, numbers little-endian, a text with its
//! length before it. The modules beside this one are its users.

use std::fmt;

use proxy_wasm::hostcalls::call_foreign_function;
use proxy_wasm::types::Status;

use crate::reply::{Key, Reply};

/// Why a call was refused. The codes are proxy-wasm's, and past 99 Forebay's own: 100 capability
/// denied, 101 phase denied, 102 limit exceeded, 103 timeout, 104 unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i32,
    pub message: String,
}

impl Refusal {
    pub const CAPABILITY_DENIED: i32 = 100;
    pub const PHASE_DENIED: i32 = 101;
    pub const LIMIT_EXCEEDED: i32 = 102;
    pub const TIMEOUT: i32 = 103;
    pub const UNAVAILABLE: i32 = 104;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}

/// What a reply or a property may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    /// Nanoseconds, of a duration or since the Unix epoch.
    Nanos(u64),
    Map(Vec<(Vec<u8>, Vec<u8>)>),
    List(Vec<Value>),
}

/// Packs the arguments of a call.
#[derive(Default)]
pub struct Arguments(Vec<u8>);

impl Arguments {
    pub fn new() -> Arguments {
        Arguments::default()
    }

    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn i64(mut self, number: i64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn f64(mut self, number: f64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut all = self.u32(bytes.len() as u32);
        all.0.extend(bytes);
        all
    }

    /// A thing that may be missing.
    pub fn maybe<T>(self, thing: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match thing {
            None => self.u8(0),
            Some(thing) => write(self.u8(1), thing),
        }
    }

    pub fn list<T>(self, things: impl ExactSizeIterator<Item = T>, write: impl FnMut(Self, T) -> Self) -> Self {
        let all = self.u32(things.len() as u32);
        things.fold(all, write)
    }
}

/// Reads the results of a call. A host that packs other than this crate expects is
/// [`Status::ParseFailure`].
pub struct Results {
    bytes: Vec<u8>,
    at: usize,
}

impl Results {
    fn take(&mut self, len: usize) -> Result<&[u8], Refusal> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len()).ok_or_else(broken)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| broken())
    }

    pub fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(u8::from_le_bytes(self.number()?))
    }

    pub fn u32(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    pub fn u64(&mut self) -> Result<u64, Refusal> {
        Ok(u64::from_le_bytes(self.number()?))
    }

    pub fn i64(&mut self) -> Result<i64, Refusal> {
        Ok(i64::from_le_bytes(self.number()?))
    }

    pub fn f64(&mut self) -> Result<f64, Refusal> {
        Ok(f64::from_le_bytes(self.number()?))
    }

    pub fn bytes(&mut self) -> Result<Vec<u8>, Refusal> {
        let len = self.u32()?;
        Ok(self.take(len as usize)?.to_vec())
    }

    pub fn text(&mut self) -> Result<String, Refusal> {
        String::from_utf8(self.bytes()?).map_err(|_| broken())
    }

    pub fn value(&mut self) -> Result<Value, Refusal> {
        Ok(match self.u8()? {
            0 => Value::Nil,
            1 => Value::Bytes(self.bytes()?),
            2 => Value::Int(self.i64()?),
            3 => Value::Bool(self.u8()? != 0),
            4 => Value::Nanos(self.u64()?),
            5 => Value::Map((0..self.u32()?).map(|_| Ok((self.bytes()?, self.bytes()?))).collect::<Result<_, _>>()?),
            6 => Value::List((0..self.u32()?).map(|_| self.value()).collect::<Result<_, _>>()?),
            _ => return Err(broken()),
        })
    }

    pub(crate) fn of(bytes: Vec<u8>) -> Results {
        Results { bytes, at: 0 }
    }

    /// The status that answers and replies begin with; refused, the text follows.
    pub(crate) fn checked(bytes: Vec<u8>) -> Result<Results, Refusal> {
        let mut results = Results { bytes, at: 0 };
        match i32::from_le_bytes(results.number()?) {
            0 => Ok(results),
            code => Err(Refusal { code, message: results.text()? }),
        }
    }
}

pub(crate) fn broken() -> Refusal {
    Refusal { code: Status::ParseFailure as i32, message: "the host packed its results in another way".to_owned() }
}

/// Makes a call of Forebay's by its import's name.
///
/// # Errors
/// As the call says; code 1 (not found) on another host.
pub fn call(name: &str, arguments: Arguments) -> Result<Results, Refusal> {
    match call_foreign_function(name, Some(&arguments.0)) {
        Ok(answer) => Results::checked(answer.unwrap_or_default()),
        Err(status) => Err(Refusal { code: status as i32, message: format!("{name}: refused by the host") }),
    }
}

/// Makes a call of Forebay's that gives the token of its reply, and reads what comes.
pub fn ask<T>(name: &str, arguments: Arguments, read: fn(Value) -> Result<T, Refusal>) -> Reply<T> {
    match call(name, arguments).and_then(|mut results| results.u32()) {
        Ok(token) => Reply::waiting(Key::Reply(token), read),
        Err(refusal) => Reply::refused(refusal),
    }
}

#[link(wasm_import_module = "env")]
extern "C" {
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, value: *mut *mut u8, size: *mut usize) -> i32;
}

/// proxy-wasm's buffer of what comes with a foreign function.
const CALL_DATA: u32 = 8;

/// What came with a callback of Forebay's.
pub(crate) fn call_data(size: usize) -> Vec<u8> {
    let (mut data, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: the host writes an address and a length to places of ours.
    let status = unsafe { proxy_get_buffer_bytes(CALL_DATA, 0, size, &mut data, &mut len) };
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host wrote `len` bytes into a block of that size, which it had this module's own
    // allocator (the `proxy-wasm` crate's `Vec`) make for them, and gave it away.
    unsafe { Vec::from_raw_parts(data, len, len) }
}
