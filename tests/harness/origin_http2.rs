//! An HTTP/2 origin with prior knowledge, in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::client_http2::{Frames, headers};
use crate::http1::Headers;
use crate::port::Port;

/// What came: a whole request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
}

/// What goes back: status, headers, body, trailers.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// A listening HTTP/2 origin. It stops when it is dropped.
pub struct OriginHttp2 {
    pub address: SocketAddr,
    _port: Port,
    connections: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

impl OriginHttp2 {
    pub fn serve(answer: impl Fn(Asked) -> Answered + Send + Sync + 'static) -> OriginHttp2 {
        let (port, (say_bound, bound)) = (Port::free(), std::sync::mpsc::channel());
        let address = port.address;
        let (stop, mut stopped) = oneshot::channel::<()>();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind(address).await.expect("nobody else has the port");
                say_bound.send(()).expect("the test waits for it");
                let answer = Arc::new(answer);
                loop {
                    let socket = tokio::select! {
                        _ = &mut stopped => return,
                        accepted = listener.accept() => accepted.expect("a listener accepts").0,
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.clone();
                    let service = service_fn(move |request| exchange(request, answer.clone()));
                    tokio::spawn(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(socket), service),
                    );
                }
            });
        });
        bound.recv().expect("the origin's thread says that it listens");
        OriginHttp2 { address, _port: port, connections, _stop: stop }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn exchange(
    request: Request<Incoming>,
    answer: Arc<impl Fn(Asked) -> Answered>,
) -> Result<Response<Frames>, hyper::Error> {
    let (head, body) = request.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(headers).unwrap_or_default();
    let answered = answer(Asked {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: headers(&head.headers),
        body: collected.to_bytes().to_vec(),
        trailers,
    });
    let mut response = Response::builder().status(answered.status);
    for (name, value) in &answered.headers {
        response = response.header(name, value);
    }
    let body = Frames::new(answered.body, &answered.trailers);
    Ok(response.body(body).expect("the test's response is HTTP"))
}
