//! What an operator sees: the admin address, the metrics, the log.

use harness::{Edge, Origin, PATIENCE, Setup, list, to_shop, wait_until};

fn json(edge: &Edge, path: &str) -> serde_json::Value {
    let response = edge.admin(path);
    assert_eq!(response.status, 200, "{path}");
    serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_admin_address_tells_how_the_edge_is() {
    let origin = Origin::saying("ok");
    let edge = Setup::new(format!(
        "plugins:\n  - {{name: p, lua: p.lua}}\nroutes:\n  - {{name: all, plugins: [p], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
        list(&[origin.address])
    ))
    .file("p.lua", "return { on_request_headers = function() end }\n")
    .start();
    assert_eq!((edge.admin("/healthz").status, edge.admin("/readyz").status), (200, 200));
    assert_eq!(edge.admin("/nothing").status, 404);
    assert_eq!(edge.get("/").status, 200);
    let config = json(&edge, "/config").to_string();
    assert!(config.contains("shop") && config.contains(&origin.address.to_string()), "{config}");
    let plugins = json(&edge, "/plugins").to_string();
    assert!(plugins.contains("\"p\""), "{plugins}");
}

/// Every key of an answer, at whatever depth; not those that are names of things.
fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|value| keys(value, found)),
        serde_json::Value::Object(all) => {
            for (key, value) in all {
                found.push(key.clone());
                if !key.starts_with("by_") {
                    keys(value, found);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn what_the_admin_address_says_of_plugins_stands_in_its_page() {
    let origin = Origin::saying("ok");
    let budget = "crash_budget: {faults: 1, within: 1h, back_off: 1h, most: 1h}";
    let mut edge = Setup::new(format!(
        "plugins:\n  - {{name: p, lua: p.lua, {budget}}}\nroutes:\n  - {{name: all, plugins: [p], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
        list(&[origin.address])
    ))
    .file("p.lua", "return { on_request_headers = function() error('a sentence') end }\n")
    .start();
    edge.process.expect_error("a sentence");
    assert_eq!(edge.get("/").status, 503);
    let plugins = wait_until("the fault to be told", PATIENCE, || {
        let plugins = json(&edge, "/plugins");
        plugins["plugins"][0]["routes"][0]["last_fault"].is_object().then_some(plugins)
    });
    let page = std::fs::read_to_string(harness::binary::root().join("host/edge/README.md")).expect("the page is there");
    let mut found = Vec::new();
    keys(&plugins, &mut found);
    assert!(found.len() > 40, "{found:?}");
    for key in found {
        assert!(page.contains(&format!("`{key}`")) || key == "plugins", "{key} is not in the page");
    }
    let other: serde_json::Value = serde_json::from_slice(&edge.admin("/nothing").body).expect("JSON");
    for path in other["paths"].as_array().expect("it lists them") {
        let path = path.as_str().expect("a path");
        assert!(page.contains(&format!("`GET {path}`")), "{path} is not in the page");
    }
}

#[test]
fn requests_are_counted_by_route_pool_and_status() {
    let origin = Origin::serve(|exchange| {
        let status = exchange.head.target()[1..].parse().unwrap_or(200);
        exchange.respond(status, &[], b"ok")
    });
    let edge = Setup::new(to_shop(&[origin.address], "")).workers(2).start();
    for status in [200, 200, 200, 404, 500] {
        assert_eq!(edge.get(&format!("/{status}")).status, status);
    }
    let metrics = wait_until("five requests to be counted", PATIENCE, || {
        let metrics = edge.metrics();
        (metrics.sum("forebay_requests_total", &["route=\"all\"", "pool=\"shop\""]) == 5.0).then_some(metrics)
    });
    assert_eq!(metrics.sum("forebay_requests_total", &["code=\"200\""]), 3.0, "{}", metrics.0);
    assert_eq!(metrics.sum("forebay_requests_total", &["code=\"500\""]), 1.0);
    assert_eq!(metrics.sum("forebay_request_duration_seconds_count", &["route=\"all\""]), 5.0);
    assert_eq!(metrics.sum("forebay_in_flight", &[]), 0.0);
    for line in metrics.0.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(name.starts_with("forebay_"), "{name}: ours begin with forebay_");
    }
}

#[test]
fn each_request_is_one_line_of_json_with_its_facts() {
    let origin = Origin::saying("four");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("POST", "/a?secret=1", &[("Host", "shop.test")], b"abc");
    client.response();
    edge.get("/other");
    let line = edge.process.wait_for_log(&["forebay::access", "/a"]);
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    let text = line.to_string();
    for fact in ["\"POST\"", "shop.test", "\"all\"", "\"shop\"", &origin.address.to_string(), "200"] {
        assert!(text.contains(fact), "{fact} is not in {text}");
    }
    edge.process.wait_for_log(&["forebay::access", "/other"]);
    let lines = edge.process.log().iter().filter(|line| line.contains("forebay::access")).count();
    assert_eq!(lines, 2, "one line for each request");
}

#[test]
fn a_request_without_a_route_is_counted_and_logged_too() {
    let edge = Edge::start("routes:\n  - {name: a, match: {path: {exact: /a}}, respond: {body: here}}\n");
    assert_eq!(edge.get("/nowhere").status, 404);
    edge.process.wait_for_log(&["forebay::access", "/nowhere", "404"]);
    wait_until("the reject to be counted", PATIENCE, || {
        (edge.metrics().sum("forebay_rejects_total", &[]) == 1.0).then_some(())
    });
}

#[test]
fn what_a_plugin_works_and_holds_is_told_by_worker() {
    const EXCHANGES: usize = 60;
    // Some milliseconds of CPU each, compiled code and garbage.
    let busy = "return { on_request_headers = function()\n\
                local begin, kept = os.clock(), {}\n\
                while os.clock() - begin < 0.004 do for i = 1, 100 do kept[i] = { i, tostring(i) } end end\nend }\n";
    let text = "plugins:\n  - {name: busy, lua: busy.lua, limits: {cpu: 100ms}}\n  - {name: idle, lua: idle.lua}\n\
                routes:\n  - {name: all, plugins: [busy, idle], respond: {}}\n";
    let edge = Setup::new(text).file("busy.lua", busy).file("idle.lua", "return { on_log = function() end }\n").start();
    (0..EXCHANGES).for_each(|_| assert_eq!(edge.get("/").status, 200));
    let of = |plugin: &str, name: &str| edge.metrics().sum(name, &[&format!("plugin=\"{plugin}\"")]);
    wait_until("the CPU time to be told", PATIENCE, || {
        (of("busy", "forebay_plugin_cpu_seconds_total") > EXCHANGES as f64 * 0.002).then_some(())
    });
    assert!(of("busy", "forebay_lua_gc_cycles_total") >= 1.0);
    assert!(of("busy", "forebay_lua_jit_bytes") >= 4096.0, "its loop was compiled");
    // Sampled, so a beat may fall on it; not sixty.
    assert!(of("idle", "forebay_plugin_cpu_seconds_total") < of("busy", "forebay_plugin_cpu_seconds_total") / 4.0);
    assert!(of("idle", "forebay_lua_heap_bytes") > 10_000.0);
}
