//! What the browser speaks to. Requests go to the edge and its answers come back as they are, but
//! for one that a plugin's fault made: in its place stands what happened.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::faults::Faults;
use super::page;

const REQUEST_ID: &str = "x-request-id";
/// Of the edge: why it refused.
const REJECT: &str = "x-forebay-reject";

pub struct Front {
    edge: SocketAddr,
    faults: Faults,
    dir: PathBuf,
    /// Why the files as they are now were not taken.
    refused: RefCell<Option<String>>,
    requests: Cell<u64>,
}

type Body = Either<Incoming, Full<Bytes>>;

impl Front {
    pub fn new(edge: SocketAddr, faults: Faults, dir: PathBuf) -> Front {
        Front { edge, faults, dir, refused: RefCell::default(), requests: Cell::new(0) }
    }

    pub fn refuse(&self, why: Option<String>) {
        *self.refused.borrow_mut() = why;
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let wants_html =
            request.headers().get(ACCEPT).is_some_and(|accept| accept.as_bytes().windows(9).any(|w| w == b"text/html"));
        if let Some(why) = &*self.refused.borrow() {
            return shown(&page::refused(why, &self.dir), wants_html);
        }
        self.requests.set(self.requests.get() + 1);
        let headers = request.headers_mut();
        if !headers.contains_key(REQUEST_ID)
            && let Ok(id) = HeaderValue::from_str(&format!("run-{}", self.requests.get()))
        {
            headers.insert(REQUEST_ID, id);
        }
        // Of this hop; a tunnel would pass by what is shown here.
        [CONNECTION, UPGRADE].iter().for_each(|name| drop(headers.remove(name)));
        match self.pass(request).await {
            Ok(response) => self.show(response, wants_html),
            Err(error) => shown(&format!("the edge closed the connection without an answer\n\n{error}\n"), wants_html),
        }
    }

    async fn pass(&self, request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.edge).await?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        Ok(send.send_request(request).await?)
    }

    fn show(&self, response: Response<Incoming>, wants_html: bool) -> Response<Body> {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if header(REJECT) == Some("plugin_fault")
            && let Some(fault) = header(REQUEST_ID).and_then(|id| self.faults.of(id))
        {
            return shown(&page::fault(&fault, &self.dir), wants_html);
        }
        let mut response = response.map(Either::Left);
        [CONNECTION, TRANSFER_ENCODING].iter().for_each(|name| drop(response.headers_mut().remove(name)));
        response
    }
}

fn shown(text: &str, wants_html: bool) -> Response<Body> {
    let (text, kind) = match wants_html {
        true => (page::html(text), "text/html; charset=utf-8"),
        false => (text.to_owned(), "text/plain; charset=utf-8"),
    };
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Accepts for the life of the process.
pub async fn serve(front: Rc<Front>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let front = front.clone();
        let service = service_fn(move |request| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
