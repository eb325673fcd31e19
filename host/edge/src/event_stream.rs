//! Server-sent events: where they begin and end in the bytes of a `text/event-stream`, as the HTML
//! standard reads it, and how one is written. Pure: bytes in, pieces out, which are the same bytes.

use abi::{Answer, Refusal, ServerEvent, Status};
use bytes::{Bytes, BytesMut};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Cuts a stream into pieces, however its bytes come.
#[derive(Default)]
pub struct Framer {
    /// From the beginning of the block that is being read.
    bytes: BytesMut,
    /// Where its current line begins, and how far that was looked at.
    line: usize,
    at: usize,
    fields: Fields,
    /// Past the place of a byte order mark.
    begun: bool,
    /// The last line ended with CR: an LF that follows belongs to that.
    after_cr: bool,
    ended: bool,
}

#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Nothing that a reader is told: comments, an id or a retry alone, what the end has cut off.
    Other(Bytes),
    /// One event, with its bytes as they came.
    Event(Bytes, ServerEvent),
}

#[derive(Default)]
struct Fields {
    event: Option<Vec<u8>>,
    /// With an LF behind each line.
    data: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    retry: Option<u64>,
}

impl Framer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing more comes: what is left is the last piece.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Bytes of the block that has not ended.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The next piece, if it is there whole.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if !self.begun {
            let may_be = self.bytes.len() < BOM.len() && BOM.starts_with(&self.bytes);
            if may_be && !self.ended {
                return None;
            }
            self.begun = true;
            if self.bytes.starts_with(BOM) {
                return Some(Piece::Other(self.bytes.split_to(BOM.len()).freeze()));
            }
        }
        loop {
            let Some(found) = memchr::memchr2(b'\r', b'\n', &self.bytes[self.at..]) else {
                self.at = self.bytes.len();
                return self.rest();
            };
            let end = self.at + found;
            let cr = self.bytes[end] == b'\r';
            let line = self.line..end;
            let ends_cr = !cr && self.after_cr && line.is_empty();
            // An LF that is here already goes with its CR.
            let next = if cr && self.bytes.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 1 };
            self.after_cr = cr && next == end + 1;
            if ends_cr {
                if line.start == 0 {
                    self.at = 0;
                    return Some(Piece::Other(self.bytes.split_to(1).freeze()));
                }
            } else if line.is_empty() {
                (self.line, self.at) = (0, 0);
                let raw = self.bytes.split_to(next).freeze();
                return Some(match std::mem::take(&mut self.fields).event() {
                    Some(event) => Piece::Event(raw, event),
                    None => Piece::Other(raw),
                });
            } else {
                self.fields.read(&self.bytes[line]);
            }
            (self.line, self.at) = (next, next);
        }
    }

    /// A block that the end of the stream cut off is no event.
    fn rest(&mut self) -> Option<Piece> {
        if !self.ended || self.bytes.is_empty() {
            return None;
        }
        (self.line, self.at) = (0, 0);
        Some(Piece::Other(self.bytes.split().freeze()))
    }
}

