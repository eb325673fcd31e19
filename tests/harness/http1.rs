//! HTTP/1.1 messages on a socket, written and read by hand: a library would refuse to send what
//! the edge has to refuse, and would hide the framing that the edge has to keep.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection in clear or in TLS.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Headers in their order, names as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// The first line of a message and its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub first_line: String,
    pub headers: Headers,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// The 1xx responses before it.
    pub interim: Vec<Head>,
}

/// How long the body of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// One end of a connection, and the body that is being read from it.
pub struct Messages {
    pub stream: Box<dyn Stream>,
    /// The socket under `stream`.
    pub socket: TcpStream,
    buffer: Vec<u8>,
    body: Body,
}

enum Body {
    Left(u64),
    Chunked,
    UntilClose,
    Done(Headers),
}

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn parse(lines: &str) -> io::Result<Headers> {
        let broken = |line: &str| io::Error::new(ErrorKind::InvalidData, format!("not a header: {line:?}"));
        lines
            .split("\r\n")
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| broken(line))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()
            .map(Headers)
    }
}

impl Head {
    /// Of a request: `GET`.
    pub fn method(&self) -> &str {
        self.first_line.split(' ').next().unwrap_or_default()
    }

    /// Of a request: `/path?query`.
    pub fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// Of a response; 0 if it is none.
    pub fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn framing(&self, without: Framing) -> Framing {
        if self.headers.all("transfer-encoding").iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunked;
        }
        match self.headers.get("content-length").and_then(|v| v.parse().ok()) {
            Some(length) => Framing::Length(length),
            None => without,
        }
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

impl Messages {
    pub fn new(stream: Box<dyn Stream>, socket: TcpStream) -> Messages {
        Messages { stream, socket, buffer: Vec::new(), body: Body::Done(Headers::default()) }
    }

    pub fn on(socket: TcpStream) -> io::Result<Messages> {
        socket.set_nodelay(true)?;
        Ok(Messages::new(Box::new(socket.try_clone()?), socket))
    }

    /// How long a read may take before it is an error.
    pub fn patience(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).expect("a timeout above zero can be set");
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 << 10];
        let n = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        self.buffer.drain(..n).collect()
    }

    /// The bytes up to and with `mark`; `None` if the other end closed before the first.
    fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|w| w == mark) {
                return Ok(Some(self.take(at + mark.len())));
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(bytes) = self.until(b"\r\n\r\n")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (first_line, headers) = text.split_once("\r\n").unwrap_or((&text, ""));
        Ok(Some(Head { first_line: first_line.to_owned(), headers: Headers::parse(headers)? }))
    }

    fn begin_body(&mut self, framing: Framing) {
        self.body = match framing {
            Framing::Length(0) => Body::Done(Headers::default()),
            Framing::Length(length) => Body::Left(length),
            Framing::Chunked => Body::Chunked,
            Framing::UntilClose => Body::UntilClose,
        };
    }

    /// The next request, its body still to be read; `None` when the client has closed.
    pub fn request_head(&mut self) -> io::Result<Option<Head>> {
        let head = self.head()?;
        if let Some(head) = &head {
            self.begin_body(head.framing(Framing::Length(0)));
        }
        Ok(head)
    }

    /// The next response to a request with `method`, its body still to be read. A 1xx is one too.
    pub fn response_head(&mut self, method: &str) -> io::Result<Head> {
        let head = self.head()?.ok_or(ErrorKind::UnexpectedEof)?;
        let none = method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304);
        let framing = if none { Framing::Length(0) } else { head.framing(Framing::UntilClose) };
        self.begin_body(framing);
        Ok(head)
    }

    /// The next piece of the body: a whole chunk if it is chunked. `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.body {
            Body::Done(_) => Ok(None),
            Body::UntilClose => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    self.body = Body::Done(Headers::default());
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
            Body::Left(left) => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let n = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - n as u64;
                self.body = if left == 0 { Body::Done(Headers::default()) } else { Body::Left(left) };
                Ok(Some(self.take(n)))
            }
            Body::Chunked => self.chunk_of_chunked(),
        }
    }

    fn chunk_of_chunked(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.until(b"\r\n")?.ok_or(ErrorKind::UnexpectedEof)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let digits = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("not a chunk size: {line:?}")))?;
        if size == 0 {
            let mut lines = String::new();
            loop {
                let line = self.until(b"\r\n")?.ok_or(ErrorKind::UnexpectedEof)?;
                if line == b"\r\n" {
                    break;
                }
                lines.push_str(&String::from_utf8_lossy(&line));
            }
            self.body = Body::Done(Headers::parse(&lines)?);
            return Ok(None);
        }
        while self.buffer.len() < size + 2 {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let mut chunk = self.take(size + 2);
        chunk.truncate(size);
        Ok(Some(chunk))
    }

    /// The rest of the body.
    pub fn body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// What came after the last chunk.
    pub fn trailers(&self) -> Headers {
        match &self.body {
            Body::Done(trailers) => trailers.clone(),
            _ => Headers::default(),
        }
    }

    /// The next whole response, with the 1xx before it.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.response_head(method)?;
            if matches!(head.status(), 100 | 102..=199) {
                interim.push(head);
                continue;
            }
            let body = self.body()?;
            return Ok(Response {
                status: head.status(),
                headers: head.headers,
                body,
                trailers: self.trailers(),
                interim,
            });
        }
    }

    /// Bytes as they come, after an upgrade.
    pub fn raw(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(n))
    }

    /// Whatever is still to come until the other end closes or resets.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e),
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }
}

/// One chunk as it stands on the wire.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}
