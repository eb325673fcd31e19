//! Reads along in the frames of an HTTP/2 connection, one direction of it: where header blocks
//! begin and end, for their time limit, and how much data has passed. What a frame says is the
//! library's affair; a client that sends no frames is ended by it.

/// What an HTTP/2 client sends before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The head of a frame, without the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Head {
    length: u32,
    kind: u8,
    flags: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Preface(usize),
    /// So many bytes of a frame's head are there.
    Head(usize),
    Payload {
        kind: u8,
        ends_block: bool,
        left: usize,
    },
}

#[derive(Debug)]
pub struct Frames {
    state: State,
    head: [u8; 9],
    /// A header block has begun and not ended.
    in_block: bool,
    /// Header blocks that have ended.
    blocks: u64,
    /// Bytes of data frames.
    data: u64,
}

impl Frames {
    /// Of a client, which sends the preface first.
    pub fn received() -> Frames {
        Frames { state: State::Preface(PREFACE.len()), ..Frames::sent() }
    }

    pub fn sent() -> Frames {
        Frames { state: State::Head(0), head: [0; 9], in_block: false, blocks: 0, data: 0 }
    }

    pub fn in_block(&self) -> bool {
        self.in_block || matches!(self.state, State::Preface(_))
    }

    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    pub fn data(&self) -> u64 {
        self.data
    }

    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Preface(left) => {
                    let n = left.min(bytes.len());
                    bytes = &bytes[n..];
                    self.state = if left == n { State::Head(0) } else { State::Preface(left - n) };
                }
                State::Head(have) => {
                    let n = (self.head.len() - have).min(bytes.len());
                    self.head[have..have + n].copy_from_slice(&bytes[..n]);
                    bytes = &bytes[n..];
                    self.state = State::Head(have + n);
                    if have + n == self.head.len() {
                        self.begin();
                    }
                }
                State::Payload { kind, ends_block, left } => {
                    let n = left.min(bytes.len());
                    bytes = &bytes[n..];
                    if kind == DATA {
                        self.data += n as u64;
                    }
                    self.state = State::Payload { kind, ends_block, left: left - n };
                    if left == n {
                        self.end(ends_block);
                    }
                }
            }
        }
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        let head = Head { length: u32::from_be_bytes([0, a, b, c]), kind, flags };
        let of_block = matches!(head.kind, HEADERS | CONTINUATION);
        self.in_block |= of_block;
        let ends_block = of_block && head.flags & END_HEADERS != 0;
        self.state = State::Payload { kind, ends_block, left: head.length as usize };
        if head.length == 0 {
            self.end(ends_block);
        }
    }

    fn end(&mut self, ends_block: bool) {
        if ends_block {
            self.in_block = false;
            self.blocks += 1;
        }
        self.state = State::Head(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn blocks_and_data_are_seen_however_the_bytes_are_cut() {
        let mut bytes = PREFACE.to_vec();
        for part in [
            frame(4, 0, b"123456"),
            frame(HEADERS, END_HEADERS, b"abc"),
            frame(DATA, 0, b"hello"),
            frame(DATA, 1, b""),
            frame(HEADERS, 0, b"ab"),
            frame(CONTINUATION, 0, b""),
            frame(CONTINUATION, END_HEADERS, b""),
            frame(6, 0, b"12345678"),
            frame(HEADERS, 0, b"more is to come"),
        ] {
            bytes.extend(part);
        }
        for size in [1, 2, 5, 9, 24, 1000] {
            let mut frames = Frames::received();
            let mut told = Vec::new();
            for part in bytes.chunks(size) {
                frames.read(part);
                told.push(frames.in_block());
            }
            assert_eq!((frames.blocks(), frames.data(), frames.in_block()), (2, 5, true), "{size}");
            assert!(size > 9 || told.contains(&false), "between blocks: {size}");
        }
    }

    #[test]
    fn a_preface_that_is_not_whole_is_a_head_that_has_not_ended() {
        let mut frames = Frames::received();
        frames.read(&PREFACE[..5]);
        assert!(frames.in_block());
        frames.read(&PREFACE[5..]);
        assert!(!frames.in_block());
    }
}
