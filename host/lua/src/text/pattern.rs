//! Lua patterns, as LuaJIT 2.1 understands them, in steps that can be stopped.
//!
//! A pattern ends at its first NUL, and reading past the end of the text gives NUL, as in the
//! C string functions that scripts were written for.

use std::ops::ControlFlow;

const MAX_CAPTURES: usize = 32;
/// Nested alternatives: each is a frame on our stack.
const MAX_DEPTH: u32 = 200;
/// Steps between two looks at the watchdog (a step takes a few nanoseconds).
const STEPS: u32 = 4096;
/// Characters of a set that are a step.
const CHARACTERS: usize = 4;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    EndsWithEscape,
    NoBracket,
    Unbalanced,
    Frontier,
    TooComplex,
    CaptureIndex,
    TooManyCaptures,
    Unfinished,
    NoCapture,
    /// The watchdog said so.
    Stopped,
}

impl Bad {
    pub fn message(self) -> &'static str {
        match self {
            Bad::EndsWithEscape => "malformed pattern (ends with '%')",
            Bad::NoBracket => "malformed pattern (missing ']')",
            Bad::Unbalanced => "unbalanced pattern",
            Bad::Frontier => "missing '[' after '%f' in pattern",
            Bad::TooComplex => "pattern too complex",
            Bad::CaptureIndex => "invalid capture index",
            Bad::TooManyCaptures => "too many captures",
            Bad::Unfinished => "unfinished capture",
            Bad::NoCapture => "invalid pattern capture",
            Bad::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Open(usize),
    Position(usize),
    Closed(usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    Span(usize, usize),
    /// An offset from 0.
    Position(usize),
}

/// A match, as offsets into the text.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub start: usize,
    pub end: usize,
    slots: [Slot; MAX_CAPTURES],
    level: usize,
}

impl Found {
    pub fn level(&self) -> usize {
        self.level
    }

    /// Capture `i` from 0; the first is the whole match where the pattern catches nothing.
    pub fn capture(&self, i: usize) -> Result<Capture, Bad> {
        if i >= self.level {
            return if i == 0 { Ok(Capture::Span(self.start, self.end)) } else { Err(Bad::CaptureIndex) };
        }
        match self.slots[i] {
            Slot::Open(_) => Err(Bad::Unfinished),
            Slot::Position(at) => Ok(Capture::Position(at)),
            Slot::Closed(start, end) => Ok(Capture::Span(start, end)),
        }
    }
}

pub struct Matcher<'a, F> {
    text: &'a [u8],
    pattern: &'a [u8],
    slots: [Slot; MAX_CAPTURES],
    level: usize,
    depth: u32,
    steps: u32,
    ask: F,
}

type Step = Result<Option<usize>, Bad>;

impl<'a, F: FnMut() -> ControlFlow<()>> Matcher<'a, F> {
    /// `ask` is called every few thousand steps; `Break` ends with [`Bad::Stopped`].
    pub fn new(text: &'a [u8], pattern: &'a [u8], ask: F) -> Self {
        Matcher { text, pattern, slots: [Slot::Position(0); MAX_CAPTURES], level: 0, depth: 0, steps: 0, ask }
    }

    /// A match that starts exactly at `start`.
    pub fn at(&mut self, start: usize) -> Result<Option<Found>, Bad> {
        self.level = 0;
        self.depth = 0;
        self.count(1)?;
        let end = self.run(start, 0)?;
        Ok(end.map(|end| Found { start, end, slots: self.slots, level: self.level }))
    }

