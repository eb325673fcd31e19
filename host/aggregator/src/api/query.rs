//! The part of an address behind the `?`, read strictly: a word that is not known is refused, since
//! whoever wrote it would take the answer for something else.

use jiff::Timestamp;

/// Words and their values, each word once and one of those that are allowed.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub fn read(text: &str, allowed: &[&str]) -> Result<Query, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
            let word = decode(word)?;
            if !allowed.contains(&word.as_str()) {
                return Err(match allowed {
                    [] => format!("`{word}`; nothing may be asked here"),
                    [one] => format!("`{word}`; allowed is {one}"),
                    [most @ .., last] => format!("`{word}`; allowed are {} and {last}", most.join(", ")),
                });
            }
            if pairs.iter().any(|(other, _)| *other == word) {
                return Err(format!("`{word}` is given twice"));
            }
            pairs.push((word, decode(value)?));
        }
        Ok(Query { pairs })
    }

    pub fn get(&self, word: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == word).map(|(_, value)| value.as_str())
    }

    pub fn instant(&self, word: &str) -> Result<Option<Timestamp>, String> {
        let read = |text: &str| {
            let refuse = |_| format!("{word} `{text}`; allowed is an instant such as 2026-01-31T18:00:00Z");
            text.parse().map_err(refuse)
        };
        self.get(word).map(read).transpose()
    }

    pub fn count(&self, word: &str) -> Result<Option<usize>, String> {
        let read = |text: &str| text.parse().map_err(|_| format!("{word} `{text}`; allowed is a whole number"));
        self.get(word).map(read).transpose()
    }
}

/// `%3A` and such. A `+` stands for itself: offsets of times have one.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.ok_or_else(|| format!("`{text}`: a `%` is followed by two hexadecimal digits"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_not_known_is_refused() {
        let query = Query::read("at=2026-01-31T18%3A00:00+01:00&limit=7&pool=a%20b", &["at", "limit", "pool"]).unwrap();
        assert_eq!(query.instant("at").unwrap().unwrap().to_string(), "2026-01-31T17:00:00Z");
        assert_eq!((query.count("limit"), query.get("pool")), (Ok(Some(7)), Some("a b")));
        assert_eq!(query.get("other"), None);
        for (text, says) in [
            ("att=1", "`att`; allowed are at and to"),
            ("at=1&at=2", "`at` is given twice"),
            ("at=%2", "two hexadecimal digits"),
            ("at=%ff", "not UTF-8"),
        ] {
            let refused = Query::read(text, &["at", "to"]).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
        let refused = Query::read("at=noon", &["at"]).unwrap().instant("at").unwrap_err();
        assert!(refused.contains("at `noon`") && refused.contains("2026-01-31T18:00:00Z"), "{refused}");
        assert!(Query::read("x=1", &[]).unwrap_err().contains("nothing may be asked"));
    }
}
