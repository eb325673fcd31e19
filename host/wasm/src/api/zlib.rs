//! The foreign functions `compress` and `uncompress` of Envoy, in zlib's format. What they take and give may
//! be as large as the plugin's limit `buffer`; their time is the guest's.

use abi::{Refusal, Status};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus, StreamResult};

use crate::budget;
use crate::memory::{Outcome, refuse};
use crate::state::State;

/// What is done between two looks at the clock.
const PIECE: usize = 32 << 10;
/// zlib's own default.
const LEVEL: i32 = 6;

pub fn compress(state: &mut State, input: &[u8]) -> Outcome<Vec<u8>> {
    let most = state.backstop.buffer;
    if input.len() > most {
        return refuse(Status::LimitExceeded, over("compress: takes", most));
    }
    let mut to = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, 1, 0)));
    // It never grows by much.
    run(state, input, usize::MAX, |piece, last, out| {
        deflate(&mut to, piece, out, if last { MZFlush::Finish } else { MZFlush::None })
    })
}

pub fn uncompress(state: &mut State, input: &[u8]) -> Outcome<Vec<u8>> {
    let most = state.backstop.buffer;
    let mut from = InflateState::new_boxed(DataFormat::Zlib);
    run(state, input, most, |piece, _, out| inflate(&mut from, piece, out, MZFlush::None))
}

fn over(what: &str, most: usize) -> String {
    format!("{what} more than {most} bytes (limit buffer)")
}

fn run(
    state: &mut State,
    input: &[u8],
    most: usize,
    mut step: impl FnMut(&[u8], bool, &mut [u8]) -> StreamResult,
) -> Outcome<Vec<u8>> {
    let (mut rest, mut all, mut piece) = (input, Vec::new(), vec![0; PIECE]);
    loop {
        budget::afford(state)?;
        let taken = rest.len().min(PIECE);
        let done = step(&rest[..taken], taken == rest.len(), &mut piece);
        rest = &rest[done.bytes_consumed..];
        all.extend_from_slice(&piece[..done.bytes_written]);
        if all.len() > most {
            return refuse(Status::LimitExceeded, over("uncompress: gives", most));
        }
        if done.status == Ok(MZStatus::StreamEnd) {
            return Ok(all);
        }
        if done.bytes_consumed == 0 && done.bytes_written == 0 {
            Err(Refusal::new(Status::SerializationFailure, "uncompress: not in zlib's format, or not all of it"))?;
        }
    }
}
