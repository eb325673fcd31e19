//! A real Redis server (Debian's), and a cluster of them. It is asked over its own protocol, so that
//! a test sees what stands there without the edge.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificate::Certificate;
use crate::folder::Folder;
use crate::port::Port;
use crate::wait::{PATIENCE, wait_until};

/// A running server. It is ended when it is dropped.
pub struct Redis {
    pub address: SocketAddr,
    child: Option<Child>,
    arguments: Vec<String>,
    folder: Folder,
    _ports: Vec<Port>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    Error(String),
}

impl Redis {
    #[track_caller]
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// With more arguments of `redis-server`.
    #[track_caller]
    pub fn with(more: &[&str]) -> Redis {
        Redis::in_folder(Folder::new(), Vec::new(), more)
    }

    /// A server that speaks TLS on a port beside its own, with a certificate for 127.0.0.1; that
    /// port, and the file to trust.
    #[track_caller]
    pub fn with_tls() -> (Redis, SocketAddr, std::path::PathBuf) {
        let (folder, port) = (Folder::new(), Port::free());
        let files = Certificate::write_for(folder.path(), "127.0.0.1");
        let (address, number) = (port.address, port.address.port().to_string());
        let path = |path: &std::path::Path| path.to_str().expect("temporary folders are named in text").to_owned();
        let (certificate, key) = (path(&files.certificate), path(&files.key));
        let more = [
            "--tls-port",
            &number,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ];
        (Redis::in_folder(folder, vec![port], &more), address, files.certificate)
    }

    #[track_caller]
    fn in_folder(folder: Folder, mut ports: Vec<Port>, more: &[&str]) -> Redis {
        let port = Port::free();
        let number = port.address.port().to_string();
        let place = folder.path().to_str().expect("temporary folders are named in text");
        let own = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", place];
        let arguments = own.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
        let address = port.address;
        ports.push(port);
        let mut redis = Redis { address, child: None, arguments, folder, _ports: ports };
        redis.restart();
        redis
    }

    /// Starts it again after [`Redis::stop`], on the same port and with nothing in it.
    #[track_caller]
    pub fn restart(&mut self) {
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("cannot start redis-server ({e}): install Debian's redis-server, or run tests/run")
            });
        self.child = Some(child);
        wait_until("the Redis server to answer", PATIENCE, || {
            let child = self.child.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "redis-server {:?} ended: {ended:?}", self.arguments);
            // An error is an answer too: it may want a password.
            self.try_ask(&[b"PING"]).ok().map(drop)
        });
    }

    /// SIGKILL: connections break, and new ones are refused.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: connections stand, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("the server runs").id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to {pid}");
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Asks on a connection of its own.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Reply {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask_bytes(&words)
    }

    #[track_caller]
    pub fn ask_bytes(&self, words: &[&[u8]]) -> Reply {
        self.try_ask(words).unwrap_or_else(|e| panic!("{} does not answer: {e}", self.address))
    }

    /// A line `name:value` of `INFO`.
    #[track_caller]
    pub fn info(&self, name: &str) -> u64 {
        let Reply::Bytes(text) = self.ask(&["INFO", "all"]) else { panic!("INFO gives a text") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no number {name}: {text}"))
    }

    fn try_ask(&self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        socket.write_all(&bytes)?;
        read(&mut BufReader::new(socket))
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let broken = || io::Error::other(format!("not RESP: {line:?}"));
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(broken)?;
    let number = || rest.parse::<i64>().map_err(|_| broken());
    Ok(match kind {
        "+" => Reply::Bytes(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Int(number()?),
        "$" | "*" if number()? < 0 => Reply::Nil,
        "$" => {
            let mut bytes = vec![0; number()? as usize + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bytes(bytes)
        }
        "*" => Reply::List((0..number()?).map(|_| read(from)).collect::<io::Result<_>>()?),
        _ => return Err(broken()),
    })
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Three nodes that share the keys, a third each.
#[track_caller]
pub fn cluster() -> Vec<Redis> {
    let nodes: Vec<_> = (0..3)
        .map(|_| {
            let bus = Port::free();
            let number = bus.address.port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &number, "--cluster-node-timeout", "2000"];
            (number.clone(), Redis::in_folder(Folder::new(), vec![bus], &more))
        })
        .collect();
    for (i, (_, node)) in nodes.iter().enumerate() {
        let (first, last) = ((i * 5462).to_string(), (i * 5462 + 5461).min(16383).to_string());
        assert_eq!(node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), Reply::Bytes("OK".into()));
        let (bus, met) = &nodes[0];
        if i > 0 {
            let port = met.address.port().to_string();
            assert_eq!(node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]), Reply::Bytes("OK".into()));
        }
    }
    let nodes: Vec<_> = nodes.into_iter().map(|(_, node)| node).collect();
    wait_until("the cluster to be whole", PATIENCE, || {
        let whole = |node: &Redis| {
            let Reply::Bytes(text) = node.ask(&["CLUSTER", "INFO"]) else { return false };
            let text = String::from_utf8_lossy(&text).into_owned();
            text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
        };
        nodes.iter().all(whole).then_some(())
    });
    nodes
}
