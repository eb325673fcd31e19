//! The string functions that LuaJIT's own make uninterruptible: `find`, `match`, `gsub` with a
//! replacement text, and the step that `gmatch` and the other forms of `gsub` are built on in
//! the prelude. They ask the watchdog as they go, so a hostile pattern ends at the deadline.

pub mod pattern;

use std::ops::ControlFlow;

use memchr::memmem;

use crate::api::{Asked, Out, Reply};
use crate::state::Kind;
use crate::vm::Vm;
use pattern::{Bad, Capture, Found, Matcher};

/// Bytes that a plain search looks through at once, and of a needle that it looks for at once.
const PIECE: usize = 64 << 10;
const HEAD: usize = 1 << 10;
/// Bytes between two looks at the watchdog.
const LOOK: usize = 256 << 10;
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// `find(s, pattern, init, plain)`
pub fn find(asked: Asked) -> Reply {
    let (text, pattern) = (asked.text(1, "string.find", "s")?, asked.text(2, "string.find", "pattern")?);
    let start = start(&asked, text.len(), "string.find")?;
    if asked.state.truth(4) || memchr_free(pattern) {
        match plain(&asked, &text[start..], pattern)? {
            Some(at) => {
                asked.state.push_number((start + at + 1) as f64);
                asked.state.push_number((start + at + pattern.len()) as f64);
                return Ok(2);
            }
            None => return asked.nil(),
        }
    }
    let Some(found) = seek(&asked, text, pattern, start)? else { return asked.nil() };
    asked.state.push_number((found.start + 1) as f64);
    asked.state.push_number(found.end as f64);
    Ok(2 + captures(&asked, text, &found, false, found.level())?)
}

/// `match(s, pattern, init)`
pub fn first_match(asked: Asked) -> Reply {
    let (text, pattern) = (asked.text(1, "string.match", "s")?, asked.text(2, "string.match", "pattern")?);
    let start = start(&asked, text.len(), "string.match")?;
    let Some(found) = seek(&asked, text, pattern, start)? else { return asked.nil() };
    captures(&asked, text, &found, true, found.level())
}

/// `step(s, pattern, init, anchors, first)`: start and end of the first match from `init` on, then
/// its captures (the whole match if there are none), or the `first` alone. Without `anchors` a
/// `^` is a plain character.
pub fn step(asked: Asked) -> Reply {
    let (text, pattern) = (asked.text(1, "string.gmatch", "s")?, asked.text(2, "string.gmatch", "pattern")?);
    // Before anything is pushed where a missing argument would be looked for.
    let first = asked.state.truth(5);
    let start = start(&asked, text.len() + 1, "string.gmatch")?;
    if start > text.len() {
        return asked.nil();
    }
    let found = if asked.state.truth(4) {
        seek(&asked, text, pattern, start)?
    } else {
        scan(&asked, text, pattern, start, false)?
    };
    let Some(found) = found else { return asked.nil() };
    asked.state.push_number((found.start + 1) as f64);
    asked.state.push_number(found.end as f64);
    Ok(2 + captures(&asked, text, &found, true, if first { 1 } else { found.level() })?)
}

