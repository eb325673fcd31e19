//! Region files: read as written, checked as a whole, handed on as meant.
//!
//! - [`region`]: what a file means, with nothing left to check. The other crates see only this.

pub mod region;

pub use region::*;
