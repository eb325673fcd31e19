//! A gRPC server in this process, over HTTP/2 with or without TLS. What it does is said by the method that
//! is called; what it saw is a list of lines.
//!
//! | method | |
//! | --- | --- |
//! | `Echo` | the message, with metadata before and after it |
//! | `Fail` | status 5 in trailers |
//! | `Only` | status 7 and nothing but trailers |
//! | `Never` | no answer |
//! | `Large` | a message of 2 MiB |
//! | `Compressed` | a message that says it is |
//! | `Proxy` | HTTP 503 |
//! | `Twice` | two messages |
//! | `None` | status 0 and no message |
//! | `Chat` | `re:` and the message, for each that comes; the count of them in trailers |
//! | `Break` | a message, then, when the next one or the end has come, a reset |
//! | `Flood` | messages without end |
//! | `Deaf` | reads nothing and answers nothing but metadata |

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::certificate::Certificate;
use crate::client_http2::header_map;
use crate::port::Port;
use crate::wait::{PATIENCE, wait_until};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Seen = Arc<Mutex<Vec<String>>>;

/// A listening server. It stops when it is dropped.
pub struct Grpc {
    pub address: SocketAddr,
    _port: Port,
    seen: Seen,
    _stop: oneshot::Sender<()>,
}

impl Grpc {
    pub fn start() -> Grpc {
        Grpc::serve(None)
    }

    /// For `localhost`, which is where it listens.
    pub fn start_tls(certificate: &Certificate, alpn: &[&[u8]]) -> Grpc {
        let mut config = certificate.server();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Grpc::serve(Some(Arc::new(config)))
    }

    fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> Grpc {
        let port = Port::free();
        // `localhost` may be another address than the other name of the same machine.
        let at = if tls.is_some() { format!("localhost:{}", port.address.port()) } else { port.address.to_string() };
        let (say_address, address) = std::sync::mpsc::channel();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let seen = Seen::default();
        let for_server = seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind(at).await.expect("nobody else has the port");
                say_address.send(listener.local_addr().expect("it is bound")).expect("the test waits for it");
                loop {
                    let socket = tokio::select! {
                        _ = &mut stopped => return,
                        accepted = listener.accept() => accepted.expect("a listener accepts").0,
                    };
                    let (seen, tls) = (for_server.clone(), tls.clone());
                    tokio::spawn(async move {
                        let Some(tls) = tls else { return connection(socket, seen).await };
                        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(socket).await {
                            connection(stream, seen).await;
                        }
                    });
                }
            });
        });
        let address = address.recv().expect("the server's thread says where it listens");
        Grpc { address, _port: port, seen, _stop: stop }
    }

    /// What it has seen: a line `METHOD HEADERS MESSAGE` for each call that was read, `METHOD reset CODE` or
    /// `METHOD dropped` for each that was given up.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str) -> String {
        wait_until(&format!("the gRPC server to see {what:?}"), PATIENCE, || {
            self.seen().into_iter().find(|line| line.contains(what))
        })
    }
}

async fn connection(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Seen) {
    let service = service_fn(move |request| exchange(request, seen.clone()));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(socket), service).await;
}

/// Says so if the exchange is given up.
struct Dropped(Option<(Seen, String)>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some((seen, method)) = self.0.take() {
            seen.lock().expect("not poisoned").push(format!("{method} dropped"));
        }
    }
}