/// `gsub(s, pattern, replacement, max)` where the replacement is a text.
pub fn gsub(asked: Asked) -> Reply {
    let (text, pattern) = (asked.text(1, "string.gsub", "s")?, asked.text(2, "string.gsub", "pattern")?);
    let replacement = asked.text(3, "string.gsub", "replacement")?;
    let max = match asked.state.kind(4) {
        Kind::Nil | Kind::None => text.len() + 1,
        _ if asked.state.is_number(4) => asked.state.number(4).max(0.0) as usize,
        _ => return Err(asked.wrong(4, "string.gsub", "n", "a number, or nil")),
    };
    let (pattern, anchored) = match pattern.split_first() {
        Some((b'^', rest)) => (rest, true),
        _ => (pattern, false),
    };
    let mut matcher = matcher(&asked, text, pattern);
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut count) = (0, 0);
    while count < max {
        let found = matcher.at(at);
        let found = answer(&asked, found)?;
        if let Some(found) = &found {
            count += 1;
            substitute(&asked, text, found, replacement, &mut out)?;
        }
        match found {
            Some(found) if found.end > at => at = found.end,
            _ if at < text.len() => {
                out.push(text[at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
    asked.state.push_bytes(&out);
    asked.state.push_number(count as f64);
    Ok(2)
}

/// Where `needle` begins in `text`. A piece at a time, and only the head of a long needle by the
/// search that prepares itself: both take longer than a deadline may be passed by, with megabytes.
fn plain(asked: &Asked, text: &[u8], needle: &[u8]) -> Result<Option<usize>, Out> {
    let (head, rest) = needle.split_at(needle.len().min(HEAD));
    if text.len() <= PIECE && rest.is_empty() {
        return Ok(memmem::find(text, needle));
    }
    let finder = memmem::Finder::new(head);
    let (mut from, mut work) = (0, 0);
    loop {
        let to = text.len().min(from + PIECE);
        match finder.find(&text[from..to]) {
            Some(at) => {
                let after = &text[from + at + head.len()..];
                if after.len() < rest.len() {
                    return Ok(None);
                }
                if after.starts_with(rest) {
                    return Ok(Some(from + at));
                }
                work += at + needle.len();
                from += at + 1;
            }
            None if to == text.len() => return Ok(None),
            None => {
                work += PIECE;
                // What lies across the end of this piece is in the next one.
                from = to + 1 - head.len();
            }
        }
        if work >= LOOK {
            work = 0;
            if asked.vm.kill().is_some() {
                return Err(asked.killed());
            }
        }
    }
}

/// Adds the replacement for one match: `%0` to `%9` stand for what it caught. Each can stand for
/// the whole text, so the limit is looked at for each.
fn substitute(asked: &Asked, text: &[u8], found: &Found, replacement: &[u8], out: &mut Vec<u8>) -> Result<(), Out> {
    let mut bytes = replacement.iter().copied();
    while let Some(byte) = bytes.next() {
        if out.len() > asked.vm.heap.piece() {
            return Err(asked.out_of_memory());
        }
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(&text[found.start..found.end]),
            Some(digit @ b'1'..=b'9') => match found.capture(usize::from(digit - b'1')) {
                Ok(Capture::Span(start, end)) => out.extend_from_slice(&text[start..end]),
                Ok(Capture::Position(at)) => out.extend_from_slice((at + 1).to_string().as_bytes()),
                Err(bad) => return Err(asked.error(bad.message())),
            },
            // LuaJIT reads the NUL after the text here.
            other => out.push(other.unwrap_or(0)),
        }
    }
    if out.len() > asked.vm.heap.piece() {
        return Err(asked.out_of_memory());
    }
    Ok(())
}

/// Whether a pattern is plain text (it has none of the characters that mean something).
fn memchr_free(pattern: &[u8]) -> bool {
    !pattern.iter().any(|b| SPECIALS.contains(b))
}

/// The third argument as an offset from 0, at most `end`.
fn start(asked: &Asked, end: usize, function: &str) -> Result<usize, Out> {
    match asked.state.kind(3) {
        Kind::None | Kind::Nil => Ok(0),
        Kind::Number | Kind::String if asked.state.is_number(3) => {
            // As LuaJIT makes an integer of it.
            let init = asked.state.number(3).trunc();
            let from = if init < 0.0 { end as f64 + init } else { init - 1.0 };
            Ok((from.max(0.0) as usize).min(end))
        }
        _ => Err(asked.wrong(3, function, "init", "a number")),
    }
}

fn seek(asked: &Asked, text: &[u8], pattern: &[u8], start: usize) -> Result<Option<Found>, Out> {
    match pattern.split_first() {
        Some((b'^', rest)) => scan(asked, text, rest, start, true),
        _ => scan(asked, text, pattern, start, false),
    }
}

fn scan(asked: &Asked, text: &[u8], pattern: &[u8], start: usize, anchored: bool) -> Result<Option<Found>, Out> {
    let mut matcher = matcher(asked, text, pattern);
    let last = if anchored { start } else { text.len() };
    for at in start..=last {
        if let Some(found) = answer(asked, matcher.at(at))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn matcher<'a>(asked: &Asked, text: &'a [u8], pattern: &'a [u8]) -> Matcher<'a, impl FnMut() -> ControlFlow<()>> {
    let vm: &Vm = asked.vm;
    Matcher::new(text, pattern, move || match vm.kill() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    })
}

fn answer(asked: &Asked, found: Result<Option<Found>, Bad>) -> Result<Option<Found>, Out> {
    found.map_err(|bad| match bad {
        Bad::Stopped => asked.killed(),
        bad => asked.error(bad.message()),
    })
}

/// Pushes what was caught, at most `most` of it; the whole match if nothing was and `whole`.
fn captures(asked: &Asked, text: &[u8], found: &Found, whole: bool, most: usize) -> Reply {
    let level = found.level().min(most);
    if level == 0 && whole {
        asked.state.push_bytes(&text[found.start..found.end]);
        return Ok(1);
    }
    // A script can call from the very end of its stack, or with thousands of arguments: then
    // there is room for the 20 values that every call has, and captures may be more.
    if level > 12 && !asked.state.reserve(level as i32) {
        return Err(asked.error("stack overflow: no room for what the pattern caught"));
    }
    for i in 0..level {
        match found.capture(i) {
            Ok(Capture::Span(start, end)) => asked.state.push_bytes(&text[start..end]),
            Ok(Capture::Position(at)) => asked.state.push_number((at + 1) as f64),
            Err(bad) => return Err(asked.error(bad.message())),
        }
    }
    Ok(level as i32)
}
