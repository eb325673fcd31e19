//! A gRPC server that somebody else has written, python's `grpcio`, as a process:
//! `tests/conformance/servers/real_grpc.py`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::binary::root;
use crate::wait::{PATIENCE, wait_until};

/// A running server. It is ended when it is dropped.
pub struct RealGrpc {
    pub address: SocketAddr,
    child: Child,
    seen: Arc<Mutex<Vec<String>>>,
}

impl RealGrpc {
    #[track_caller]
    pub fn start() -> RealGrpc {
        let servers = root().join("tests/conformance/servers");
        let script = servers.join("fetch");
        let fetched = Command::new("bash").arg(&script).arg("grpcio").output();
        let fetched = fetched.unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        let told = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "{} grpcio: {}\n{told}", script.display(), fetched.status);
        let python = String::from_utf8_lossy(&fetched.stdout).trim_end().to_owned();
        let mut child = Command::new(&python)
            .arg(servers.join("real_grpc.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{python}: {e}"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let port = lines.next().expect("it says where it listens");
        let port = port.strip_prefix("port ").and_then(|port| port.parse().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let by_reader = seen.clone();
        std::thread::spawn(move || lines.for_each(|line| by_reader.lock().expect("not poisoned").push(line)));
        RealGrpc { address, child, seen }
    }

    /// A line for what it saw.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str) -> String {
        wait_until(&format!("the gRPC server to see {what:?}"), PATIENCE, || {
            self.seen().into_iter().find(|line| line.contains(what))
        })
    }

    /// It has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) {
        wait_until("the gRPC server to end", PATIENCE, || self.child.try_wait().expect("it is our child"));
    }
}

impl Drop for RealGrpc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
