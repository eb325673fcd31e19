//! No hostcall without a test in both engines, and without a line in both READMEs.

use abi::hostcall::TABLE;
use harness::binary::root;

/// The file here that tests a row, and the text of its Lua plugin that calls it.
const TESTED: &[(&str, &str, &str)] = &[
    ("request.headers.", "headers.rs", "request.headers"),
    ("request.trailers.", "headers.rs", "request.trailers"),
    ("response.headers.", "headers.rs", "response.headers"),
    ("response.trailers.", "headers.rs", "response.trailers"),
    ("request.body", "body.rs", "forebay.request.body("),
    ("request.chunk", "body.rs", "forebay.request.chunk("),
    ("request.body_chunks", "body.rs", "forebay.request.body_chunks("),
    ("request.set_body", "body.rs", "forebay.request.set_body("),
    ("response.body", "body.rs", "forebay.response.body("),
    ("response.chunk", "body.rs", "forebay.response.chunk("),
    ("response.body_chunks", "body.rs", "forebay.response.body_chunks("),
    ("response.set_body", "body.rs", "forebay.response.set_body("),
    ("response.set_event", "event.rs", "forebay.response.set_event("),
    ("respond", "exchange.rs", "forebay.respond("),
    ("continue", "exchange.rs", "forebay.continue("),
    ("close", "exchange.rs", "forebay.close("),
    ("http.call", "callout.rs", "forebay.http.call("),
    ("origin.set_pool", "origin.rs", "origin.set_pool("),
    ("origin.set_host", "origin.rs", "origin.set_host("),
    ("origin.exclude", "origin.rs", "origin.exclude("),
    ("origin.get", "origin.rs", "origin.get("),
    ("origin.stats", "origin.rs", "origin.stats("),
    ("http.call_all", "callout.rs", "forebay.http.call_all("),
    ("grpc.call", "grpc.rs", "forebay.grpc.call("),
    ("scale.hint", "scale.rs", "forebay.scale.hint("),
    ("scale.view", "policy.rs", "forebay.scale.view("),
    ("scale.propose", "policy.rs", "forebay.scale.propose("),
    ("property.get", "context.rs", "forebay.property.get("),
    ("ctx.get", "context.rs", "forebay.ctx.get("),
    ("ctx.set", "context.rs", "forebay.ctx.set("),
    ("dict.get", "dict.rs", ":get("),
    ("dict.set", "dict.rs", ":set("),
    ("dict.add", "dict.rs", ":add("),
    ("dict.incr", "dict.rs", ":incr("),
    ("dict.delete", "dict.rs", ":delete("),
    ("dict.cas", "dict.rs", ":cas("),
    ("queue.push", "queue.rs", ":push("),
    ("queue.pop", "queue.rs", ":pop("),
    ("limit.take", "limit.rs", "forebay.limit.take("),
    ("tokens.reserve", "limit.rs", "forebay.tokens.reserve("),
    ("lease.commit", "limit.rs", "lease:commit("),
    ("lease.release", "limit.rs", "lease:release("),
    ("kv.get", "kv.rs", ":get("),
    ("kv.set", "kv.rs", ":set("),
    ("kv.incr", "kv.rs", ":incr("),
    ("kv.delete", "kv.rs", ":delete("),
    ("kv.eval", "kv.rs", ":eval("),
    ("metric.counter", "metric.rs", "forebay.metric.counter("),
    ("metric.gauge", "metric.rs", "forebay.metric.gauge("),
    ("metric.histogram", "metric.rs", "forebay.metric.histogram("),
    ("log", "log.rs", "forebay.log.info("),
    ("trace.span", "trace.rs", "forebay.trace.span("),
    ("limits.remaining", "limits.rs", "forebay.limits.remaining("),
    ("secret", "secret.rs", "forebay.secret("),
    ("secret.hmac", "secret.rs", ":hmac("),
    ("now", "time.rs", "forebay.now("),
    ("sleep", "time.rs", "forebay.sleep("),
    ("timer.every", "time.rs", "forebay.timer.every("),
    ("abi.version", "meta.rs", "forebay.abi.version("),
    ("abi.has", "meta.rs", "forebay.abi.has("),
];

fn read(file: &str) -> String {
    let path = root().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_row_of_the_table_has_a_test() {
    let mut wrong = Vec::new();
    for row in TABLE {
        let tested =
            TESTED.iter().find(|(name, ..)| *name == row.lua || name.ends_with('.') && row.lua.starts_with(name));
        let Some((name, file, call)) = tested else {
            wrong.push(format!("{}: no test; add a case to both engines and a line to TESTED", row.lua));
            continue;
        };
        // A map's test goes through a local: `map.get(` in place of `forebay.request.headers.get(`.
        let call = if name.ends_with('.') { format!("map{}(", &row.lua[name.len() - 1..]) } else { (*call).to_owned() };
        if !read(&format!("tests/conformance/{file}")).contains(&call) {
            wrong.push(format!("{}: {file} does not call {call}", row.lua));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_row_is_probed_in_both_engines() {
    let guest = read("tests/conformance/guest/src/probe.rs");
    let mut wrong = Vec::new();
    for row in TABLE {
        let (map, operation) = row.lua.rsplit_once('.').unwrap_or(("", row.lua));
        let whole = format!("\"{}\"", row.lua);
        let parts = guest.contains(&format!("\"{map}\"")) && guest.contains(&format!("\"{operation}\""));
        if !guest.contains(&whole) && !parts {
            wrong.push(format!("{}: not in the guest's probe", row.lua));
        }
        let lua = crate::phases::PROBE;
        let parts = lua.contains(&format!("\"{map}\"")) && lua.contains(&format!("{operation} = function"));
        if !lua.contains(&whole) && !parts {
            wrong.push(format!("{}: not in the Lua probe", row.lua));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_row_has_a_line_in_both_readmes() {
    let (lua, wasm) = (read("sdk-lua/README.md"), read("sdk-wasm/README.md"));
    let mut wrong = Vec::new();
    for row in TABLE {
        if !lua.contains(row.lua) {
            wrong.push(format!("sdk-lua/README.md: no line for {}", row.lua));
        }
        if !wasm.contains(row.wasm) {
            wrong.push(format!("sdk-wasm/README.md: no line for {}", row.wasm));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