async fn exchange(request: Request<Incoming>, seen: Seen) -> Result<Response<Sent>, Error> {
    let (head, body) = request.into_parts();
    let method = head.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let said = ["content-type", "te", "grpc-timeout", "x-ask", "traceparent"].map(|name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(|value| format!("{name}={value}")).unwrap_or_default()
    });
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut said: Vec<_> = said.into_iter().filter(|text| !text.is_empty()).collect();
    said.push(format!(":authority={authority} :path={}", head.uri.path()));
    let mut came = Came { body, held: BytesMut::new() };
    let (send, receive) = mpsc::channel(4);
    let response = Response::builder().header("content-type", "application/grpc").header("x-first", "one");
    let asked = async |came: &mut Came| {
        let message = came.message().await?.unwrap_or_default();
        let line = format!("{method} {} {}", said.join(" "), String::from_utf8_lossy(&message));
        seen.lock().expect("not poisoned").push(line);
        Ok::<_, Error>(message)
    };
    match &*method {
        "Only" => {
            asked(&mut came).await?;
            let only = response.header("grpc-status", "7").header("grpc-message", "not%20you");
            return Ok(only.body(Sent(None))?);
        }
        "Proxy" => return Ok(Response::builder().status(503).body(Sent(None))?),
        "Never" => {
            asked(&mut came).await?;
            let _dropped = Dropped(Some((seen.clone(), method.clone())));
            std::future::pending::<()>().await;
        }
        "Chat" | "Deaf" | "Flood" => {
            tokio::spawn(stream(method.clone(), came, send, seen));
            return Ok(response.body(Sent(Some(receive)))?);
        }
        _ => {}
    }
    let message = asked(&mut came).await?;
    let data = |flag, message: &[u8]| Ok(Frame::data(framed(flag, message)));
    let trailers = |status: &str, text: &str| {
        let text = [("grpc-status", status), ("grpc-message", text), ("x-last", "two")];
        Ok(Frame::trailers(header_map(&text.map(|(name, value)| (name.to_owned(), value.to_owned())))))
    };
    let frames: Vec<Result<Frame<Bytes>, Error>> = match &*method {
        "Echo" => vec![data(0, &message), trailers("0", "")],
        "Fail" => vec![trailers("5", "no%20such")],
        "Large" => vec![data(0, &vec![b'x'; 2 << 20]), trailers("0", "")],
        "Compressed" => vec![data(1, b"zip"), trailers("0", "")],
        "Twice" => vec![data(0, b"a"), data(0, b"b"), trailers("0", "")],
        "None" => vec![trailers("0", "")],
        "Break" => vec![data(0, b"half"), Err("broken on purpose".into())],
        _ => vec![trailers("12", "no such method")],
    };
    tokio::spawn(async move {
        for frame in frames {
            if frame.is_err() {
                // What was sent must not be overtaken.
                let _ = came.message().await;
            }
            if send.send(frame).await.is_err() {
                break;
            }
        }
    });
    Ok(response.body(Sent(Some(receive)))?)
}

/// The streams that go both ways, or one.
async fn stream(method: String, mut came: Came, send: mpsc::Sender<Result<Frame<Bytes>, Error>>, seen: Seen) {
    let see = |what: String| seen.lock().expect("not poisoned").push(format!("{method} {what}"));
    match &*method {
        "Flood" => {
            while send.send(Ok(Frame::data(framed(0, &[b'f'; 1000])))).await.is_ok() {}
            see("dropped".to_owned());
        }
        "Deaf" => {
            send.closed().await;
            see("dropped".to_owned());
        }
        _ => {
            let mut count = 0;
            loop {
                match came.message().await {
                    Ok(Some(message)) => {
                        count += 1;
                        let text = String::from_utf8_lossy(&message).into_owned();
                        see(format!("got {text}"));
                        let _ = send.send(Ok(Frame::data(framed(0, format!("re:{text}").as_bytes())))).await;
                    }
                    Ok(None) => {
                        see("ended".to_owned());
                        let trailers =
                            [("grpc-status".to_owned(), "0".to_owned()), ("x-count".to_owned(), count.to_string())];
                        let _ = send.send(Ok(Frame::trailers(header_map(&trailers)))).await;
                        return;
                    }
                    Err(error) => {
                        let why = std::error::Error::source(&*error).map(ToString::to_string);
                        return see(format!("reset {}", why.unwrap_or_else(|| error.to_string())));
                    }
                }
            }
        }
    }
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Messages of a request.
struct Came {
    body: Incoming,
    held: BytesMut,
}

impl Came {
    async fn message(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(prefix) = self.held.first_chunk::<5>() {
                assert_eq!(prefix[0], 0, "nothing is compressed");
                let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if self.held.len() >= 5 + len {
                    self.held.advance(5);
                    return Ok(Some(self.held.split_to(len).freeze()));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => self.held.extend_from_slice(&frame?.into_data().unwrap_or_default()),
            }
        }
    }
}

/// A body whose frames come one by one; none, and so nothing but headers, if there is no channel.
struct Sent(Option<mpsc::Receiver<Result<Frame<Bytes>, Error>>>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Some(receive) => receive.poll_recv(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
