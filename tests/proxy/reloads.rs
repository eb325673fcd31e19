//! Many reloads: an exchange under way ends on the version it began with, and memory stays where
//! it was.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::{Client, Edge, Origin, PATIENCE, Setup, list, wait_until};

/// Names its version in the request and in the response: an exchange that changed its version on
/// the way would name two. `VERSION` is put in.
const LUA: &str = r#"
local plugin = {}
function plugin.on_request_headers() forebay.request.headers.set("x-lua", "VERSION") end
function plugin.on_response_headers() forebay.response.headers.set("x-lua", "VERSION") end
return plugin
"#;

/// The same in proxy-wasm. 64 KiB of memory and a page of a table, all of which a leak would keep.
const WASM: &str = r#"(module
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 512 funcref)
  (data (i32.const 16) "x-version") (data (i32.const 32) "x-answered") (data (i32.const 48) "VERSION")
  (global $heap (mut i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32)
    (global.set $heap (i32.add (global.get $heap) (local.get 0)))
    (i32.sub (global.get $heap) (local.get 0)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $replace (i32.const 0) (i32.const 16) (i32.const 9) (i32.const 48) (i32.const 2)))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $replace (i32.const 2) (i32.const 32) (i32.const 10) (i32.const 48) (i32.const 2))))"#;

/// Modules that take turns: each is compiled once, and loaded anew each time.
const MODULES: usize = 8;

fn module(version: usize) -> Vec<u8> {
    wat::parse_str(WASM.replace("VERSION", &wasm_version(version))).expect("the text is Wasm")
}

fn wasm_version(version: usize) -> String {
    format!("w{}", version % MODULES)
}

fn region(origin: &Origin) -> String {
    format!(
        "plugins:\n  - {{name: first, lua: first.lua}}\n  - {{name: second, wasm: second.wasm}}\n\
         routes:\n  - name: all\n    plugins: [first, second]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n",
        list(&[origin.address])
    )
}

/// Gives back what the plugins have made of the request's headers.
fn mirror() -> Origin {
    Origin::serve(|exchange| {
        let sent = |name: &str| exchange.head.headers.get(name).unwrap_or("none").to_owned();
        let (lua, wasm) = (sent("x-lua"), sent("x-version"));
        exchange.respond(200, &[("x-sent-lua", &lua), ("x-sent-wasm", &wasm)], b"ok")
    })
}

fn start(origin: &Origin) -> Edge {
    let setup = Setup::new(region(origin)).file("first.lua", LUA.replace("VERSION", "v0"));
    setup.file("second.wasm", module(0)).workers(2).start()
}

/// Both plugins in another version, and waits until they serve.
#[track_caller]
fn reload(edge: &Edge, client: &mut Client, version: usize, origin: &Origin) {
    let names = [format!("v{version}"), wasm_version(version)];
    edge.folder().write("first.lua", LUA.replace("VERSION", &names[0]));
    edge.folder().write("second.wasm", module(version));
    edge.reload(&region(origin));
    wait_until(&names[0], PATIENCE, || (versions(client) == names).then_some(()));
}

/// The versions that one exchange met: each plugin's is the same on its way in and out.
#[track_caller]
fn versions(client: &mut Client) -> [String; 2] {
    let response = client.get("/");
    assert_eq!(response.status, 200);
    let header = |name: &str| response.header(name).unwrap_or("none").to_owned();
    let (lua, wasm) = (header("x-lua"), header("x-answered"));
    assert_eq!((lua.as_str(), wasm.as_str()), (&*header("x-sent-lua"), &*header("x-sent-wasm")));
    [lua, wasm]
}

#[test]
fn no_exchange_changes_its_version_on_the_way_while_reloads_come() {
    let origin = mirror();
    let edge = start(&origin);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stop, done, address) = (stop.clone(), done.clone(), edge.address);
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    versions(&mut client);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut client = edge.connect();
    for version in 1..=15 {
        reload(&edge, &mut client, version, &origin);
        let so_far = done.load(Ordering::SeqCst);
        wait_until("exchanges of this version", PATIENCE, || (done.load(Ordering::SeqCst) > so_far + 10).then_some(()));
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("every exchange was of one version");
    }
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

/// What the process holds.
#[derive(Debug)]
struct Held {
    rss: u64,
    threads: u64,
    files: usize,
    mappings: usize,
    series: usize,
    instances: f64,
}

fn held(edge: &Edge) -> Held {
    let proc = |file: &str| format!("/proc/{}/{file}", edge.process.pid());
    let status = fs::read_to_string(proc("status")).expect("the process runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux says so");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    let metrics = edge.metrics();
    Held {
        rss: field("VmRSS:") << 10,
        threads: field("Threads:"),
        files: fs::read_dir(proc("fd")).expect("the process runs").count(),
        mappings: fs::read_to_string(proc("maps")).expect("the process runs").lines().count(),
        series: metrics.0.lines().filter(|line| !line.starts_with('#')).count(),
        instances: metrics.sum("forebay_plugin_instances", &[]),
    }
}

