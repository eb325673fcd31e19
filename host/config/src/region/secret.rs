//! Secrets: values that plugins may use and never read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One secret, read when the file was.
#[derive(Clone, Debug)]
pub struct Secret {
    pub name: String,
    pub source: SecretSource,
    /// Where a callout may carry it. Empty: wherever the plugin may call.
    pub targets: Vec<String>,
    pub value: SecretValue,
}

/// Where the value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The path is absolute.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

/// The value. Nothing shows it: not `Debug`, no error, no view of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroed>);

/// Overwritten when the last of those who hold it is gone, so that freed memory does not keep it.
#[derive(PartialEq, Eq)]
struct Zeroed(Vec<u8>);

impl SecretValue {
    pub fn new(bytes: Vec<u8>) -> SecretValue {
        SecretValue(Arc::new(Zeroed(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        self.0.fill(0);
        // What is about to be freed must still be written: the optimiser may not know better.
        std::hint::black_box(&self.0);
    }
}
