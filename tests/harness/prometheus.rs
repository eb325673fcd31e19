//! A real Prometheus server (Debian's) that knows what it is told beforehand, and scrapes nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::Port;
use crate::wait::{PATIENCE, wait_until};

/// A running server. It is ended when it is dropped.
pub struct Prometheus {
    pub address: SocketAddr,
    child: Child,
    _folder: Folder,
    _port: Port,
}

impl Prometheus {
    /// With these samples, in the text of OpenMetrics (which ends with `# EOF`).
    #[track_caller]
    pub fn with(samples: &str) -> Prometheus {
        Prometheus::start(samples, None)
    }

    /// Which asks for a user and a password. `users`: a line of its web configuration, `name: bcrypt's hash`.
    #[track_caller]
    pub fn guarded(samples: &str, users: &str) -> Prometheus {
        Prometheus::start(samples, Some(users))
    }

    #[track_caller]
    fn start(samples: &str, users: Option<&str>) -> Prometheus {
        let (folder, port) = (Folder::new(), Port::free());
        let metrics = folder.write("samples.txt", samples);
        let (config, data) = (folder.write("prometheus.yml", "scrape_configs: []\n"), folder.path().join("data"));
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&metrics, &data])
            .output()
            .unwrap_or_else(|e| panic!("cannot start promtool ({e}): install Debian's prometheus, or run tests/run"));
        assert!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address={}", port.address));
        if let Some(users) = users {
            let web = folder.write("web.yml", format!("basic_auth_users:\n  {users}\n"));
            command.arg(format!("--web.config.file={}", web.display()));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child
            .unwrap_or_else(|e| panic!("cannot start prometheus ({e}): install Debian's prometheus, or run tests/run"));
        let mut server = Prometheus { address: port.address, child, _folder: folder, _port: port };
        wait_until("the Prometheus server to be ready", PATIENCE, || {
            let ended = server.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "prometheus ended: {ended:?}");
            let status = ready(server.address)?;
            // Who is not let in knows that somebody is there.
            ["200", "401"].contains(&status.as_str()).then_some(())
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The status of its answer, if it answers.
fn ready(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /-/ready HTTP/1.0\r\nhost: prometheus\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head[9..]).into_owned())
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
