//! What is left of a plugin's limits.

use abi::Answer;

use super::packed::{Reader, Writer};
use crate::state::State;

/// `forebay_limits_remaining`: no arguments; gives a list of names of limits, and what is left of each
/// now (an f64: seconds, bytes, counts).
pub fn remaining(state: &State, _: &mut Reader<'_>) -> Answer<Writer> {
    let mut left = state.host().remaining()?;
    left.extend(state.left());
    let mut list = Writer::default();
    list.u32(left.len() as u32);
    for (limit, left) in left {
        list.bytes(limit.name().as_bytes()).f64(left);
    }
    Ok(list)
}
