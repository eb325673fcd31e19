//! Lua values to JSON.

use std::io::{self, Write};

use abi::Status;

use super::{MAX_DEPTH, VALUES};
use crate::api::{Asked, Out, Reply};
use crate::kit::{PIECE, look, truth};
use crate::state::Kind;

/// `encode(value, {sorted})`: the text, or nil and why not.
pub fn encode(asked: Asked) -> Reply {
    let sorted = truth(&asked, 2, "json.encode", "sorted")?;
    asked.state.set_top(1);
    if asked.state.kind(1) == Kind::None {
        asked.state.push_nil();
    }
    let mut writing = Writing { asked, out: Vec::new(), sorted, values: 0 };
    match writing.value(0) {
        Ok(()) => {
            asked.state.push_bytes(&writing.out);
            Ok(1)
        }
        Err(Stop::Out(out)) => Err(out),
        Err(Stop::Bad(why)) => asked.failure(Status::BadArgument.name(), &format!("json.encode: {why}")),
    }
}

struct Writing {
    asked: Asked,
    out: Vec<u8>,
    sorted: bool,
    values: u32,
}

enum Stop {
    Out(Out),
    Bad(String),
}

impl From<Out> for Stop {
    fn from(out: Out) -> Stop {
        Stop::Out(out)
    }
}

fn bad<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Bad(why.into()))
}

impl Writing {
    /// Writes the value on top of the stack, which stays.
    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        let state = self.asked.state;
        self.values += 1;
        if self.values.is_multiple_of(VALUES) {
            look(&self.asked, self.out.len())?;
        }
        match state.kind(-1) {
            Kind::Nil | Kind::Userdata => self.out.extend_from_slice(b"null"),
            Kind::Boolean => self.out.extend_from_slice(if state.truth(-1) { b"true" } else { b"false" }),
            Kind::Number => self.number(state.number(-1))?,
            Kind::String => self.text(state.bytes(-1).unwrap_or_default())?,
            Kind::Table if depth == MAX_DEPTH => {
                return bad(format!("tables are nested more than {MAX_DEPTH} deep, or in themselves"));
            }
            Kind::Table => self.table(depth)?,
            other => return bad(format!("a {} has no form in JSON", other.name())),
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Stop> {
        /// Whole numbers up to here are written without a fraction and exact.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if !number.is_finite() {
            return bad(format!("the number {number} has no form in JSON"));
        }
        let written = if number.fract() == 0.0 && number.abs() <= WHOLE {
            write!(self.out, "{}", number as i64)
        } else {
            serde_json::to_writer(&mut self.out, &number).map_err(io::Error::from)
        };
        written.map_err(|error| Stop::Bad(error.to_string()))
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if let Err(error) = std::str::from_utf8(bytes) {
            return bad(format!("a string is no UTF-8, at byte {}", error.valid_up_to() + 1));
        }
        self.out.push(b'"');
        for piece in bytes.chunks(PIECE) {
            if bytes.len() > PIECE {
                look(&self.asked, self.out.len())?;
            }
            escape(piece, &mut self.out);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn table(&mut self, depth: usize) -> Result<(), Stop> {
        let state = self.asked.state;
        if !state.reserve(6) {
            return bad("no room on the stack: the call is nested too deep");
        }
        let marked = state.metatable(-1) && {
            state.push_kept(self.asked.vm.array.get());
            let same = state.same(-1, -2);
            state.pop(2);
            same
        };
        // `metatable` has pushed one that is not ours.
        let keys = self.keys()?;
        if keys.numbers == 0 && !(marked && keys.others == 0) {
            return self.object(depth, keys.others);
        }
        if keys.others > 0 {
            return bad("a table has both numbers and texts as keys");
        }
        if keys.numbers != keys.largest {
            let (numbers, largest) = (keys.numbers, keys.largest);
            return bad(format!("a list of {numbers} has its last item at {largest}: it has gaps"));
        }
        self.out.push(b'[');
        for at in 1..=keys.largest {
            if at > 1 {
                self.out.push(b',');
            }
            state.raw_get_index(-1, at as i32);
            self.value(depth + 1)?;
            state.pop(1);
        }
        self.out.push(b']');
        Ok(())
    }

    /// Which keys the table on top has.
    fn keys(&mut self) -> Result<Keys, Stop> {
        let state = self.asked.state;
        let mut keys = Keys { numbers: 0, largest: 0, others: 0 };
        state.push_nil();
        while state.next(-2) {
            state.pop(1);
            // For each: one that collides with all others takes as long as a thousand.
            look(&self.asked, self.out.len())?;
            match state.kind(-1) {
                Kind::String => keys.others += 1,
                Kind::Number => {
                    let number = state.number(-1);
                    if number.fract() != 0.0 || !(1.0..=f64::from(i32::MAX)).contains(&number) {
                        return bad(format!("a key is the number {number}; allowed: texts, or 1, 2, 3 …"));
                    }
                    keys.numbers += 1;
                    keys.largest = keys.largest.max(number as u32);
                }
                other => return bad(format!("a key is a {}; allowed: texts, or 1, 2, 3 …", other.name())),
            }
        }
        Ok(keys)
    }

    fn object(&mut self, depth: usize, keys: u32) -> Result<(), Stop> {
        let state = self.asked.state;
        self.out.push(b'{');
        if self.sorted {
            // The table keeps its keys alive while it is looked at.
            let mut names: Vec<&[u8]> = Vec::with_capacity(keys as usize);
            state.push_nil();
            while state.next(-2) {
                state.pop(1);
                names.push(state.bytes(-1).unwrap_or_default());
            }
            names.sort_unstable();
            for name in names {
                state.push_bytes(name);
                state.push_copy(-1);
                state.raw_get(-3);
                self.field(depth)?;
                state.pop(2);
            }
        } else {
            state.push_nil();
            while state.next(-2) {
                self.field(depth)?;
                state.pop(1);
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The field whose name and value are on top.
    fn field(&mut self, depth: usize) -> Result<(), Stop> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.text(self.asked.state.bytes(-2).unwrap_or_default())?;
        self.out.push(b':');
        self.value(depth + 1)
    }
}

struct Keys {
    numbers: u32,
    largest: u32,
    others: u32,
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match short {
            0 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            short => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&bytes[from..]);
}
