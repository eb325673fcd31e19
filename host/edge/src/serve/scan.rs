//! Reads along in the bytes of an HTTP/1.1 client, for the ambiguities that the HTTP library
//! resolves silently where the edge must refuse: a head with both `content-length` and
//! `transfer-encoding` (the library drops one), and lines that end in a bare line feed. It also
//! knows where heads begin and end, for the time limits.
//!
//! It need not judge anything else: what the library refuses never becomes a request. Where the
//! bytes make no sense it stops looking ([`State::Lost`]), because the library then ends the
//! connection.

/// Why a head must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    BothLengths,
    BareLineFeed,
}

impl Finding {
    pub fn detail(self) -> &'static str {
        match self {
            Finding::BothLengths => "content-length together with transfer-encoding",
            Finding::BareLineFeed => "a header line that ends in a bare line feed",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    /// Before the first byte of a head; empty lines are skipped.
    #[default]
    Between,
    Head,
    /// Bytes of a body with a length.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk and its line end.
    Chunk(u64),
    Trailers,
    Lost,
}

#[derive(Debug, Default)]
pub struct Scan {
    state: State,
    /// A line whose end has not come.
    carry: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    /// Complete heads.
    heads: u64,
}

impl Scan {
    pub fn new() -> Scan {
        Scan::default()
    }

    /// A head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.state == State::Head
    }

    /// Heads that have ended.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The next bytes. `find` gets the number of a head, counted from one, and what is wrong.
    pub fn read(&mut self, mut bytes: &[u8], mut find: impl FnMut(u64, Finding)) {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return,
                State::Body(left) => {
                    let n = left.min(bytes.len() as u64);
                    bytes = &bytes[n as usize..];
                    self.state = if left == n { State::Between } else { State::Body(left - n) };
                }
                State::Chunk(left) => {
                    let n = left.min(bytes.len() as u64);
                    bytes = &bytes[n as usize..];
                    self.state = if left == n { State::ChunkSize } else { State::Chunk(left - n) };
                }
                State::Between | State::Head | State::ChunkSize | State::Trailers => {
                    if self.state == State::Between && !matches!(bytes[0], b'\r' | b'\n') {
                        self.state = State::Head;
                    }
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.carry.extend_from_slice(bytes);
                        return;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = &rest[1..];
                    if self.carry.is_empty() {
                        self.line(line, &mut find);
                    } else {
                        let mut whole = std::mem::take(&mut self.carry);
                        whole.extend_from_slice(line);
                        self.line(&whole, &mut find);
                        whole.clear();
                        self.carry = whole;
                    }
                }
            }
        }
    }

    /// A line without its line feed.
    fn line(&mut self, line: &[u8], find: &mut impl FnMut(u64, Finding)) {
        let (line, whole) = match line.strip_suffix(b"\r") {
            Some(line) => (line, true),
            None => (line, false),
        };
        match self.state {
            State::Between => {}
            State::Head => {
                if !whole {
                    find(self.heads + 1, Finding::BareLineFeed);
                    self.state = State::Lost;
                } else if line.is_empty() {
                    self.end_head(find);
                } else {
                    self.header(line);
                }
            }
            State::ChunkSize => {
                let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
                self.state = match size.and_then(|size| size.checked_add(2)) {
                    Some(2) => State::Trailers,
                    Some(size) => State::Chunk(size),
                    None => State::Lost,
                };
            }
            State::Trailers if line.is_empty() => self.state = State::Between,
            State::Trailers => {}
            State::Body(_) | State::Chunk(_) | State::Lost => unreachable!("these are not read by lines"),
        }
    }

    fn header(&mut self, line: &[u8]) {
        // The two names differ from most others in their length and first letter alone.
        let is = |name: &[u8]| {
            line.len() > name.len() && line[name.len()] == b':' && line[..name.len()].eq_ignore_ascii_case(name)
        };
        match line[0] {
            b'c' | b'C' if is(b"content-length") => {
                let value = line[b"content-length:".len()..].trim_ascii();
                let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                // The library refuses what is no number, and numbers that differ.
                self.length = Some(value.unwrap_or(0));
            }
            b't' | b'T' if is(b"transfer-encoding") => self.chunked = true,
            _ => {}
        }
    }

    fn end_head(&mut self, find: &mut impl FnMut(u64, Finding)) {
        self.heads += 1;
        let length = self.length.take();
        let chunked = std::mem::take(&mut self.chunked);
        if chunked && length.is_some() {
            find(self.heads, Finding::BothLengths);
        }
        self.state = match length {
            _ if chunked => State::ChunkSize,
            Some(length) if length > 0 => State::Body(length),
            _ => State::Between,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` cut at every place; the findings and the number of heads must not depend
    /// on the cut.
    fn scan(bytes: &str) -> (Vec<(u64, Finding)>, u64, State) {
        let read = |parts: &[&[u8]]| {
            let mut scan = Scan::new();
            let mut found = Vec::new();
            parts.iter().for_each(|part| scan.read(part, |number, finding| found.push((number, finding))));
            (found, scan.heads, scan.state)
        };
        let whole = read(&[bytes.as_bytes()]);
        for cut in 1..bytes.len() {
            let (a, b) = bytes.as_bytes().split_at(cut);
            assert_eq!(read(&[a, b]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
        assert_eq!(read(&single), whole);
        whole
    }

    #[test]
    fn requests_in_a_row_are_told_apart() {
        let (found, heads, state) = scan(
            "GET / HTTP/1.1\r\nhost: h\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\n\n\
             POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nx: y\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        );
        assert_eq!((found, heads, state), (vec![], 4, State::Between));
    }

    #[test]
    fn both_lengths_are_found_in_either_order_and_at_the_right_head() {
        for lengths in
            ["Content-Length: 3\r\nTransfer-Encoding: chunked", "TRANSFER-ENCODING:chunked\r\ncontent-length:3"]
        {
            let (found, ..) = scan(&format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{lengths}\r\n\r\n0\r\n\r\n"));
            assert_eq!(found, [(2, Finding::BothLengths)]);
        }
        let (found, ..) = scan("POST / HTTP/1.1\r\nx-content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(found.is_empty());
    }

    #[test]
    fn a_bare_line_feed_in_a_head_is_found_and_one_in_a_body_is_not() {
        for head in ["GET / HTTP/1.1\nhost: h\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\n\r\n", "GET / HTTP/1.1\r\n\n"] {
            assert_eq!(scan(head).0, [(1, Finding::BareLineFeed)], "{head:?}");
        }
    }

    #[test]
    fn nonsense_is_left_to_the_library() {
        let (found, heads, state) = scan("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n\r\n\n\n");
        assert_eq!((found, heads, state), (vec![], 1, State::Lost));
    }
}
