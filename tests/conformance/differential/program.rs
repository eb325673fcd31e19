//! What a program is: a request, what the origin answers, and the operations of each callback. Who writes
//! them picks from what is odd. Long because of its lists of what that is.

use std::collections::BTreeMap;
use std::fmt;

/// Some bytes, so often: a long value is short in a program.
#[derive(Clone, Debug, PartialEq)]
struct Text(Vec<u8>, usize);

impl Text {
    fn bytes(&self) -> Vec<u8> {
        self.0.repeat(self.1)
    }

    /// As the interpreters read it.
    fn word(&self) -> String {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.1 == 1 { hex } else { format!("{hex}~{}", self.1) }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())?;
        if self.1 == 1 { Ok(()) } else { write!(f, " * {}", self.1) }
    }
}

/// One operation: the letter of its callback, its name, its arguments.
#[derive(Clone, Debug)]
struct Operation {
    callback: char,
    name: &'static str,
    arguments: Vec<Text>,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Text),
    /// The trailers behind it.
    Chunked(Vec<Text>, Vec<Header>),
}

type Header = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug)]
struct Message {
    first: String,
    headers: Vec<Header>,
    body: Body,
}

#[derive(Clone, Debug)]
pub struct Program {
    request: Message,
    answer: Message,
    operations: Vec<Operation>,
}

impl Message {
    fn bytes(&self, more: &[Header]) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first).into_bytes();
        for (name, value) in more.iter().chain(&self.headers) {
            bytes.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
        }
        match &self.body {
            Body::None => bytes.extend(b"\r\n"),
            Body::Length(body) => {
                let body = body.bytes();
                bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend(body);
            }
            Body::Chunked(chunks, trailers) => {
                let names: Vec<_> = trailers.iter().map(|(name, _)| name.as_slice()).collect();
                if !names.is_empty() {
                    bytes.extend([b"trailer: ", names.join(&b","[..]).as_slice(), b"\r\n"].concat());
                }
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                chunks.iter().for_each(|chunk| bytes.extend(harness::http1::chunk(&chunk.bytes())));
                bytes.extend(b"0\r\n");
                for (name, value) in trailers {
                    bytes.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
                }
                bytes.extend(b"\r\n");
            }
        }
        bytes
    }

    /// The same with one thing less.
    fn smaller(&self) -> Vec<Message> {
        let mut all: Vec<_> = without_one(&self.headers).map(|headers| Message { headers, ..self.clone() }).collect();
        let bodies = match &self.body {
            Body::None => vec![],
            Body::Length(text) => vec![Body::None, Body::Length(Text(text.0.clone(), 1))],
            Body::Chunked(chunks, trailers) => {
                let fewer = without_one(chunks).map(|chunks| Body::Chunked(chunks, trailers.clone()));
                let less = without_one(trailers).map(|trailers| Body::Chunked(chunks.clone(), trailers));
                std::iter::once(Body::None).chain(fewer).chain(less).collect()
            }
        };
        all.extend(bodies.into_iter().map(|body| Message { body, ..self.clone() }));
        all.retain(|one| one.bytes(&[]) != self.bytes(&[]));
        all
    }
}

fn without_one<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    (0..all.len()).map(|at| [&all[..at], &all[at + 1..]].concat())
}

impl Program {
    pub fn request(&self, id: &str) -> Vec<u8> {
        let words: Vec<_> = self.operations.iter().map(Operation::words).collect();
        // Its id is told here, so that the edges do not make one each.
        let own = [
            ("x-id", id.to_owned()),
            ("x-request-id", id.to_owned()),
            ("x-program", words.join(" ")),
            ("connection", "close, te".to_owned()),
        ];
        self.request.bytes(&own.map(|(name, value)| (name.into(), value.into())))
    }

    pub fn answer(&self) -> Vec<u8> {
        self.answer.bytes(&[(b"connection".to_vec(), b"close".to_vec())])
    }