impl Fields {
    fn read(&mut self, line: &[u8]) {
        let colon = memchr::memchr(b':', line);
        let (name, value) = colon.map_or((line, &b""[..]), |colon| (&line[..colon], &line[colon + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.event = Some(value.to_vec()),
            b"data" => {
                let data = self.data.get_or_insert_default();
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"id" if !value.contains(&0) => self.id = Some(value.to_vec()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            // A comment, whose name is empty, or a field that nobody knows.
            _ => {}
        }
    }

    /// `None` if there was no data: a reader is told of nothing then.
    fn event(self) -> Option<ServerEvent> {
        let mut data = self.data?;
        data.pop();
        let bytes = |field: Option<Vec<u8>>| field.map(Bytes::from);
        Some(ServerEvent { event: bytes(self.event), data: data.into(), id: bytes(self.id), retry: self.retry })
    }
}

/// An event as it is sent. What would end a line in an event's name or id is refused; in the data it
/// begins a new `data` line.
pub fn write(event: &ServerEvent) -> Answer<Vec<u8>> {
    let mut out = Vec::with_capacity(event.data.len() + 32);
    for (name, value) in [("event", &event.event), ("id", &event.id)] {
        let Some(value) = value else { continue };
        if value.iter().any(|byte| b"\r\n\0".contains(byte)) {
            let text =
                format!("response.set_event: {name} is \"{}\" (allowed: one line without NUL)", value.escape_ascii());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        put(&mut out, name, value);
    }
    if let Some(retry) = event.retry {
        put(&mut out, "retry", retry.to_string().as_bytes());
    }
    let mut rest = &event.data[..];
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        put(&mut out, "data", &rest[..end]);
        let both = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(both)..];
    }
    put(&mut out, "data", rest);
    out.push(b'\n');
    Ok(out)
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Whether a response is an event stream whose bytes can be read as they are.
pub fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let first = |name| headers.get(name).map(http::HeaderValue::as_bytes);
    let kind = first(http::header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let coded = first(http::header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    kind.eq_ignore_ascii_case(b"text/event-stream") && !coded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that comes of `chunks`.
    fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece> {
        let (mut framer, mut pieces) = (Framer::default(), Vec::new());
        for chunk in chunks {
            framer.push(chunk);
            while let Some(piece) = framer.next_piece() {
                pieces.push(piece);
            }
        }
        framer.finish();
        pieces.extend(std::iter::from_fn(|| framer.next_piece()));
        assert_eq!(framer.held(), 0);
        pieces
    }

    fn events(pieces: &[Piece]) -> Vec<ServerEvent> {
        let event = |piece: &Piece| match piece {
            Piece::Event(_, event) => Some(event.clone()),
            Piece::Other(_) => None,
        };
        pieces.iter().filter_map(event).collect()
    }

    fn raw(pieces: &[Piece]) -> Vec<u8> {
        let bytes = |piece: &Piece| match piece {
            Piece::Event(bytes, _) | Piece::Other(bytes) => bytes.to_vec(),
        };
        pieces.iter().flat_map(bytes).collect()
    }

    fn event(name: Option<&str>, data: &str, id: Option<&str>, retry: Option<u64>) -> ServerEvent {
        let bytes = |text: Option<&str>| text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        ServerEvent { event: bytes(name), data: Bytes::copy_from_slice(data.as_bytes()), id: bytes(id), retry }
    }

    /// The standard's reading, written plainly and of the whole text at once.
    fn plainly(text: &[u8]) -> Vec<ServerEvent> {
        let text = text.strip_prefix(BOM).unwrap_or(text);
        let (mut lines, mut line, mut i) = (Vec::new(), Vec::new(), 0);
        while i < text.len() {
            match text[i] {
                b'\r' | b'\n' => {
                    i += usize::from(text[i] == b'\r' && text.get(i + 1) == Some(&b'\n'));
                    lines.push(std::mem::take(&mut line));
                }
                byte => line.push(byte),
            }
            i += 1;
        }
        let (mut events, mut fields) = (Vec::new(), Fields::default());
        for line in lines {
            if line.is_empty() {
                events.extend(std::mem::take(&mut fields).event());
            } else {
                fields.read(&line);
            }
        }
        events
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let text =
            b"\xef\xbb\xbf: hello\n\ndata: one\n\ndata\n\nevent: add\rdata:two\r\ndata:  three\nid: 7\nretry: 250\n\n\
            id: alone\n\nretry: x\nid: a\0b\nunknown: y\ndata: last\n:\n\ndata: cut";
        let wanted = [
            event(None, "one", None, None),
            event(None, "", None, None),
            event(Some("add"), "two\n three", Some("7"), Some(250)),
            event(None, "last", None, None),
        ];
        assert_eq!(events(&pieces([&text[..]])), wanted);
        assert_eq!(plainly(text), wanted);
    }

    #[test]
    fn an_event_is_there_with_its_last_byte_and_not_with_the_next() {
        for end in ["\n\n", "\r\r", "\r\n\r\n", "\n\r", "\r\n\n"] {
            let mut framer = Framer::default();
            let text = format!("data: x{end}");
            let cr_last = usize::from(end == "\r\n\r\n");
            for byte in text.as_bytes()[..text.len() - 1 - cr_last].iter() {
                framer.push(&[*byte]);
                assert_eq!(framer.next_piece(), None, "{text:?}");
            }
            framer.push(&text.as_bytes()[text.len() - 1 - cr_last..text.len() - cr_last]);
            assert!(matches!(framer.next_piece(), Some(Piece::Event(..))), "{text:?}");
        }
    }

    /// Any text, cut anywhere: the same bytes, and the events that the standard's reading finds.
    #[test]
    fn cuts_change_neither_bytes_nor_events() {
        let words: [&[u8]; 16] = [
            b"data", b"event", b"id", b"retry", b":", b": ", b" ", b"\r", b"\n", b"\r\n", b"\n\n", b"x", b"12", b"\0",
            BOM, b"\xff",
        ];
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let count = random.usize(..40);
            let text: Vec<u8> = (0..count).flat_map(|_| words[random.usize(..words.len())]).copied().collect();
            let mut chunks = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (chunk, more) = rest.split_at(random.usize(1..=rest.len().min(5)));
                chunks.push(chunk);
                rest = more;
            }
            let cut = pieces(chunks);
            assert_eq!(raw(&cut), text, "seed {seed}");
            assert_eq!(events(&cut), plainly(&text), "seed {seed}: {}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for seed in 0..5_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut text = |alphabet: &str| -> String {
                let letters: Vec<char> = alphabet.chars().collect();
                (0..random.usize(..12)).map(|_| letters[random.usize(..letters.len())]).collect()
            };
            let (name, data, id) = (text("ab: "), text("ab: \n\r"), text("17: "));
            let retry = id.is_empty().then_some(seed);
            let written = event(Some(&name), &data, Some(&id), retry);
            let bytes = write(&written).unwrap();
            let read = pieces([&bytes[..]]);
            assert_eq!(read.len(), 1, "seed {seed}");
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(events(&read), [event(Some(&name), &data, Some(&id), retry)], "seed {seed}");
        }
        assert_eq!(write(&event(Some("a\nb"), "", None, None)).unwrap_err().status, Status::BadArgument);
        assert_eq!(write(&event(None, "", Some("a\0"), None)).unwrap_err().status, Status::BadArgument);
    }
}
