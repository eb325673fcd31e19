//! An edge of one worker with plugins from a folder of the test's own, and an origin that says
//! what the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use forebay_edge::{Edge, Options};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub const LONG: Duration = Duration::from_secs(10);

/// In front of every Lua plugin: `say` leaves a line that [`Stage::said`] reads.
const PRELUDE: &str = r#"
local plugin = {}
local function say(line)
  local said = forebay.dict("said")
  said:set("all", (said:get("all") or "") .. tostring(line) .. "\n")
end
"#;

const READER: &str = r#"
function plugin.on_request_headers()
  forebay.respond(200, {}, forebay.dict("said"):get("all") or "")
end
"#;

pub struct Stage {
    edge: Edge,
    pub address: SocketAddr,
    folder: PathBuf,
}

/// One plugin of the route, in order.
pub struct Plugin {
    pub name: &'static str,
    pub code: Code,
    /// More keys, each line indented by four.
    pub keys: &'static str,
}

pub enum Code {
    Lua(&'static str),
    Wat(String),
}

pub fn lua(name: &'static str, text: &'static str) -> Plugin {
    Plugin { name, code: Code::Lua(text), keys: "" }
}

fn metrics() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

impl Stage {
    /// `to` is where the route leads, as its line in the file.
    pub fn start(plugins: &[Plugin], to: &str, origin: SocketAddr) -> Stage {
        let folder = std::env::temp_dir().join(format!("forebay-chain-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir_all(&folder).unwrap();
        let region = region(&folder, plugins, to, origin);
        let edge = Edge::start(region, Options { metrics: metrics(), self_test: true }).unwrap();
        let address = edge.addresses()[0];
        Stage { edge, address, folder }
    }

    /// Other plugins on the route, from now on.
    pub fn reload(&self, plugins: &[Plugin], origin: SocketAddr) {
        self.edge.reload(region(&self.folder, plugins, "pool: p", origin)).unwrap();
    }

    pub fn new(plugins: &[Plugin], origin: SocketAddr) -> Stage {
        Stage::start(plugins, "pool: p", origin)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends bytes and reads until the edge closes.
    pub fn exchange(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is a close too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into()
    }

    /// What the plugins have said.
    pub fn said(&self) -> String {
        let answer = self.exchange("GET /said HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1.into()
    }

    /// A metric of one plugin, summed over its other labels.
    pub fn metric(&self, name: &str, plugin: &str) -> f64 {
        let mut stream = TcpStream::connect(self.edge.admin_address().unwrap()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let label = format!("plugin=\"{plugin}\"");
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(&label));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// What they have said, when it has become that.
    #[track_caller]
    pub fn expect(&self, said: &str) {
        let until = Instant::now() + LONG;
        while self.said() != said {
            assert!(Instant::now() < until, "said {:?}, not {said:?}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn region(folder: &Path, plugins: &[Plugin], to: &str, origin: SocketAddr) -> Arc<config::Region> {
    let mut entries = String::new();
    let reader = lua("reader", READER);
    for plugin in plugins.iter().chain([&reader]) {
        let (kind, file) = match &plugin.code {
            Code::Lua(text) => {
                let file = folder.join(format!("{}.lua", plugin.name));
                std::fs::write(&file, format!("{PRELUDE}{text}\nreturn plugin\n")).unwrap();
                ("lua", file)
            }
            Code::Wat(text) => {
                let file = folder.join(format!("{}.wasm", plugin.name));
                std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
                ("wasm", file)
            }
        };
        let (name, keys) = (plugin.name, plugin.keys);
        let grants = "capabilities: [\"dict:said\", \"callout:p\"]";
        entries.push_str(&format!("  - name: {name}\n    {kind}: {}\n    {grants}\n{keys}\n", file.display()));
    }
    let names: Vec<_> = plugins.iter().map(|plugin| plugin.name).collect();
    let text = format!(
        "edge:\n  name: test\n  workers: 1\n  admin: \"127.0.0.1:0\"\n  listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
             plugins:\n{entries}routes:\n  - name: said\n    match: {{ path: {{ exact: /said }} }}\n    plugins: [reader]\n    respond: {{}}\n  \
             - name: all\n    plugins: [{}]\n    {to}\npools:\n  - name: p\n    origins: [\"{origin}\"]\n",
        names.join(", ")
    );
    let region = config::parse(&text, &folder.join("region.yaml"), folder);
    Arc::new(region.map_err(|errors| format!("{errors}\n{text}")).unwrap())
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Reads a head: up to and with the empty line; nothing if the other side closed.
pub fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// An origin: each connection runs `serve` on a thread of its own.
pub fn origin(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            stream.set_read_timeout(Some(LONG)).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// An origin that reads heads (and no bodies) and answers each with `answer`.
pub fn fixed(answer: &'static str) -> SocketAddr {
    origin(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match reader.read_line(&mut head) {
                    Ok(n) if n > 0 => {}
                    _ => return,
                }
            }
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}
