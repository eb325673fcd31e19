//! What is left of the limits.

use std::collections::HashMap;

use crate::packed::{self, Arguments, Refusal};

/// What is left now of each limit, by its key in the region file: seconds (`cpu` of this callback,
/// `exchange_cpu`, `wall`), bytes (`memory`, `buffer`), counts (`callouts`, `kv_calls`, `log_lines`, `metrics`).
///
/// # Errors
/// Code 1 (not found) on another host.
pub fn remaining() -> Result<HashMap<String, f64>, Refusal> {
    let mut results = packed::call("forebay_limits_remaining", Arguments::new())?;
    let count = results.u32()?;
    (0..count).map(|_| Ok((results.text()?, results.f64()?))).collect()
}
