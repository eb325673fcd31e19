//! What a plugin is granted: the words of the configuration, and how they are held against.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::hostcall::Need;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plain {
    HttpRead,
    HttpWrite,
    HttpRespond,
    BodyRead,
    BodyWrite,
    PropertyRead,
    Metric,
    Timer,
    OriginSelect,
}

impl Plain {
    pub const ALL: [Plain; 9] = [
        Plain::HttpRead,
        Plain::HttpWrite,
        Plain::HttpRespond,
        Plain::BodyRead,
        Plain::BodyWrite,
        Plain::PropertyRead,
        Plain::Metric,
        Plain::Timer,
        Plain::OriginSelect,
    ];

    /// Whether it is granted where the configuration says nothing: what decides over the exchange
    /// itself is; what decides who else gets it is not.
    pub const fn by_default(self) -> bool {
        !matches!(self, Plain::OriginSelect)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    pub fn name(self) -> &'static str {
        match self {
            Plain::HttpRead => "http.read",
            Plain::HttpWrite => "http.write",
            Plain::HttpRespond => "http.respond",
            Plain::BodyRead => "body.read",
            Plain::BodyWrite => "body.write",
            Plain::PropertyRead => "property.read",
            Plain::Metric => "metric",
            Plain::Timer => "timer",
            Plain::OriginSelect => "origin.select",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Named {
    Callout,
    Dict,
    Limit,
    /// Another pool than the route's, to send requests to or to look at.
    Origin,
    Queue,
    Secret,
    ScaleHint,
    Kv,
}

impl Named {
    pub const ALL: [Named; 8] = [
        Named::Callout,
        Named::Dict,
        Named::Limit,
        Named::Origin,
        Named::Queue,
        Named::Secret,
        Named::ScaleHint,
        Named::Kv,
    ];

    /// The part before the colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Named::Callout => "callout",
            Named::Dict => "dict",
            Named::Limit => "limit",
            Named::Origin => "origin",
            Named::Queue => "queue",
            Named::Secret => "secret",
            Named::ScaleHint => "scale.hint",
            Named::Kv => "kv",
        }
    }
}

/// What one plugin on one route was granted. The default reaches no further than its own
/// exchange: the plain capabilities that are [`Plain::by_default`], no named one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    plain: u16,
    named: Arc<BTreeSet<(Named, String)>>,
}

/// The bits of the plain capabilities that need no word.
const DEFAULT: u16 = {
    let (mut bits, mut i) = (0, 0);
    while i < Plain::ALL.len() {
        if Plain::ALL[i].by_default() {
            bits |= Plain::ALL[i].bit();
        }
        i += 1;
    }
    bits
};

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities { plain: DEFAULT, named: Arc::default() }
    }
}

impl Capabilities {
    /// Reads a list as the configuration writes it. A list that names any plain capability of the
    /// default grants only the ones that it names; one that names none keeps them. All others
    /// are granted where they are named.
    /// The error is the word that is not a capability.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Capabilities, String> {
        let mut plain = 0;
        let mut named = BTreeSet::new();
        for word in words {
            if let Some(found) = Plain::ALL.into_iter().find(|p| p.name() == word) {
                plain |= found.bit();
                continue;
            }
            let grant = word.split_once(':').filter(|(_, name)| !name.is_empty()).and_then(|(prefix, name)| {
                Some((Named::ALL.into_iter().find(|n| n.prefix() == prefix)?, name.to_owned()))
            });
            named.insert(grant.ok_or_else(|| word.to_owned())?);
        }
        let plain = if plain & DEFAULT == 0 { plain | DEFAULT } else { plain };
        Ok(Capabilities { plain, named: Arc::new(named) })
    }

    /// Every spelling that [`Capabilities::parse`] takes, for error messages.
    pub fn spellings() -> Vec<String> {
        let plain = Plain::ALL.into_iter().map(|p| p.name().to_owned());
        plain.chain(Named::ALL.into_iter().map(|n| Need::Named(n).spelling().to_owned())).collect()
    }

    pub fn has(&self, plain: Plain) -> bool {
        self.plain & plain.bit() != 0
    }

    pub fn names(&self, named: Named, name: &str) -> bool {
        self.named.iter().any(|(n, granted)| *n == named && granted == name)
    }

    /// Every name that was granted of this kind.
    pub fn granted(&self, named: Named) -> impl Iterator<Item = &str> {
        self.named.iter().filter(move |(n, _)| *n == named).map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_capability_is_given_back() {
        assert_eq!(Capabilities::parse(["http.read", "dict:"]).unwrap_err(), "dict:");
        assert_eq!(Capabilities::parse(["callouts:x"]).unwrap_err(), "callouts:x");
        assert!(Capabilities::parse(["callout:authz"]).unwrap().has(Plain::HttpWrite));
    }

    #[test]
    fn what_reaches_past_the_exchange_is_granted_by_name_and_takes_nothing_away() {
        assert!(!Capabilities::default().has(Plain::OriginSelect));
        assert!(!Capabilities::parse(["origin:shop"]).unwrap().has(Plain::OriginSelect));
        let added = Capabilities::parse(["origin.select"]).unwrap();
        assert!(added.has(Plain::OriginSelect) && added.has(Plain::HttpWrite));
        let only = Capabilities::parse(["origin.select", "http.read"]).unwrap();
        assert!(only.has(Plain::OriginSelect) && only.has(Plain::HttpRead) && !only.has(Plain::HttpWrite));
    }
}
