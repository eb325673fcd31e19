//! What a plugin may be granted.

use super::{Wrong, form};
use crate::error::near_miss;

form! {
    /// What a plugin may reach: see `capabilities`.
    Capability(String), "http.read, http.write, http.respond, body.read, body.write, property.read, metric, timer, origin.select, callout:<pool>, dict:<name>, limit:<bucket>, origin:<pool>, queue:<name>, secret:<name>, scale.hint:<pool>, kv:<name>", {},
    |text| {
        let named = text.split_once(':').filter(|(_, name)| !name.is_empty());
        let known = match named {
            Some((prefix, _)) => NAMED_CAPABILITIES.contains(&prefix),
            None => PLAIN_CAPABILITIES.contains(&text),
        };
        if known {
            return Ok(text.to_owned());
        }
        let near = match named {
            Some((prefix, name)) => near_miss(prefix, NAMED_CAPABILITIES).map(|prefix| format!("{prefix}:{name}")),
            None if NAMED_CAPABILITIES.contains(&text.trim_end_matches(':')) => {
                Some(format!("{}:<name>", text.trim_end_matches(':')))
            }
            None => near_miss(text, PLAIN_CAPABILITIES),
        };
        Err(Wrong::near(near))
    }
}

/// As `abi` spells them, which this crate may not import; the edge's tests hold them together.
pub const PLAIN_CAPABILITIES: [&str; 9] = [
    "http.read",
    "http.write",
    "http.respond",
    "body.read",
    "body.write",
    "property.read",
    "metric",
    "timer",
    "origin.select",
];
/// These take a name after a colon: `callout:shop`.
pub const NAMED_CAPABILITIES: [&str; 8] = ["callout", "dict", "limit", "origin", "queue", "secret", "scale.hint", "kv"];
