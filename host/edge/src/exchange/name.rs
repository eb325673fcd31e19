//! Header names as plugins write them.
//!
//! A plugin names the same few headers in every exchange. To parse a name costs as much as to find the
//! header (letters are folded, a name that HTTP does not know is copied), so each worker keeps those that
//! were parsed last.

use std::cell::RefCell;

use http::HeaderName;

/// Names that a worker keeps; each has one place, so a plugin that makes names up only makes them slow.
const KEPT: usize = 128;
/// Longer names are not kept.
const LONGEST: usize = 64;

thread_local! {
    static NAMES: RefCell<[Option<HeaderName>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

/// Gives `with` the name, which is no copy; `None` if it is no header name.
#[inline]
pub fn with<T>(name: &[u8], with: impl FnOnce(&HeaderName) -> T) -> Option<T> {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return None };
    if name.len() > LONGEST {
        return HeaderName::from_bytes(name).ok().as_ref().map(with);
    }
    let middle = name[name.len() / 2];
    let mixed = [*first, middle, *last].iter().fold(name.len(), |sum, byte| sum * 31 + usize::from(*byte));
    NAMES.with_borrow_mut(|names| {
        let place = &mut names[mixed % KEPT];
        match place {
            // Written in another case it is no hit, and parsed.
            Some(kept) if kept.as_str().as_bytes() == name => Some(with(kept)),
            _ => Some(with(place.insert(HeaderName::from_bytes(name).ok()?))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &[u8]) -> Option<HeaderName> {
        with(name, HeaderName::clone)
    }

    #[test]
    fn a_name_is_what_http_reads_whoever_asked_before() {
        let names: [&[u8]; 9] =
            [b"x-id", b"X-Id", b"host", b"Content-Type", b"", b"a b", b"\xff", &[b'x'; 65], &[b'x'; 70_000]];
        for name in names.iter().chain(&names).chain(names.iter().rev()) {
            assert_eq!(parse(name), HeaderName::from_bytes(name).ok(), "{:?}", name.escape_ascii().to_string());
        }
    }

    #[test]
    fn names_that_share_a_place_stay_apart() {
        for round in 0..2 {
            for number in 0..10 * KEPT {
                let name = format!("x-{number}-{}", number % 7);
                assert_eq!(parse(name.as_bytes()).unwrap().as_str(), name, "round {round}");
            }
        }
    }
}
