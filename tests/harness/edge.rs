//! An edge as a process: `forebay run -c FILE`, on a region file that the test wrote.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::client::{Client, get};
use crate::folder::Folder;
use crate::http1::Response;
use crate::metrics::Metrics;
use crate::port::Port;
use crate::process::Process;
use crate::wait::{PATIENCE, wait_until};

/// What a test says about its edge before it starts. The harness writes `edge.name`,
/// `edge.listeners`, `edge.admin` and `log`; the test gives the rest of the region file as text.
pub struct Setup {
    folder: Folder,
    workers: usize,
    listener_keys: String,
    edge_keys: String,
    aggregator: bool,
    access: bool,
    address_space: Option<u64>,
    region: String,
    environment: Vec<(&'static str, PathBuf)>,
}

/// A running edge (with an aggregator in the same process, if the setup says so).
pub struct Edge {
    // The process first: it is ended before its folder and its ports are given back.
    pub process: Process,
    /// Where clients connect.
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Where the aggregator of this process listens, if it runs one.
    pub aggregator: Option<SocketAddr>,
    head: String,
    folder: Folder,
    _ports: Vec<Port>,
}

impl Setup {
    /// `region` holds the keys `plugins`, `routes` and `pools` of a region file.
    pub fn new(region: impl Into<String>) -> Setup {
        Setup {
            folder: Folder::new(),
            workers: 1,
            listener_keys: String::new(),
            edge_keys: String::new(),
            aggregator: false,
            access: true,
            address_space: None,
            region: region.into(),
            environment: Vec::new(),
        }
    }

    /// More keys of the region file.
    pub fn also(mut self, region: &str) -> Setup {
        self.region.push_str(region);
        self
    }

    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// Adds a file beside the region file.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Setup {
        self.folder.write(name, text);
        self
    }

    /// Keys of `edge`, each line indented by two.
    pub fn edge(mut self, keys: &str) -> Setup {
        self.edge_keys.push_str(keys);
        self.edge_keys.push('\n');
        self
    }

    /// Keys of the listener, each line indented by six.
    pub fn listener(mut self, keys: &str) -> Setup {
        self.listener_keys.push_str(keys);
        self.listener_keys.push('\n');
        self
    }

    /// Runs an aggregator in the same process, to which the edge reports.
    pub fn with_aggregator(mut self) -> Setup {
        self.aggregator = true;
        self
    }

    /// For hundreds of thousands of requests: the harness keeps every line.
    pub fn without_access_log(mut self) -> Setup {
        self.access = false;
        self
    }

    /// The process gets so many bytes of address space, as a container may bound it.
    pub fn within(mut self, address_space: u64) -> Setup {
        self.address_space = Some(address_space);
        self
    }

    /// Where it keeps compiled code and fetched modules, in place of the user's cache folder.
    pub fn cache(mut self, folder: &Path) -> Setup {
        self.environment.push(("XDG_CACHE_HOME", folder.to_owned()));
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    pub fn start(self) -> Edge {
        let (listen, admin) = (Port::free(), Port::free());
        let mut ports = vec![];
        let mut head = format!(
            "log:\n  format: json\n  filter: info\n  access: {}\nedge:\n  name: test-edge\n  workers: {}\n  admin: {}\n  \
             listeners:\n    - address: {}\n{}{}",
            self.access, self.workers, admin.address, listen.address, self.listener_keys, self.edge_keys
        );
        let mut aggregator = None;
        if self.aggregator {
            let port = Port::free();
            head.push_str(&format!(
                "  aggregators: [\"http://{}\"]\naggregator:\n  address: {}\n  region: test\n",
                port.address, port.address
            ));
            aggregator = Some(port.address);
            ports.push(port);
        }
        let file = self.folder.write("region.yaml", format!("{head}{}", self.region));
        let file = file.to_str().expect("temporary folders are named in text");
        let folder = self.folder.path();
        let process = Process::start_with(&["run", "-c", file], folder, &self.environment, self.address_space);
        let mut edge = Edge {
            process,
            address: listen.address,
            admin: admin.address,
            aggregator,
            head,
            folder: self.folder,
            _ports: vec![],
        };
        ports.extend([listen, admin]);
        edge._ports = ports;
        edge.wait_until_ready();
        edge
    }
}

impl Edge {
    /// Starts an edge with one worker on this region.
    #[track_caller]
    pub fn start(region: impl Into<String>) -> Edge {
        Setup::new(region).start()
    }

    /// An edge whose one route sends everything to the pool `shop` of these origins.
    #[track_caller]
    pub fn before(origins: &[SocketAddr]) -> Edge {
        Edge::start(to_shop(origins, ""))
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let admin = self.admin;
        wait_until("the edge to be ready", PATIENCE, || {
            if !self.process.running() {
                // Its last lines are read by then.
                self.process.wait();
                panic!("the edge ended before it was ready:\n{}", self.process.log().join("\n"));
            }
            let mut client = Client::try_connect(admin).ok()?;
            client.request("GET", "/readyz", &[("Connection", "close")], b"");
            (client.try_response().ok()?.status == 200).then_some(())
        });
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        get(self.address, target)
    }

    /// A GET at the admin address.
    #[track_caller]
    pub fn admin(&self, target: &str) -> Response {
        get(self.admin, target)
    }

    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics(self.admin("/metrics").text().to_owned())
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes another region file; the ports stay.
    pub fn rewrite(&self, region: &str) {
        self.folder.write("region.yaml", format!("{}{region}", self.head));
    }

    /// Writes another region file and asks for a reload.
    pub fn reload(&self, region: &str) {
        self.rewrite(region);
        self.process.signal("HUP");
    }

    /// Waits until one access line of this path has been logged, and gives it.
    #[track_caller]
    pub fn access_line(&self, path: &str) -> String {
        self.process.wait_for_log(&["access", path])
    }
}

/// A region whose one route sends everything to the pool `shop` of these origins; `keys` are
/// more keys of the pool, each line indented by four.
pub fn to_shop(origins: &[SocketAddr], keys: &str) -> String {
    format!("routes:\n  - name: all\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n{keys}", list(origins))
}

/// Addresses as a list in YAML.
pub fn list(origins: &[SocketAddr]) -> String {
    let quoted: Vec<_> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
