//! The section `secrets`.

use super::form::{FilePath, Name, Text};
use super::value::keys;

keys! {
    /// A value that plugins may use and never read: one of `file` and `env` is given.
    pub struct Secret {
        /// A name, unique in the file; plugins are granted it as `secret:<name>`.
        required name: Name,
        /// A file that holds the value and nothing else; a line end behind it is cut off.
        optional file: FilePath,
        /// An environment variable that holds the value.
        optional env: Text,
        /// Where a callout may carry it. Default: wherever the plugin may call.
        list targets: Name,
    }
}
