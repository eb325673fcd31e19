//! A connection to an origin: TCP, or on a stage ([`crate::stage`]) a pipe in memory.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use crate::stream::Stream;

/// How a worker connects.
#[derive(Clone, Default)]
pub enum Dial {
    #[default]
    Tcp,
    /// Whoever plays the origin of this address gives one end of a pipe.
    Memory(Rc<dyn Fn(SocketAddr) -> io::Result<DuplexStream>>),
}

impl Dial {
    pub fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Stream>> + use<> {
        let memory = match self {
            Dial::Tcp => None,
            Dial::Memory(connect) => Some(connect.clone()),
        };
        async move {
            if let Some(connect) = memory {
                return connect(address).map(Stream::Memory);
            }
            let stream = TcpStream::connect(address).await?;
            // Only latency is lost without it.
            let _ = stream.set_nodelay(true);
            Ok(Stream::Tcp(stream))
        }
    }
}
