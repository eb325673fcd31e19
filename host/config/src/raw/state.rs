//! What plugins of all workers share: the section `dicts`.

use super::form::{Name, Size};
use super::value::keys;
use crate::region;

keys! {
    /// A dictionary that plugins of all workers share.
    pub struct Dict {
        /// A name, unique in the section: that of `dict:<name>`, or of a plugin for its own.
        required name: Name,
        /// Bytes of keys and values, with 64 for each entry; past it what was used longest ago goes.
        default bytes: Size = region::Dict::BYTES,
    }
}
