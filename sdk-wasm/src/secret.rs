//! Secrets: values that a plugin may use and never read.

use std::fmt;

use crate::packed::{self, Arguments, Refusal};

/// A secret that was granted. What this module holds of it is a text that stands for it, and that
/// only the host gives a meaning, in the headers of this plugin's own callouts.
pub struct Secret {
    name: String,
    mark: String,
}

/// A hash for [`Secret::hmac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// The secret `name`.
///
/// # Errors
/// [`Refusal::CAPABILITY_DENIED`] without the capability `secret:<name>`; code 1 (not found) on
/// another host.
pub fn get(name: &str) -> Result<Secret, Refusal> {
    let mark = packed::call("forebay_secret_mark", Arguments::new().bytes(name.as_bytes()))?.text()?;
    Ok(Secret { name: name.to_owned(), mark })
}

impl Secret {
    /// A header value for `dispatch_http_call`: the secret behind `before`, such as `"Bearer "` or
    /// nothing. In any other place it is a text without meaning.
    pub fn header(&self, before: &str) -> String {
        format!("{before}{}", self.mark)
    }

    /// The HMAC of `data`, keyed by the secret.
    ///
    /// # Errors
    /// As [`get`].
    pub fn hmac(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        let algorithm = match algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        };
        let arguments = Arguments::new().bytes(self.name.as_bytes()).bytes(algorithm.as_bytes()).bytes(data);
        packed::call("forebay_secret_hmac", arguments)?.bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret({})", self.name)
    }
}
