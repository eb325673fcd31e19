//! An HTTP/2 client with prior knowledge or over TLS, which a test calls without being async itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::http1::{Headers, Response};
use crate::wait::PATIENCE;

/// One connection. Its streams only move while a method of it runs.
pub struct Http2 {
    runtime: Runtime,
    send: SendRequest<Frames>,
}

/// One request: headers, body and trailers.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Ask {
    pub fn get(path: &str) -> Ask {
        Ask { method: "GET".to_owned(), path: path.to_owned(), ..Ask::default() }
    }

    pub fn post(path: &str, body: &[u8]) -> Ask {
        Ask { method: "POST".to_owned(), path: path.to_owned(), body: body.to_vec(), ..Ask::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Ask {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Http2 {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Http2 {
        Http2::over(async {
            TcpStream::connect(address).await.unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
        })
    }

    /// Over TLS, as `localhost`; what `config` offers is HTTP/2.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, config: rustls::ClientConfig) -> Http2 {
        Http2::over(async move {
            let socket = TcpStream::connect(address).await.expect("a connection");
            let name = ServerName::try_from("localhost").expect("localhost is a name");
            let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a TLS handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "the server speaks HTTP/2");
            stream
        })
    }

    #[track_caller]
    fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: impl Future<Output = S>) -> Http2 {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let send = runtime.block_on(async {
            let stream = TokioIo::new(stream.await);
            let (send, connection) = handshake(TokioExecutor::new(), stream).await.expect("an HTTP/2 handshake");
            tokio::spawn(connection);
            send
        });
        Http2 { runtime, send }
    }

    /// Sends it and reads the whole response.
    pub fn ask(&mut self, ask: Ask) -> Result<Response, hyper::Error> {
        self.ask_all(vec![ask]).pop().expect("one request has one response")
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(Ask::get(path)).unwrap_or_else(|e| panic!("GET {path} over HTTP/2: {e}"))
    }

    /// All of them at once on this connection; the responses in the order of the requests.
    pub fn ask_all(&mut self, asks: Vec<Ask>) -> Vec<Result<Response, hyper::Error>> {
        let Http2 { runtime, send } = self;
        runtime.block_on(async {
            let running: Vec<_> = asks.into_iter().map(|ask| tokio::spawn(exchange(send.clone(), ask))).collect();
            let mut answers = Vec::new();
            for one in running {
                let one = tokio::time::timeout(PATIENCE, one).await.expect("an answer over HTTP/2 in time");
                answers.push(one.expect("the exchange's task ends"));
            }
            answers
        })
    }
}

async fn exchange(mut send: SendRequest<Frames>, ask: Ask) -> Result<Response, hyper::Error> {
    let mut request = Request::builder().method(ask.method.as_str()).uri(format!("http://test{}", ask.path));
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(Frames::new(ask.body, &ask.trailers)).expect("the test's request is HTTP");
    send.ready().await?;
    let response = send.send_request(request).await?;
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(headers).unwrap_or_default();
    Ok(Response {
        status: head.status.as_u16(),
        headers: headers(&head.headers),
        body: collected.to_bytes().to_vec(),
        trailers,
        interim: Vec::new(),
    })
}

pub(crate) fn headers(map: &HeaderMap) -> Headers {
    let text = |v: &hyper::header::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    Headers(map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect())
}

pub(crate) fn header_map(pairs: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name: hyper::header::HeaderName = name.parse().expect("the test's header name is one");
        map.append(name, value.parse().expect("the test's header value is one"));
    }
    map
}

/// A body whose frames are all there already.
pub(crate) struct Frames(pub std::vec::IntoIter<Frame<Bytes>>);

impl Frames {
    pub(crate) fn new(data: Vec<u8>, trailers: &[(String, String)]) -> Frames {
        let mut frames = Vec::new();
        if !data.is_empty() {
            frames.push(Frame::data(Bytes::from(data)));
        }
        if !trailers.is_empty() {
            frames.push(Frame::trailers(header_map(trailers)));
        }
        Frames(frames.into_iter())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.next().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.len() == 0
    }
}
