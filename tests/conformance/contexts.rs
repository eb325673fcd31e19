//! Every host function in every context of proxy-wasm: allowed, or refused with which status. What the
//! table of hostcalls has is held against the table, in the phase that a callback belongs to; and every
//! status against the page `host/wasm/CONTEXTS.md`. The page of the engine lists every import (a test
//! there holds it to), so none is forgotten here.

use abi::hostcall::{Phase, TABLE};
use harness::binary::root;
use harness::{Edge, Origin};

use crate::pair::{Engine, setup};
use crate::phases::{KV, got, probe, wrong};

/// The callbacks, by the words of the guest's probe, and their phases. `origin`, which is ours, and
/// `forebay_on_…`, which are told in the phase of what was waited for, are tested in `phases`.
const CONTEXTS: &[(&str, Phase)] = &[
    ("vm_start", Phase::Start),
    ("start", Phase::Start),
    ("request", Phase::Request),
    ("request_body", Phase::Request),
    ("request_trailers", Phase::Request),
    ("response", Phase::Response),
    ("response_body", Phase::Response),
    ("response_trailers", Phase::Response),
    ("call_response", Phase::Request),
    ("done", Phase::Log),
    ("log", Phase::Log),
    ("background", Phase::Background),
    ("queue_ready", Phase::Background),
    ("root_call_response", Phase::Background),
];

/// The page that says which status each call gets in each context.
const PAGE: &str = "host/wasm/CONTEXTS.md";

/// What is served or not by another suite than this: gRPC needs a server that speaks it.
const ELSEWHERE: &str = "proxy_grpc_";

/// The rows of the page's table: the call, its import, and a status for each context.
fn page() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    let table: Vec<Vec<String>> = page.lines().filter(|line| line.starts_with('|')).map(cells).collect();
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
    let beside = listed.filter(|name| !TABLE.iter().any(|row| row.wasm == name) && !name.starts_with(ELSEWHERE));
    let of_table = TABLE.iter().filter(|row| !row.wasm.starts_with(ELSEWHERE));
    of_table
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

#[track_caller]
fn matrix(at: &str) {
    let (_, phase) = *CONTEXTS.iter().find(|(name, _)| *name == at).expect("a context");
    let shop = Origin::serve(|exchange| {
        exchange.messages.body()?;
        exchange.begin(200, &[("trailer", "x-sum")])?;
        exchange.chunk(b"answer")?;
        exchange.end(&[("x-sum", "6")])
    });
    let side = Origin::saying("side");
    let edge = setup(&[(Engine::Wasm, probe(at))], shop.address, Some(side.address)).also(KV).start();
    if !matches!(at, "vm_start" | "start" | "background" | "root_call_response") {
        exchange(&edge);
    }
    let rows = TABLE.iter().filter(|row| !untold(row.lua, phase));
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
    vm_start start request request_body request_trailers response response_body response_trailers call_response
    done log background queue_ready root_call_response
}