/// After `reload` an old version's instances end within a look of each worker.
#[track_caller]
fn settled(edge: &Edge) -> Held {
    wait_until("one instance of each plugin on each worker, and a spare in Wasm", PATIENCE, || {
        let now = held(edge);
        (now.instances == 6.0).then_some(now)
    })
}

/// The tolerance is for the allocator: what one reload leaked of a VM (116 KiB) or an instance (over
/// a megabyte) on two workers would be over 100 MiB by then.
#[test]
fn a_thousand_reloads_leave_memory_where_it_was() {
    const WARM: usize = 200;
    const TOLERANCE: u64 = 24 << 20;
    let origin = mirror();
    let edge = start(&origin);
    let mut client = edge.connect();
    (1..=WARM).for_each(|version| reload(&edge, &mut client, version, &origin));
    let before = settled(&edge);
    (WARM + 1..=WARM + 1000).for_each(|version| reload(&edge, &mut client, version, &origin));
    let after = settled(&edge);
    println!("before {before:?}\nafter {after:?}");
    assert!(after.rss < before.rss + TOLERANCE, "{before:?}, then {after:?}");
    assert!(after.threads <= before.threads + 2, "{before:?}, then {after:?}");
    assert!(after.files <= before.files + 8, "{before:?}, then {after:?}");
    assert!(after.mappings <= before.mappings + 100, "{before:?}, then {after:?}");
    assert!(after.series <= before.series + 4, "{before:?}, then {after:?}");
    let memory = |name: &str, plugin: &str| edge.metrics().sum(name, &[&format!("plugin=\"{plugin}\"")]);
    assert!(memory("forebay_lua_heap_bytes", "first") > 0.0 && memory("forebay_wasm_memory_bytes", "second") > 0.0);
    assert!(memory("forebay_lua_heap_bytes", "first") < 4e6, "two VMs, and none of old versions");
}

/// Counts in every form, and past every limit that is counted for it. `NAME` is put in.
const COUNTING: &str = r#"
local plugin, hits = {}, nil
function plugin.on_configure() hits = forebay.metric.counter("hits_total", { of = "NAME" }) end
function plugin.on_request_headers()
  hits:increment()
  forebay.metric.gauge("open"):set(7)
  forebay.metric.histogram("took_seconds"):record(3)
  forebay.metric.counter("one_too_many_total")
  for _ = 1, 200 do forebay.log.info("a line") end
end
return plugin
"#;

#[test]
fn a_plugin_that_a_reload_takes_out_leaves_no_series_and_begins_anew_when_it_is_back() {
    let origin = Origin::saying("ok");
    let region = |plugins: &[&str]| {
        let limits = "limits: {metrics: 3, log_lines: 10}";
        let plugin = |name: &&str| format!("  - {{name: {name}, lua: {name}.lua, {limits}}}\n");
        let declared: String = plugins.iter().map(plugin).collect();
        let origins = list(&[origin.address]);
        format!(
            "plugins:\n{declared}routes:\n  - {{name: all, plugins: [{}], pool: shop}}\npools:\n  - {{name: shop, origins: {origins}}}\n",
            plugins.join(", ")
        )
    };
    let code = |name| COUNTING.replace("NAME", name);
    let setup = Setup::new(region(&["stays", "goes"])).file("stays.lua", code("stays")).file("goes.lua", code("goes"));
    let edge = setup.start();
    let hits = |name: &str| edge.metrics().sum("forebay_plugin_hits_total", &[&format!("plugin=\"{name}\"")]);
    (0..3).for_each(|_| assert_eq!(edge.get("/").status, 200));
    let metrics = edge.metrics();
    let all = [
        "calls_total",
        "instances",
        "hits_total",
        "open",
        "took_seconds_count",
        "metric_overflow_total",
        "log_dropped_total",
        "cpu_seconds_total",
    ];
    for name in all {
        let name = format!("forebay_plugin_{name}");
        for plugin in ["stays", "goes"] {
            assert!(metrics.has(&name, &[&format!("plugin=\"{plugin}\"")]), "{name} of {plugin}: {}", metrics.0);
        }
        let kinds =
            metrics.0.lines().filter(|line| line.starts_with(&format!("# TYPE {} ", name.trim_end_matches("_count"))));
        assert_eq!(kinds.count(), 1, "{name} is one family of series: {}", metrics.0);
    }
    assert_eq!((hits("stays"), hits("goes")), (3.0, 3.0));
    edge.reload(&region(&["stays"]));
    let metrics = wait_until("the plugin's series to be gone", PATIENCE, || {
        let metrics = edge.metrics();
        (!metrics.0.contains("plugin=\"goes\"")).then_some(metrics)
    });
    assert!(!metrics.0.contains("goes"), "{}", metrics.0);
    assert_eq!(hits("stays"), 3.0, "who stays keeps its counts");
    assert_eq!(edge.get("/").status, 200);
    edge.reload(&region(&["stays", "goes"]));
    wait_until("it to be back", PATIENCE, || edge.metrics().0.contains("plugin=\"goes\"").then_some(()));
    wait_until("it to count again", PATIENCE, || {
        assert_eq!(edge.get("/").status, 200);
        (hits("goes") > 0.0).then_some(())
    });
    assert!(hits("goes") < hits("stays") - 3.0, "it begins anew");
}