    /// The names of the operations of one callback.
    pub fn operations(&self, callback: &str) -> Vec<&'static str> {
        let own = self.operations.iter().filter(|operation| callback == operation.callback.to_string());
        own.map(|operation| operation.name).collect()
    }

    /// Programs with one thing less.
    pub fn smaller(&self) -> Vec<Program> {
        let fewer = without_one(&self.operations).map(|operations| Program { operations, ..self.clone() });
        // Without a host it is no request.
        let is_one = |message: &Message| message.headers.iter().any(|(name, _)| name == b"Host");
        let asked =
            self.request.smaller().into_iter().filter(is_one).map(|request| Program { request, ..self.clone() });
        let answered = self.answer.smaller().into_iter().map(|answer| Program { answer, ..self.clone() });
        fewer.chain(asked).chain(answered).collect()
    }
}

impl Operation {
    fn words(&self) -> String {
        let words = [self.callback.to_string(), self.name.to_owned()].into_iter();
        words.chain(self.arguments.iter().map(Text::word)).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| {
            let text = bytes.escape_ascii().to_string();
            if text.len() <= 400 { text } else { format!("{}... ({} bytes)", &text[..400], bytes.len()) }
        };
        writeln!(f, "  the client sends {}", short(&self.request.bytes(&[])))?;
        writeln!(f, "  the origin answers {}", short(&self.answer.bytes(&[])))?;
        for operation in &self.operations {
            let callback = match operation.callback {
                'Q' => "on_request_headers",
                'B' => "on_request_body",
                'T' => "on_request_trailers",
                'R' => "on_response_headers",
                'S' => "on_response_body",
                'U' => "on_response_trailers",
                _ => "on_log",
            };
            let noun = match operation.name {
                "get" | "pairs" | "set" | "add" | "remove" => MAPS.get(usize::from(operation.arguments[0].0[0] - b'0')),
                "body" | "write" => SIDES.get(usize::from(operation.arguments[0].0[0] - b'0')),
                _ => None,
            };
            let skipped = usize::from(noun.is_some());
            let arguments: Vec<_> = operation.arguments[skipped..].iter().map(Text::to_string).collect();
            let noun = noun.map_or(String::new(), |noun| format!("{noun} "));
            writeln!(f, "  {callback}: {noun}{} {}", operation.name, arguments.join(", "))?;
        }
        Ok(())
    }
}