    #[inline]
    fn count(&mut self, steps: usize) -> Result<(), Bad> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        if (self.ask)().is_break() { Err(Bad::Stopped) } else { Ok(()) }
    }

    #[inline]
    fn pat(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn chr(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn run(&mut self, s: usize, p: usize) -> Step {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Bad::TooComplex);
        }
        let end = self.items(s, p)?;
        self.depth -= 1;
        Ok(end)
    }

    /// Matches items one after the other: those that need no way back take no stack.
    fn items(&mut self, mut s: usize, mut p: usize) -> Step {
        loop {
            self.count(1)?;
            match self.pat(p) {
                0 => return Ok(Some(s)),
                b'(' if self.pat(p + 1) == b')' => return self.open(s, p + 2, Slot::Position(s)),
                b'(' => return self.open(s, p + 1, Slot::Open(s)),
                b')' => return self.close(s, p + 1),
                b'$' if self.pat(p + 1) == 0 => return Ok((s == self.text.len()).then_some(s)),
                b'%' => match self.pat(p + 1) {
                    b'b' => match self.balance(s, p + 2)? {
                        Some(end) => {
                            (s, p) = (end, p + 4);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    b'f' => {
                        if self.pat(p + 2) != b'[' {
                            return Err(Bad::Frontier);
                        }
                        let end = self.class_end(p + 2)?;
                        let before = if s == 0 { 0 } else { self.chr(s - 1) };
                        if self.in_set(before, p + 2, end - 1) || !self.in_set(self.chr(s), p + 2, end - 1) {
                            return Ok(None);
                        }
                        p = end;
                        continue;
                    }
                    digit @ b'0'..=b'9' => match self.again(s, digit)? {
                        Some(end) => {
                            (s, p) = (end, p + 2);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    _ => {}
                },
                _ => {}
            }
            let end = self.class_end(p)?;
            let one = s < self.text.len() && self.single(self.text[s], p, end);
            match self.pat(end) {
                b'?' => {
                    if one && let Some(done) = self.run(s + 1, end + 1)? {
                        return Ok(Some(done));
                    }
                    p = end + 1;
                }
                b'*' => return self.longest(s, p, end),
                b'+' => return if one { self.longest(s + 1, p, end) } else { Ok(None) },
                b'-' => return self.shortest(s, p, end),
                _ if one => (s, p) = (s + 1, end),
                _ => return Ok(None),
            }
        }
    }

    fn longest(&mut self, s: usize, p: usize, end: usize) -> Step {
        let mut last = s;
        let step = 1 + (end - p) / CHARACTERS;
        while last < self.text.len() && self.single(self.text[last], p, end) {
            last += 1;
            // Counted here too: no way back may be taken for a whole text.
            self.count(step)?;
        }
        loop {
            if let Some(done) = self.run(last, end + 1)? {
                return Ok(Some(done));
            }
            if last == s {
                return Ok(None);
            }
            last -= 1;
        }
    }

    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Step {
        loop {
            self.count((end - p) / CHARACTERS)?;
            if let Some(done) = self.run(s, end + 1)? {
                return Ok(Some(done));
            }
            if s < self.text.len() && self.single(self.text[s], p, end) {
                s += 1;
            } else {
                return Ok(None);
            }
        }
    }

    fn open(&mut self, s: usize, p: usize, slot: Slot) -> Step {
        if self.level >= MAX_CAPTURES {
            return Err(Bad::TooManyCaptures);
        }
        self.slots[self.level] = slot;
        self.level += 1;
        let end = self.run(s, p)?;
        if end.is_none() {
            self.level -= 1;
        }
        Ok(end)
    }

    fn close(&mut self, s: usize, p: usize) -> Step {
        let open = self.slots[..self.level].iter().rposition(|slot| matches!(slot, Slot::Open(_)));
        let open = open.ok_or(Bad::NoCapture)?;
        let Slot::Open(start) = self.slots[open] else { unreachable!("rposition found it open") };
        self.slots[open] = Slot::Closed(start, s);
        let end = self.run(s, p)?;
        if end.is_none() {
            self.slots[open] = Slot::Open(start);
        }
        Ok(end)
    }

    /// `%1` to `%9` in a pattern: the same text again.
    fn again(&mut self, s: usize, digit: u8) -> Step {
        let i = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let caught = match self.slots.get(i).filter(|_| i < self.level) {
            Some(Slot::Closed(start, end)) => &self.text[*start..*end],
            // LuaJIT compares a length of -2 as unsigned: it is never there.
            Some(Slot::Position(_)) => return Ok(None),
            _ => return Err(Bad::CaptureIndex),
        };
        let there = self.text[s..].starts_with(caught);
        let end = there.then_some(s + caught.len());
        self.count(caught.len() / 16)?;
        Ok(end)
    }

    fn balance(&mut self, s: usize, p: usize) -> Step {
        let (open, close) = (self.pat(p), self.pat(p + 1));
        if open == 0 || close == 0 {
            return Err(Bad::Unbalanced);
        }
        if self.chr(s) != open {
            return Ok(None);
        }
        let mut nested = 1;
        for at in s + 1..self.text.len() {
            self.count(1)?;
            if self.text[at] == close {
                nested -= 1;
                if nested == 0 {
                    return Ok(Some(at + 1));
                }
            } else if self.text[at] == open {
                nested += 1;
            }
        }
        Ok(None)
    }

    /// Where the single-character item at `p` ends. A set is read to its end here, and again for
    /// every character that it is held against.
    fn class_end(&mut self, p: usize) -> Result<usize, Bad> {
        let end = self.find_class_end(p)?;
        self.count((end - p) / CHARACTERS)?;
        Ok(end)
    }

    fn find_class_end(&self, mut p: usize) -> Result<usize, Bad> {
        match self.pat(p) {
            b'%' if self.pat(p + 1) == 0 => Err(Bad::EndsWithEscape),
            b'%' => Ok(p + 2),
            b'[' => {
                p += if self.pat(p + 1) == b'^' { 2 } else { 1 };
                loop {
                    let byte = self.pat(p);
                    if byte == 0 {
                        return Err(Bad::NoBracket);
                    }
                    p += 1;
                    if byte == b'%' && self.pat(p) != 0 {
                        p += 1;
                    }
                    if self.pat(p) == b']' {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    #[inline]
    fn single(&self, byte: u8, p: usize, end: usize) -> bool {
        match self.pat(p) {
            b'.' => true,
            b'%' => in_class(byte, self.pat(p + 1)),
            b'[' => self.in_set(byte, p, end - 1),
            plain => plain == byte,
        }
    }

    /// Whether `byte` is in the set whose `[` is at `p` and whose `]` is at `last`.
    fn in_set(&self, byte: u8, mut p: usize, last: usize) -> bool {
        let wanted = self.pat(p + 1) != b'^';
        if !wanted {
            p += 1;
        }
        loop {
            p += 1;
            if p >= last {
                return !wanted;
            }
            if self.pat(p) == b'%' {
                p += 1;
                if in_class(byte, self.pat(p)) {
                    return wanted;
                }
            } else if self.pat(p + 1) == b'-' && p + 2 < last {
                p += 2;
                if (self.pat(p - 2)..=self.pat(p)).contains(&byte) {
                    return wanted;
                }
            } else if self.pat(p) == byte {
                return wanted;
            }
        }
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let inside = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    inside == class.is_ascii_lowercase()
}
