//! What this host is, and our calls under their names as foreign functions: a module that
//! reaches them so has no import that another host lacks.

use abi::{Status, hostcall};

use super::{Guest, packed, time, zlib};
use crate::memory::{self, Outcome, refuse};

pub fn version(guest: &mut Guest<'_>, out: u32) -> Outcome {
    memory::answer_u32(guest, out, hostcall::VERSION)
}

/// Whether there is a hostcall of that name: the function's in Lua or the import's in Wasm.
pub fn has(guest: &mut Guest<'_>, at: u32, len: u32, out: u32) -> Outcome {
    let name = memory::text(memory::view(guest)?.0, at, len)?;
    let has = hostcall::has(name);
    memory::answer_u32(guest, out, has.into())
}

/// Numbers are little-endian: the version is a u32, `forebay_abi_has` takes the name and gives
/// 1 byte, `forebay_time_sleep` takes a u64 of nanoseconds and gives the token, a u32. All others
/// are [`packed`].
pub fn call(guest: &mut Guest<'_>, name: u32, name_len: u32, at: u32, len: u32, at_out: u32, len_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    // A timer must not be started whose token cannot be told.
    memory::bytes(data, at_out, 4)?;
    memory::bytes(data, len_out, 4)?;
    let argument = memory::bytes(data, at, len)?;
    let answer = match memory::bytes(data, name, name_len)? {
        b"forebay_abi_version" => hostcall::VERSION.to_le_bytes().to_vec(),
        b"forebay_abi_has" => vec![std::str::from_utf8(argument).is_ok_and(hostcall::has).into()],
        b"forebay_time_sleep" => match <[u8; 8]>::try_from(argument) {
            Ok(nanos) => time::start(guest, u64::from_le_bytes(nanos))?.to_le_bytes().to_vec(),
            Err(_) => {
                let text = "forebay_time_sleep takes 8 bytes: nanoseconds, little-endian";
                return refuse(Status::BadArgument, text);
            }
        },
        // Envoy's, for modules that were written for it. A route stands here from its beginning.
        b"clear_route_cache" => Vec::new(),
        b"compress" => zlib::compress(state, argument)?,
        b"uncompress" => zlib::uncompress(state, argument)?,
        name => match packed::foreign(state, name, argument)? {
            Some(answer) => answer,
            None => return refuse(Status::NotFound, "no such foreign function"),
        },
    };
    memory::give(guest, &answer, at_out, len_out)
}
