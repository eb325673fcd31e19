//! An HTTP connection of the control thread: for reports, health checks and warm-up. Simple
//! where the workers' client is fast: whole bodies, one request at a time.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Whom a link connects to: `host:port`, looked up anew for each connection.
pub struct Link {
    authority: String,
    /// Speak HTTP/2 with prior knowledge.
    http2: bool,
    /// Bytes of a response body; a longer one is an error.
    limit: usize,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// The other side cannot have acted on the request.
    #[error("{0}")]
    Unsent(String),
    /// The other side may have acted on it.
    #[error("{0}")]
    Unknown(String),
}

/// Runs hyper's HTTP/2 tasks on the control thread.
#[derive(Clone, Copy)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Link {
    pub fn new(authority: impl Into<String>, http2: bool, limit: usize) -> Link {
        Link { authority: authority.into(), http2, limit, sender: None }
    }

    /// Connects now, if it is not connected.
    pub async fn connect(&mut self, timeout: Duration) -> Result<(), LinkError> {
        if self.open() {
            return Ok(());
        }
        match tokio::time::timeout(timeout, self.handshake()).await {
            Ok(sender) => self.sender = Some(sender?),
            Err(_) => return Err(LinkError::Unsent(format!("no connection to {} in {timeout:?}", self.authority))),
        }
        Ok(())
    }

    /// Sends one request with an absolute target and gives the whole answer. `timeout` is for
    /// both, and again for connecting where there is no connection.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, LinkError> {
        self.connect(timeout).await?;
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(LinkError::Unknown(format!("no answer in {timeout:?}"))));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// A GET of a path with nothing in it.
    pub async fn get(&mut self, path: &str, agent: &str, timeout: Duration) -> Result<Response<Bytes>, LinkError> {
        let request = Request::get(format!("http://{}{path}", self.authority))
            .header(http::header::USER_AGENT, agent)
            .body(Full::default())
            .map_err(|error| LinkError::Unsent(format!("path {path}: {error}")))?;
        self.send(request, timeout).await
    }

    fn open(&self) -> bool {
        match &self.sender {
            Some(Sender::Http1(sender)) => !sender.is_closed(),
            Some(Sender::Http2(sender)) => !sender.is_closed(),
            None => false,
        }
    }

    async fn handshake(&self) -> Result<Sender, LinkError> {
        let unsent = |error: &dyn std::fmt::Display| LinkError::Unsent(format!("{}: {error}", self.authority));
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| unsent(&error))?;
        // One request at a time: waiting for more to put into a segment only delays it.
        stream.set_nodelay(true).map_err(|error| unsent(&error))?;
        if self.http2 {
            let (sender, connection) =
                http2::handshake(Local, TokioIo::new(stream)).await.map_err(|error| unsent(&error))?;
            drive(connection, &self.authority);
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unsent(&error))?;
        drive(connection, &self.authority);
        Ok(Sender::Http1(sender))
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, LinkError> {
        let response = match self.sender.as_mut().expect("connected above") {
            Sender::Http1(sender) => {
                let host = self.authority.parse().map_err(|_| LinkError::Unsent("host is no header value".into()))?;
                request.headers_mut().insert(http::header::HOST, host);
                let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
                *request.uri_mut() = target.parse().map_err(|error| LinkError::Unsent(format!("{error}")))?;
                sender.ready().await.map_err(|error| LinkError::Unsent(error.to_string()))?;
                sender.try_send_request(request).await.map_err(failed)?
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|error| LinkError::Unsent(error.to_string()))?;
                sender.try_send_request(request).await.map_err(failed)?
            }
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.limit).collect().await;
        let body = body.map_err(|error| LinkError::Unknown(format!("body of the answer: {error}")))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// A request that hyper hands back was never written.
fn failed(mut error: hyper::client::conn::TrySendError<Request<Full<Bytes>>>) -> LinkError {
    let unsent = error.take_message().is_some();
    let text = error.into_error().to_string();
    if unsent { LinkError::Unsent(text) } else { LinkError::Unknown(text) }
}

fn drive<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>> + 'static, authority: &str) {
    let authority = authority.to_owned();
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(authority, %error, "connection ended");
        }
    });
}
