//! Asks an origin for its ready path until it answers 2xx.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks until it is dropped.
pub struct Probe {
    ready: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Probe {
    pub fn start(address: SocketAddr, path: String, wake: Arc<Notify>) -> Probe {
        let ready = Arc::new(AtomicBool::new(false));
        let found = ready.clone();
        let task = tokio::spawn(async move {
            while !matches!(timeout(PATIENCE, ask(address, &path)).await, Ok(Ok(true))) {
                sleep(PAUSE).await;
            }
            found.store(true, Ordering::Release);
            wake.notify_one();
        });
        Probe { ready, task }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(address: SocketAddr, path: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    // The connection is driven here and dropped with the question: nothing outlives the probe.
    tokio::select! {
        response = &mut answer => Ok(response?.status().is_success()),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status().is_success())
        }
    }
}