/// How many programs had each operation in each callback.
#[derive(Default)]
pub struct Counts(BTreeMap<(char, &'static str), u32>, u32);

impl Counts {
    pub fn count(&mut self, program: &Program) {
        self.1 += 1;
        for operation in &program.operations {
            *self.0.entry((operation.callback, operation.name)).or_default() += 1;
        }
    }

    pub fn assert_all_were_there(&self) {
        for (callback, name) in
            CALLBACKS.iter().flat_map(|callback| allowed(*callback).map(move |name| (*callback, name)))
        {
            assert!(self.0.contains_key(&(callback, name)), "no program had {name} in {callback}: {self}");
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} programs, {} operations:", self.1, self.0.values().sum::<u32>())?;
        self.0.iter().try_for_each(|((callback, name), n)| write!(f, " {callback}.{name} {n}"))
    }
}

/// One for each callback, in the order in which they come.
const CALLBACKS: [char; 7] = ['Q', 'B', 'T', 'R', 'S', 'U', 'L'];

/// What can be done in a callback. Wasm's SDK waits in header callbacks alone, and what is asked of a body
/// `whole` stands first and in body callbacks alone.
fn allowed(callback: char) -> impl Iterator<Item = &'static str> {
    let all = ["get", "pairs", "set", "add", "remove", "body", "write", "respond", "close", "continue"];
    let more = match callback {
        'Q' | 'R' => Some("sleep"),
        'B' | 'S' => Some("whole"),
        _ => None,
    };
    // `continue` is refused in `on_log` only, where there is nothing to end.
    all.into_iter().filter(move |name| callback != 'L' || *name != "continue").chain(more)
}

/// Header maps and bodies, by the numbers that proxy-wasm gives them.
const MAPS: [&str; 4] = ["request.headers", "request.trailers", "response.headers", "response.trailers"];
const SIDES: [&str; 2] = ["request", "response"];

const NAMES: &[&[u8]] = &[
    b"x-a",
    b"X-A",
    b"x-b",
    b"x-c",
    b"X-Many",
    b"x-many",
    b"",
    b":path",
    b":method",
    b":authority",
    b":scheme",
    b":status",
    b":Status",
    b":nothing",
    b":",
    b"host",
    b"Host",
    b"content-length",
    b"Content-Length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"keep-alive",
    b"te",
    b"trailer",
    b"x y",
    b"x:y",
    b" x-a",
    b"x-a\r\nx-b",
    b"x-\xc3\xa9",
    b"\xff",
    b"x\0y",
    b"cookie",
    b"set-cookie",
    b"date",
    b"via",
    b"server",
    b"x-forwarded-for",
    b"x-request-id",
    b"traceparent",
    b"authorization",
    b"vary",
    b"cache-control",
    b"accept-encoding",
    b"_",
    b"x_a",
    b"proxy-connection",
];

const VALUES: &[&[u8]] = &[
    b"v",
    b"",
    b"another",
    b" v ",
    b"a,b",
    b"a, b",
    b"\t",
    b"\x01",
    b"\x7f",
    b"a\nb",
    b"a\r\nx-c: d",
    b"a\0b",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"0",
    b"5",
    b"-1",
    b"18446744073709551616",
    b"chunked",
    b"trailers",
    b"GET",
    b"POST",
    b"HEAD",
    b"CONNECT",
    b"get",
    b"G T",
    b"/p?q=1",
    b"/",
    b"*",
    b"p",
    b"/%2e%2e/x",
    b"/a b",
    b"/\xc3\xa9",
    b"//x",
    b"/#f",
    b"http://else/p",
    b"http",
    b"https",
    b"gopher",
    b"else:80",
    b"else:99999",
    b"[::1]",
    b"user@else",
    b"200",
    b"204",
    b"304",
    b"404",
    b"101",
    b"99",
    b"600",
    b"2000",
];

pub struct Writer(fastrand::Rng);

impl Writer {
    pub fn new(seed: u64) -> Writer {
        Writer(fastrand::Rng::with_seed(seed))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }

    fn number(&mut self) -> Text {
        let number = self.one(&[0, 0, 1, 2, 3, 5, 100, 4096, 100_000, 2_147_483_647]);
        Text(number.to_string().into_bytes(), 1)
    }

    fn name(&mut self) -> Text {
        match self.0.u8(..20) {
            // Most of what is done is done to few names.
            0..9 => Text(self.one(&NAMES[..6]).to_vec(), 1),
            9..18 => Text(self.one(NAMES).to_vec(), 1),
            18 => Text(b"x-long".to_vec(), self.one(&[10, 100, 11_000])),
            _ => Text((0..self.0.usize(1..6)).map(|_| self.0.u8(..)).collect(), 1),
        }
    }

    fn value(&mut self) -> Text {
        match self.0.u8(..20) {
            0..6 => Text(self.one(&VALUES[..3]).to_vec(), 1),
            6..17 => Text(self.one(VALUES).to_vec(), 1),
            17 => Text(b"long ".to_vec(), self.one(&[10, 200, 2000, 220_000])),
            _ => Text((0..self.0.usize(1..6)).map(|_| self.0.u8(..)).collect(), 1),
        }
    }

    fn bytes(&mut self) -> Text {
        match self.0.u8(..8) {
            0 => Text(Vec::new(), 1),
            1..5 => Text(self.one(&[&b"abc"[..], b"b", b"\0\xff\r\n\r\n", b"0\r\n\r\n", b"data: x\n\n"]).to_vec(), 1),
            5 | 6 => Text(b"0123456789".to_vec(), self.one(&[3, 50, 300])),
            // About the limit `buffer`. Three of them come at once: how long ones arrive is for the kernel to say.
            _ => Text(b"0123456789".to_vec(), self.one(&[819, 820, 1000])),
        }
    }

    /// Headers that a client or an origin may send.
    fn headers(&mut self) -> Vec<Header> {
        let names: &[&[u8]] = &[b"x-a", b"X-A", b"x-b", b"X-Many", b"x-many", b"cookie", b"set-cookie", b"x-c", b"TE"];
        let values: &[&[u8]] = &[b"v", b"", b"another", b"a,b", b"\xff", b"\xc3\xa9", b"trailers"];
        (0..self.0.usize(..6)).map(|_| (self.one(names).to_vec(), self.one(values).to_vec())).collect()
    }

    fn trailers(&mut self) -> Vec<Header> {
        if self.0.bool() {
            return Vec::new();
        }
        let names: &[&[u8]] = &[b"x-a", b"X-Many", b"x-b", b"x-many", b"x-c"];
        (0..self.0.usize(1..4))
            .map(|_| (self.one(names).to_vec(), self.one(&[&b"v"[..], b"", b"w"]).to_vec()))
            .collect()
    }

    fn body(&mut self) -> Body {
        match self.0.u8(..4) {
            0 => Body::None,
            1 => Body::Length(self.bytes()),
            _ => {
                let chunks = (0..self.0.usize(..4)).map(|_| self.bytes()).filter(|text| !text.0.is_empty());
                Body::Chunked(chunks.collect(), self.trailers())
            }
        }
    }

    fn operation(&mut self, callback: char, name: &'static str) -> Operation {
        let own = CALLBACKS.iter().position(|one| *one == callback).unwrap_or(0);
        // Of the callback's own, or of any.
        let map = match self.0.u8(..6) {
            0 => self.0.usize(..4),
            _ => [0, 0, 1, 2, 2, 3, 2][own],
        };
        let side = if self.0.u8(..8) == 0 { self.0.usize(..2) } else { [0, 0, 0, 1, 1, 1, 1][own] };
        let digit = |n: usize| Text(n.to_string().into_bytes(), 1);
        let arguments = match name {
            "get" | "remove" => vec![digit(map), self.name()],
            "pairs" => vec![digit(map)],
            "set" | "add" => vec![digit(map), self.name(), self.value()],
            "body" => vec![digit(side), self.number(), self.number()],
            "write" => vec![digit(side), self.number(), self.number(), self.bytes()],
            "respond" => {
                let status = self.one(&[200, 204, 304, 403, 418, 599, 503, 100, 199, 600, 0]);
                let mut all = vec![digit(status), self.name(), self.bytes()];
                all.extend((0..self.0.usize(..3)).map(|_| self.value()));
                all
            }
            _ => vec![],
        };
        Operation { callback, name, arguments }
    }

    fn operations(&mut self, callback: char) -> Vec<Operation> {
        let ordinary = ["get", "pairs", "set", "set", "add", "add", "remove", "body", "write", "write"];
        let rare: Vec<_> = allowed(callback).filter(|name| !ordinary.contains(name) && *name != "whole").collect();
        let mut all = Vec::new();
        if matches!(callback, 'B' | 'S') && self.0.u8(..3) == 0 {
            all.push(self.operation(callback, "whole"));
        }
        for _ in 0..self.0.usize(..5) {
            let name = if self.0.u8(..12) == 0 { self.one(&rare) } else { self.one(&ordinary) };
            all.push(self.operation(callback, name));
        }
        all
    }

    pub fn program(&mut self) -> Program {
        let method = self.one(&["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"]);
        let target = self.one(&["/", "/a", "/a?b=c", "/%41", "/a/../b"]);
        let mut request =
            Message { first: format!("{method} {target} HTTP/1.1"), headers: self.headers(), body: self.body() };
        request.headers.push((b"Host".to_vec(), self.one(&[&b"test"[..], b"Test:80", b"a.b"]).to_vec()));
        let status = self.one(&[200, 200, 200, 201, 404, 204]);
        let first = format!("HTTP/1.1 {status} Said");
        let body = if status == 204 { Body::None } else { self.body() };
        let answer = Message { first, headers: self.headers(), body };
        let operations = CALLBACKS.iter().flat_map(|callback| self.operations(*callback)).collect();
        let mut program = Program { request, answer, operations };
        program.keep_to_what_both_can();
        program
    }
}

impl Program {
    /// A guest of proxy-wasm that waits for the end of a body is not told of it before the trailers, and by
    /// then they are what it is asked about: so no body is read whole that has some.
    fn keep_to_what_both_can(&mut self) {
        for (callback, message) in [('B', &self.request), ('S', &self.answer)] {
            if matches!(&message.body, Body::Chunked(_, trailers) if !trailers.is_empty()) {
                self.operations.retain(|operation| (operation.callback, operation.name) != (callback, "whole"));
            }
        }
        // A response without a length and without chunks ends with its connection, which nobody sends on purpose.
        if matches!(self.answer.body, Body::None) && !self.answer.first.contains(" 204 ") {
            self.answer.body = Body::Length(Text(Vec::new(), 1));
        }
    }
}
