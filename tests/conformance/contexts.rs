//! Every host function in every context of proxy-wasm: allowed, or refused with which status. What the
//! table of hostcalls has is held against the table, in the phase that a callback belongs to; and every
//! status against the page `host/wasm/CONTEXTS.md`. The page of the engine lists every import (a test
//! there holds it to), so none is forgotten here.

use std::path::PathBuf;

use abi::hostcall::{Phase, TABLE};
use harness::binary::root;
use harness::{Edge, Folder, Grpc, Origin, list};

use crate::pair::{Engine, setup};
use crate::phases::{KV, got, probe, wrong};

/// The callbacks, by the words of the guest's probe, and their phases. `origin`, which is ours, and
/// `forebay_on_…`, which are told in the phase of what was waited for, are tested in `phases`.
const CONTEXTS: &[(&str, Phase)] = &[
    ("root_create", Phase::Start),
    ("vm_start", Phase::Start),
    ("start", Phase::Start),
    ("create", Phase::Request),
    ("request", Phase::Request),
    ("request_body", Phase::Request),
    ("request_trailers", Phase::Request),
    ("response", Phase::Response),
    ("response_body", Phase::Response),
    ("response_trailers", Phase::Response),
    ("call_response", Phase::Request),
    ("grpc_metadata", Phase::Request),
    ("grpc_message", Phase::Request),
    ("grpc_trailers", Phase::Request),
    ("grpc_close", Phase::Request),
    ("foreign_function", Phase::Request),
    ("done", Phase::Log),
    ("log", Phase::Log),
    ("delete", Phase::Log),
    ("background", Phase::Background),
    ("queue_ready", Phase::Background),
    ("root_call_response", Phase::Background),
    ("root_grpc_metadata", Phase::Background),
    ("root_grpc_message", Phase::Background),
    ("root_grpc_trailers", Phase::Background),
    ("root_grpc_close", Phase::Background),
    ("root_foreign_function", Phase::Background),
    ("root_done", Phase::Background),
    ("root_delete", Phase::Background),
];

/// The page that says which status each call gets in each context.
const PAGE: &str = "host/wasm/CONTEXTS.md";

/// The rows of the page's table: the call, its import, and a status for each context.
fn page() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    let table = page.lines().skip_while(|line| !line.starts_with("| call |"));
    let table: Vec<Vec<String>> = table.filter(|line| line.starts_with('|')).map(cells).collect();
    let (head, rows) = table.split_first().expect("a table");
    let contexts: Vec<_> = CONTEXTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(head[2..], contexts, "{PAGE}: its columns");
    rows[1..].to_vec()
}

/// Every call, by the name that the guest's probe has for it, and its import: the rows of the table of
/// hostcalls, and the other imports that the page of the engine lists.
fn calls() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join("host/wasm/README.md")).expect("the page of the engine");
    let (_, rest) = page.split_once("## Imports of `env`").expect("its table of imports");
    let (table, _) = rest.split_once("\n## ").expect("what follows it");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let listed = rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches(['`', ' ']).to_owned());
    let beside = listed.filter(|name| !TABLE.iter().any(|row| row.wasm == name));
    TABLE
        .iter()
        .map(|row| (row.lua.to_owned(), row.wasm.to_owned()))
        .chain(beside.map(|name| (name.clone(), name)))
        .collect()
}

#[test]
fn no_function_of_the_host_is_forgotten() {
    let (page, calls) = (page(), calls());
    let said = |call: &(String, String)| page.iter().any(|row| (&row[0], &row[1]) == (&call.0, &call.1));
    let forgotten: Vec<_> = calls.iter().filter(|call| !said(call)).collect();
    assert!(
        forgotten.is_empty(),
        "{PAGE} has no row for {forgotten:?}; the guest calls what no hostcall is in beside.rs"
    );
    assert_eq!(page.len(), calls.len(), "{PAGE} has rows twice, or for what there is not");
}

/// Whether the probe leaves a call out: it would end the exchange, or answers nothing.
fn untold(call: &str, phase: Phase) -> bool {
    let ends = matches!(phase, Phase::Request | Phase::Response) && matches!(call, "respond" | "close");
    ends || call == "emscripten_notify_memory_growth"
}

/// Contexts that are about to be gone: nobody would be left to be told of the end of what began there.
const LAST: [&str; 3] = ["delete", "root_done", "root_delete"];

/// Whether the end of a call is told later.
fn waits(call: &str) -> bool {
    matches!(call, "http.call" | "http.call_all" | "grpc.call" | "sleep") || call.starts_with("kv.")
}

/// A request with a body and trailers, to an origin that answers with both.
#[track_caller]
fn exchange(edge: &Edge) {
    let mut client = edge.connect();
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\
         Trailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n",
    );
    assert_eq!(client.response().status, 200, "refusals end no exchange");
}

/// A copy of the module that has no callback of Forebay's own for the end of a sleep, as one that was built
/// with another SDK.
fn without_timer(folder: &Folder) -> PathBuf {
    let (name, other) = (b"forebay_on_timer", b"elsewhere__timer");
    let mut module = std::fs::read(Engine::Wasm.module()).expect("it is built");
    let places: Vec<_> = (0..module.len()).filter(|at| module[*at..].starts_with(name)).collect();
    assert!(!places.is_empty(), "the guest exports it");
    for at in places {
        module[at..at + name.len()].copy_from_slice(other);
    }
    folder.write("without_timer.wasm", module)
}

#[track_caller]
fn matrix(at: &str) {
    let (_, phase) = *CONTEXTS.iter().find(|(name, _)| *name == at).expect("a context");
    let shop = Origin::serve(|exchange| {
        exchange.messages.body()?;
        exchange.begin(200, &[("trailer", "x-sum")])?;
        exchange.chunk(b"answer")?;
        exchange.end(&[("x-sum", "6")])
    });
    let side = Grpc::start();
    let mut plugin = probe(at);
    if at.starts_with("root_d") {
        // Whose instance, and so the root context in it, ends with its exchange.
        plugin = plugin.keys("    isolation: exchange");
    }
    let folder = Folder::new();
    if at.ends_with("foreign_function") {
        plugin.module = Some(without_timer(&folder));
    }
    let side_pool = format!("  - name: side\n    http2: true\n    origins: {}\n", list(&[side.address]));
    let edge = setup(&[(Engine::Wasm, plugin)], shop.address, None).also(&side_pool).also(KV).start();
    let of_exchange = matches!(phase, Phase::Request | Phase::Response | Phase::Log);
    if of_exchange || matches!(at, "queue_ready" | "root_done" | "root_delete") {
        exchange(&edge);
    }
    let last = |call: &str| LAST.contains(&at) && waits(call);
    let rows = TABLE.iter().filter(|row| !untold(row.lua, phase) && !last(row.lua));
    let against_the_table: Vec<_> = rows.filter_map(|row| wrong(Engine::Wasm, &edge, row, phase, at)).collect();
    let place = 2 + CONTEXTS.iter().position(|(name, _)| *name == at).expect("a context");
    let page = page();
    let against_the_page = calls().into_iter().filter_map(|(call, _)| {
        let row = page.iter().find(|row| row[0] == call);
        let wanted = row.map_or("no row", |row| &row[place]);
        let code = if untold(&call, phase) { "-".to_owned() } else { got(&edge, at, &call).code };
        (code != wanted).then(|| format!("{call} in {at}: {code}, {PAGE} says {wanted}"))
    });
    let wrong: Vec<_> = against_the_table.into_iter().chain(against_the_page).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for row in TABLE.iter().filter(|row| last(row.lua)) {
        let refused = if row.wasm.starts_with("forebay_") { "101" } else { "2" };
        assert_eq!(got(&edge, at, row.lua).code, refused, "{} in {at}", row.lua);
    }
    if LAST.contains(&at) {
        assert_eq!(side.seen(), Vec::<String>::new(), "what is refused is not sent");
    }
    assert!(!edge.process.log_has("PANIC"), "{at}: {:?}", edge.process.log());
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0, "a refusal is no fault");
}

macro_rules! in_every_context {
    ($($name:ident)*) => {
        $(#[test] fn $name() { matrix(stringify!($name)) })*

        #[test]
        fn no_context_is_without_a_test() {
            let tested = [$(stringify!($name)),*];
            let all: Vec<_> = CONTEXTS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, tested);
        }
    };
}

in_every_context! {
    root_create vm_start start create request request_body request_trailers response response_body
    response_trailers call_response grpc_metadata grpc_message grpc_trailers grpc_close foreign_function done log
    delete background queue_ready root_call_response root_grpc_metadata root_grpc_message root_grpc_trailers
    root_grpc_close root_foreign_function root_done root_delete
}

#[test]
fn a_context_that_ends_in_the_middle_of_a_request_changes_nothing_more() {
    let shop = Origin::saying("ok");
    let mut plugin = probe("delete hold");
    plugin.keys = plugin.keys.replace("limits: {", "limits: {buffer: 4KiB, ");
    let edge = setup(&[(Engine::Wasm, plugin)], shop.address, Some(shop.address)).also(KV).start();
    let mut client = edge.connect();
    client.request("POST", "/a", &[], &vec![b'x'; 512 << 10]);
    assert_eq!(client.response().status, 413);
    for call in ["respond", "close", "request.headers.set", "request.set_body", "http.call"] {
        assert_eq!(got(&edge, "delete", call).code, "2", "{call}");
    }
    assert_eq!(shop.requests(), 0);
}
