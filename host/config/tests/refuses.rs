//! Files that are wrong are refused with all that is wrong: line, key path, what was found, what
//! is allowed, the near miss. Long, as each kind of bad input is one sentence with its whole output.

#[path = "support/folder.rs"]
mod folder;

use std::path::Path;

use folder::Folder;
use forebay_config as config;

/// An edge, a route and a pool that are right, on lines 1 to 3: what is wrong comes after them.
const RIGHT: &str = "\
edge: {listeners: [{address: '127.0.0.1:0'}]}
routes: [{name: all, pool: shop}]
pools: [{name: shop, origins: ['127.0.0.1:80']}, {name: api, origins: ['127.0.0.1:81']}]
";

fn errors_in(text: &str, base: &Path) -> Vec<String> {
    match config::parse(text, Path::new("region.yaml"), base) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn errors(text: &str) -> Vec<String> {
    errors_in(text, Path::new("/nowhere"))
}

/// The whole output for `text` is exactly these lines.
#[track_caller]
fn refused(text: &str, lines: &[&str]) {
    assert_eq!(errors(text), lines, "\n--- of\n{text}");
}

/// A listener's edge with these keys added, from line 3 on.
fn edge(keys: &str) -> String {
    format!("edge:\n  listeners: [{{address: '127.0.0.1:0'}}]\n{keys}")
}

/// A pool with these keys, from line 4 on.
fn pool(keys: &str) -> String {
    let edge = "edge: {listeners: [{address: '127.0.0.1:0'}], aggregators: ['http://a:1']}";
    format!("{edge}\npools:\n  - name: shop\n{keys}")
}

/// A scaling that is right but for these keys, from line 6 on.
fn scaling(keys: &str) -> String {
    pool(&format!("    scaling:\n      ceiling: 4\n{keys}"))
}

/// A route to a pool that is there, with these keys from line 4 on.
fn route(keys: &str) -> String {
    format!(
        "edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\nroutes:\n  - name: all\n{keys}\
         pools: [{{name: shop, origins: ['127.0.0.1:80']}}, {{name: api, origins: ['127.0.0.1:81']}}]\n"
    )
}

#[test]
fn steps_and_tolerances_that_cannot_be_meant() {
    let actuator = "      actuator: dry_run\n";
    refused(
        &scaling(&format!(
            "      step_up: 0\n      step_down: {{percent: 120, within: 2h}}\n      tolerance: 3\n{actuator}"
        )),
        &[
            "region.yaml:6: pools[0].scaling.step_up: found the number 0; allowed: a whole number from 1",
            "region.yaml:7: pools[0].scaling.step_down.percent: found 120 percent; allowed: 0 to 100",
            "region.yaml:7: pools[0].scaling.step_down.within: found 2h; allowed: up to 1h",
            "region.yaml:8: pools[0].scaling.tolerance: found the number 3; allowed: a percentage from 0% to 50%, such as \
             3%; did you mean \"3%\"?",
        ],
    );
    let down = "[{within: 1m}, {orgins: 2}]";
    refused(
        &scaling(&format!("      step_up: []\n      step_down: {down}\n      tolerance: 60%\n{actuator}")),
        &[
            "region.yaml:6: pools[0].scaling.step_up: found an empty list; needed: a number, a map, or a list with at \
             least one map",
            "region.yaml:7: pools[0].scaling.step_down[0]: nothing could ever move; needed: origins or percent, from 1, or \
             both (the larger counts)",
            "region.yaml:7: pools[0].scaling.step_down[1]: nothing could ever move; needed: origins or percent, from 1, or \
             both (the larger counts)",
            "region.yaml:7: pools[0].scaling.step_down[1].orgins: unknown key \"orgins\"; keys are: origins, percent, \
             within; did you mean \"origins\"?",
            "region.yaml:8: pools[0].scaling.tolerance: found \"60%\"; allowed: a percentage from 0% to 50%, such as 3%",
        ],
    );
}

#[test]
fn what_the_tests_start_from_is_right() {
    for text in [
        RIGHT.to_owned(),
        edge(""),
        pool("    origins: ['127.0.0.1:80']\n"),
        scaling("      actuator: dry_run\n"),
        route("    pool: shop\n"),
    ] {
        refused(&text, &[]);
    }
}

#[test]
fn a_pool_that_is_not_there_is_named_with_those_that_are() {
    refused(
        &route("    pool: shpo\n"),
        &["region.yaml:4: routes[0].pool: no pool \"shpo\"; pools are: shop, api; did you mean \"shop\"?"],
    );
    refused(
        "edge: {listeners: [{address: '127.0.0.1:0'}]}\nroutes: [{name: a, pool: shop}]",
        &["region.yaml:2: routes[0].pool: no pool \"shop\"; pools are: none"],
    );
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_those_that_are() {
    let folder = Folder::like_the_repository("no-plugin");
    let text = RIGHT.replace("pool: shop}", "pool: shop, plugins: [{name: stmap}, other]}")
        + "plugins: [{name: stamp, lua: plugins/lua/request-stamp}]\n";
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:2: routes[0].plugins[0].name: no plugin \"stmap\"; plugins are: stamp; did you mean \"stamp\"?",
            "region.yaml:2: routes[0].plugins[1]: no plugin \"other\"; plugins are: stamp",
        ]
    );
}

#[test]
fn a_pool_whose_own_key_is_wrong_is_still_there_for_routes() {
    refused(
        "edge: {listeners: [{address: '127.0.0.1:0'}]}\nroutes: [{name: a, pool: shop}]\npools:\n  - name: shop\n    origins: 5\n",
        &["region.yaml:5: pools[0].origins: found the number 5; allowed: a list"],
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_keys_there_are() {
    refused(
        "edge: {listeners: [{address: '127.0.0.1:0'}]}\nroute: []\n",
        &[
            "region.yaml:2: route: unknown key \"route\"; keys are: edge, aggregator, log, secrets, plugins, routes, pools, targets, dicts, buckets, kv, queues, calendars; \
             did you mean \"routes\"?",
        ],
    );
    refused(
        &pool("    origin: ['127.0.0.1:80']\n    orgins: []\n"),
        &[
            "region.yaml:4: pools[0].origin: unknown key \"origin\"; keys are: name, origins, balance, http2, timeouts, \
             idle_connections, health, warmup, slow_start, scaling; did you mean \"origins\"?",
            "region.yaml:5: pools[0].orgins: unknown key \"orgins\"; keys are: name, origins, balance, http2, timeouts, \
             idle_connections, health, warmup, slow_start, scaling; did you mean \"origins\"?",
        ],
    );
}

#[test]
fn a_key_given_twice_is_refused_with_the_first() {
    refused(&edge("  drain: 1s\n  drain: 2s\n"), &["region.yaml:4: edge.drain: given twice; first on line 3"]);
    refused(&(RIGHT.to_owned() + "routes: []\n"), &["region.yaml:4: routes: given twice; first on line 2"]);
}

#[test]
fn a_key_given_twice_in_a_plugins_own_configuration_is_refused_too() {
    let folder = Folder::like_the_repository("twice");
    let text = format!(
        "{RIGHT}plugins:\n  - name: a\n    lua: plugins/lua/request-stamp\n    config:\n      x: [{{y: 1, y: 2}}]\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        ["region.yaml:8: plugins[0].config.x[0].y: given twice; first on line 8"]
    );
}

#[test]
fn what_is_no_yaml_is_one_error_with_its_line() {
    let found = errors("edge:\n  listeners: [\n  drain}\n");
    assert_eq!(found, ["region.yaml:2: not YAML: mismatched bracket '[' closed by '}'"]);
    let found = errors("edge:\n\tdrain: 1s\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("region.yaml:2: not YAML: "), "{found:?}");
}

#[test]
fn a_file_is_one_document_of_a_bounded_size() {
    refused(
        &format!("{RIGHT}---\nedge: {{}}\n"),
        &["region.yaml:5: a second document after \"---\"; allowed: one document"],
    );
    let aliases: String = ('b'..='j')
        .zip('a'..='i')
        .map(|(name, of)| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(",")))
        .collect();
    let found = errors(&format!("a: &a [x,x,x,x,x,x,x,x,x,x]\n{aliases}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with(": more values, or deeper ones, than a region file may hold"), "{found:?}");
    let found = errors(&format!("edge: {}", "[".repeat(5000)));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("region.yaml:1: "), "{found:?}");
}

#[test]
fn lines_are_counted_whatever_ends_them() {
    refused(
        &format!("\u{feff}{}log:\r\n  # größer\r\n  formt: json\r\n", RIGHT.replace('\n', "\r\n")),
        &[
            "region.yaml:6: log.formt: unknown key \"formt\"; keys are: format, filter, access; did you mean \"format\"?",
        ],
    );
}

#[test]
fn a_long_list_is_cut() {
    let pools: Vec<String> = (0..30).map(|i| format!("{{name: pool-{i}, origins: ['127.0.0.1:80']}}")).collect();
    let found = errors(&format!(
        "edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\nroutes: [{{name: a, pool: pool-30}}]\npools: [{}]\n",
        pools.join(", ")
    ));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("pool-18, pool-19 and 10 more; did you mean \"pool-"), "{found:?}");
}

#[test]
fn a_file_of_nothing_runs_nothing() {
    for text in ["", "# a comment\n", "{}", "routes: []\n", "edge:\n"] {
        refused(text, &["region.yaml:1: neither \"edge\" nor \"aggregator\" is given; needed: one of them or both"]);
    }
    refused(
        "a text",
        &[
            "region.yaml:1: found \"a text\"; allowed: a map of edge, aggregator, log, secrets, plugins, routes, pools, targets, dicts, buckets, kv, queues, calendars",
        ],
    );
}

#[test]
fn a_missing_key_is_named_with_what_it_is() {
    refused(
        "edge: {}\naggregator:\n  tick: 1s\n",
        &[
            "region.yaml:1: edge.listeners: missing; needed: where requests arrive",
            "region.yaml:2: aggregator.address: missing; needed: where edges report and operators ask",
        ],
    );
    refused(
        &scaling("      reactive: {}\n"),
        &[
            "region.yaml:4: pools[0].scaling.actuator: missing; needed: what carries decisions out",
            "region.yaml:6: pools[0].scaling.reactive.requests_per_origin: missing; \
             needed: requests a second that one origin carries, or \"signals\" in the same scaling",
        ],
    );
    refused(
        &scaling("      mode: up_only\n      actuator: dry_run\n"),
        &["region.yaml:6: pools[0].scaling.mode: found \"up_only\"; allowed: off, shadow, advise, up-only, on; \
           did you mean \"up-only\"?"],
    );
    refused(
        &scaling("      predictive: {price: 0}\n      actuator: dry_run\n"),
        &[
            "region.yaml:6: pools[0].scaling.predictive.requests_per_origin: missing; \
             needed: requests a second that one origin carries, or \"signals\" in the same scaling",
            "region.yaml:6: pools[0].scaling.predictive.price: found the number 0; \
             allowed: a number over 0, such as 50 or 1.2",
        ],
    );
}

#[test]
fn a_budget_that_contradicts_itself_is_refused() {
    let budget = |keys: &str| {
        scaling(&format!(
            "      predictive: {{requests_per_origin: 10}}\n      actuator: dry_run\n      budget: {keys}\n"
        ))
    };
    let at = |key: &str, rest: &str| format!("region.yaml:8: pools[0].scaling.budget{key}: {rest}");
    for (keys, says) in [
        (
            "{hard: true}",
            vec![
                at("", "nothing that bounds or aims; needed: one of price, slo, origin_hours, money, or more"),
                at(".hard", "\"hard\" without a ceiling; needed: \"origin_hours\" or \"money\" beside it"),
            ],
        ),
        (
            "{price: 4, slo: 99%}",
            vec![at(".slo", "\"slo\" stands beside \"price\"; allowed: one of \"price\", \"slo\"")],
        ),
        (
            "{origin_hours: 5000, money: 9000 USD, origin_hour: 1}",
            vec![at(".money", "\"money\" stands beside \"origin_hours\"; allowed: one of \"origin_hours\", \"money\"")],
        ),
        (
            "{money: 1200 USD}",
            vec![at(".money", "\"money\" without what an origin costs; needed: \"origin_hour\" beside it")],
        ),
        (
            "{slo: 99%, origin_hour: 0.1}",
            vec![at(".origin_hour", "\"origin_hour\" without \"money\"; allowed: with \"money\"")],
        ),
        (
            "{slo: 99.9}",
            vec![at(
                ".slo",
                "found the number 99.9; allowed: a share from 50% to 99.999%, such as 99.9%; did you mean \"99.9%\"?",
            )],
        ),
        (
            "{slo: 0.999}",
            vec![at(
                ".slo",
                "found the number 0.999; allowed: a share from 50% to 99.999%, such as 99.9%; did you mean \"99.9%\"?",
            )],
        ),
        ("{slo: 100%}", vec![at(".slo", "found \"100%\"; allowed: a share from 50% to 99.999%, such as 99.9%")]),
        ("{slo: NaN%}", vec![at(".slo", "found \"NaN%\"; allowed: a share from 50% to 99.999%, such as 99.9%")]),
        (
            "{price: 4, price_at_most: 400}",
            vec![at(
                ".price_at_most",
                "\"price_at_most\" without \"slo\"; allowed: beside \"slo\", whose price it bounds",
            )],
        ),
        ("{slo: 99%, price_at_most: 9}", vec![at(".price_at_most", "found 9; allowed: 10 to 10000")]),
        ("{slo: 99%, price_at_most: 20000}", vec![at(".price_at_most", "found 20000; allowed: 10 to 10000")]),
        (
            "{money: 1200, origin_hour: 1}",
            vec![at(
                ".money",
                "found the number 1200 (without a currency); allowed: a sum and its currency such as 1200 USD; \
                did you mean \"1200 USD\"?",
            )],
        ),
        (
            "{money: $1200, origin_hour: 1}",
            vec![at(
                ".money",
                "found \"$1200\"; allowed: a sum and its currency such as 1200 USD; did you mean \"1200 USD\"?",
            )],
        ),
        (
            "{origin_hours: 700}",
            vec![at(
                ".origin_hours",
                "700 origin-hours, and the floor 1 alone takes 745; allowed: from 745 on, or a lower floor",
            )],
        ),
        (
            "{money: 70 USD, origin_hour: 0.1}",
            vec![at(
                ".money",
                "700 origin-hours, and the floor 1 alone takes 745; allowed: from 74.50 USD on, or a lower floor",
            )],
        ),
    ] {
        refused(&budget(keys), &says.iter().map(String::as_str).collect::<Vec<_>>());
    }
    refused(
        &scaling(
            "      predictive: {requests_per_origin: 10, price: 30}\n      actuator: dry_run\n      budget: {price: 40}\n",
        ),
        &["region.yaml:8: pools[0].scaling.budget.price: 40, and \"predictive\" has the price 30; \
           allowed: \"price\" in one of \"budget\" and \"predictive\""],
    );
    refused(
        &scaling("      actuator: dry_run\n      budget: {slo: 99%}\n"),
        &[
            "region.yaml:7: pools[0].scaling.budget.slo: \"slo\" is what \"predictive\" goes by, and there is no such rule; \
           needed: \"predictive\" in the same scaling",
        ],
    );
}

#[test]
fn durations_and_sizes_say_how_they_are_written() {
    refused(
        &edge(
            "  drain: 30\n  report_interval: 0s\n  limits:\n    header_timeout: 10 sec\n    body_timeout: 1.5s\n    idle_timeout: soon\n    header_bytes: 64k\n    body_bytes: 0\n",
        ),
        &[
            "region.yaml:3: edge.drain: found the number 30 (without a unit); \
             allowed: a duration such as 0s, 250ms, 30s, 5m or 2h; did you mean \"30s\"?",
            "region.yaml:4: edge.report_interval: found \"0s\" (zero makes no sense here); \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h",
            "region.yaml:6: edge.limits.header_timeout: found \"10 sec\"; \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h; did you mean \"10s\"?",
            "region.yaml:7: edge.limits.body_timeout: found \"1.5s\"; \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h; did you mean \"1500ms\"?",
            "region.yaml:8: edge.limits.idle_timeout: found \"soon\"; \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h",
            "region.yaml:9: edge.limits.header_bytes: found \"64k\"; \
             allowed: a size such as 1000 (bytes), 64KiB, 16MiB or 1GiB; did you mean \"64KiB\"?",
            "region.yaml:10: edge.limits.body_bytes: found the number 0 (zero makes no sense here); \
             allowed: a size such as 1000 (bytes), 64KiB, 16MiB or 1GiB",
        ],
    );
    refused(
        &edge("  drain: 99999999999d\n  limits: {body_bytes: 99999999999GiB}\n"),
        &[
            "region.yaml:3: edge.drain: found \"99999999999d\" (longer than ten years); \
             allowed: a duration such as 0s, 250ms, 30s, 5m or 2h",
            "region.yaml:4: edge.limits.body_bytes: found \"99999999999GiB\" (past 64 bits); \
             allowed: a size such as 1000 (bytes), 64KiB, 16MiB or 1GiB",
        ],
    );
}

#[test]
fn numbers_booleans_and_texts_are_told_apart() {
    refused(
        &pool(
            "    origins: ['127.0.0.1:80']\n    http2: yes\n    idle_connections: -1\n    health:\n      healthy_after: 0\n      unhealthy_after: '3'\n      path: health\n      statuses: [200, 99, OK]\n",
        ),
        &[
            "region.yaml:5: pools[0].http2: found \"yes\"; allowed: true or false; did you mean \"true\"?",
            "region.yaml:6: pools[0].idle_connections: found the number -1; allowed: a whole number from 0",
            "region.yaml:8: pools[0].health.healthy_after: found the number 0; allowed: a whole number from 1",
            "region.yaml:9: pools[0].health.unhealthy_after: found \"3\" (a number is needed: write it without quotes); \
             allowed: a whole number from 1",
            "region.yaml:10: pools[0].health.path: found \"health\"; allowed: a path that starts with '/', \
             without blanks; did you mean \"/health\"?",
            "region.yaml:11: pools[0].health.statuses[1]: found the number 99; allowed: a status from 100 to 599",
            "region.yaml:11: pools[0].health.statuses[2]: found \"OK\"; allowed: a status from 100 to 599",
        ],
    );
    refused(
        &route("    pool: shop\n    match: {headers: [{name: x, exact: 1}]}\n"),
        &["region.yaml:5: routes[0].match.headers[0].exact: found the number 1 \
           (a text is needed: write \"1\" with its quotes); allowed: a text"],
    );
}

#[test]
fn a_word_of_a_closed_set_is_named_with_the_set() {
    refused(
        &pool("    origins: ['127.0.0.1:80']\n    balance: roundrobin\n"),
        &["region.yaml:5: pools[0].balance: found \"roundrobin\"; allowed: round_robin, least_requests; \
           did you mean \"round_robin\"?"],
    );
    refused(
        &(RIGHT.to_owned() + "log: {format: text}\n"),
        &["region.yaml:4: log.format: found \"text\"; allowed: json, pretty"],
    );
    refused(
        "edge: {listeners: [{address: '127.0.0.1:0', protocols: [http/2, http1, http1]}]}",
        &[
            "region.yaml:1: edge.listeners[0].protocols[0]: found \"http/2\"; allowed: http1, http2; \
             did you mean \"http2\"?",
            "region.yaml:1: edge.listeners[0].protocols[2]: \"http1\" is given twice",
        ],
    );
}

#[test]
fn names_are_unique_and_of_few_characters() {
    refused(
        "edge: {listeners: [{address: '127.0.0.1:0'}]}\nroutes:\n  - {name: a, pool: shop}\n  - {name: a, pool: shop}\n\
         pools:\n  - {name: shop, origins: ['127.0.0.1:80']}\n  - {name: shop, origins: ['127.0.0.1:81']}\n",
        &[
            "region.yaml:4: routes[1].name: a second route \"a\"; the first is on line 3; allowed: each name once",
            "region.yaml:7: pools[1].name: a second pool \"shop\"; the first is on line 6; allowed: each name once",
        ],
    );
    refused(
        &edge("  name: my edge\n"),
        &["region.yaml:3: edge.name: found \"my edge\"; allowed: a name of letters, digits, '-', '_' and '.', \
           at most 63, the first a letter or digit"],
    );
}

#[test]
fn addresses_parse_and_are_given_once() {
    refused(
        "edge:\n  listeners:\n    - address: localhost:8080\n    - address: '127.0.0.1:8080'\n    - address: '127.0.0.1:8080'\n    - address: ':80'\n  admin: '127.0.0.1:8080'\naggregator: {address: '127.0.0.1'}\n",
        &[
            "region.yaml:3: edge.listeners[0].address: found \"localhost:8080\"; allowed: an IP address and a port \
             such as 127.0.0.1:8080 or [::1]:8080; did you mean \"127.0.0.1:8080\"?",
            "region.yaml:5: edge.listeners[2].address: 127.0.0.1:8080 is also edge.listeners[1].address; \
             allowed: each address once",
            "region.yaml:6: edge.listeners[3].address: found \":80\"; allowed: an IP address and a port \
             such as 127.0.0.1:8080 or [::1]:8080; did you mean \"127.0.0.1:80\"?",
            "region.yaml:7: edge.admin: 127.0.0.1:8080 is also edge.listeners[1].address; allowed: each address once",
            "region.yaml:8: aggregator.address: found \"127.0.0.1\"; allowed: an IP address and a port \
             such as 127.0.0.1:8080 or [::1]:8080",
        ],
    );
    refused("edge: {listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0'}]}", &[]);
    refused(
        &edge("  aggregators: ['127.0.0.1:9902', 'https://a:1', 'http://a', 'http://a.example:9902/']\n"),
        &[
            "region.yaml:3: edge.aggregators[0]: found \"127.0.0.1:9902\"; allowed: http://host:port; \
             did you mean \"http://127.0.0.1:9902\"?",
            "region.yaml:3: edge.aggregators[1]: found \"https://a:1\"; allowed: http://host:port; \
             did you mean \"http://a:1\"?",
            "region.yaml:3: edge.aggregators[2]: found \"http://a\"; allowed: http://host:port",
        ],
    );
}

#[test]
fn a_route_goes_to_a_pool_or_answers_and_not_both() {
    refused(
        &route("    plugins: []\n"),
        &["region.yaml:3: routes[0]: none of \"pool\", \"respond\" is given; needed: one of them"],
    );
    refused(
        &route("    pool: shop\n    respond: {status: 204, body: x}\n"),
        &[
            "region.yaml:5: routes[0].respond: \"respond\" stands beside \"pool\"; allowed: one of \"pool\", \"respond\"",
        ],
    );
    refused(
        &route(
            "    respond:\n      status: 204\n      body: x\n      headers: {content-length: '1', 'a b': x, c: \"d\\ne\"}\n",
        ),
        &[
            "region.yaml:6: routes[0].respond.body: found a body under status 204, which has none",
            "region.yaml:7: routes[0].respond.headers.content-length: found \"content-length\"; \
             allowed: headers that do not frame the body, which the edge does itself",
            "region.yaml:7: routes[0].respond.headers.a b: found \"a b\"; allowed: a header name such as x-request-id",
            "region.yaml:7: routes[0].respond.headers.c: found \"d\\ne\"; \
             allowed: a header value on one line without control characters",
        ],
    );
}

#[test]
fn matches_are_checked_key_by_key() {
    refused(
        &route(
            "    pool: shop\n    match:\n      hosts: ['example.com:80', 'a..b']\n      methods: [get, 'G T']\n      path: {exact: /a, prefix: /b}\n      headers: [{name: x}, {name: y, present: false}]\n",
        ),
        &[
            "region.yaml:6: routes[0].match.hosts[0]: found \"example.com:80\"; allowed: a host without port \
             such as example.com or *.example.com; did you mean \"example.com\"?",
            "region.yaml:6: routes[0].match.hosts[1]: found \"a..b\"; allowed: a host without port \
             such as example.com or *.example.com",
            "region.yaml:7: routes[0].match.methods[0]: found \"get\"; allowed: a method in capitals such as GET; \
             did you mean \"GET\"?",
            "region.yaml:7: routes[0].match.methods[1]: found \"G T\"; allowed: a method in capitals such as GET",
            "region.yaml:8: routes[0].match.path.prefix: \"prefix\" stands beside \"exact\"; \
             allowed: one of \"exact\", \"prefix\", \"pattern\"",
            "region.yaml:9: routes[0].match.headers[0]: none of \"exact\", \"pattern\", \"present\" is given; \
             needed: one of them",
            "region.yaml:9: routes[0].match.headers[1].present: found false; \
             allowed: true; a header's absence is not matched",
        ],
    );
    refused(
        &route("    pool: shop\n    match: {path: {pattern: '/v(1'}}\n"),
        &["region.yaml:5: routes[0].match.path.pattern: found \"/v(1\" (unclosed group); \
           allowed: a regular expression for the whole value, such as /v[0-9]+/.*"],
    );
}

#[test]
fn a_pattern_cannot_close_the_group_that_holds_it() {
    let found = errors(&route("    pool: shop\n    match: {path: {pattern: '/a)|(.*'}}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("unopened group"), "{found:?}");
}

#[test]
fn a_warm_pool_that_nothing_sizes_is_refused() {
    let with = |text: &str| errors(&scaling(&format!("      warm_pool: {text}\n      actuator: dry_run\n")));
    let at = "region.yaml:6: pools[0].scaling.warm_pool";
    assert_eq!(
        with("{size: auto}"),
        [format!(
            "{at}.size: auto follows a forecast, and no rule makes one; needed: \"predictive\" in the same scaling, or \
             a number"
        )]
    );
    assert_eq!(with("{size: 4, at_most: 2}"), [format!("{at}.size: the size 4 is over at_most, 2; allowed: 0 to 2")]);
    assert_eq!(
        with("{size: atuo}"),
        [format!("{at}.size: found \"atuo\"; a whole number from 0, or the word: auto; did you mean \"auto\"?")]
    );
    assert_eq!(with("{}"), [format!("{at}.size: missing; needed: how many, or `auto`")]);
    assert_eq!(
        with("{size: 2, cost: 1.5}"),
        [format!(
            "{at}.cost: 1.5 times what one costs that serves; allowed: over 0, such as 0.1 for one that is stopped, to 1"
        )]
    );
}

#[test]
fn a_key_by_the_name_that_other_autoscalers_give_it_is_told_its_name_here() {
    let told = |key: &str| errors(&scaling(&format!("      {key}\n      actuator: dry_run\n"))).join("\n");
    for (theirs, ours) in [
        ("minReplicas: 3", "floor"),
        ("max_replica_count: 9", "ceiling"),
        ("min-size: 3", "floor"),
        ("stabilizationWindowSeconds: 300", "stabilisation"),
        ("reactive: {target: 50}", "requests_per_origin"),
        ("schedules: [{name: a, start: '0 8 * * *', zone: UTC, duration: 1h, floor: 1}]", "cron"),
        ("schedules: [{name: a, cron: '0 8 * * *', timezone: UTC, duration: 1h, floor: 1}]", "zone"),
    ] {
        let told = told(theirs);
        assert!(told.contains(&format!("; did you mean \"{ours}\"?")), "{theirs}: {told}");
    }
    // A name that nothing here stands for is guessed at by nobody.
    assert!(!told("scaleTargetRef: shop").contains("did you mean"), "{}", told("scaleTargetRef: shop"));
}

#[test]
fn a_lead_that_contradicts_itself_is_refused() {
    refused(
        &scaling("      lead: {initial: 20m, at_lest: 5m}\n      actuator: dry_run\n"),
        &[
            "region.yaml:6: pools[0].scaling.lead.initial: 20m is not within the lead's own bounds; \
             allowed: 0s to 10m",
            "region.yaml:6: pools[0].scaling.lead.at_lest: unknown key \"at_lest\"; keys are: initial, at_least, \
             at_most; did you mean \"at_least\"?",
        ],
    );
    refused(
        &scaling("      lead: {at_least: 5m, at_most: 2m}\n      actuator: dry_run\n"),
        &["region.yaml:6: pools[0].scaling.lead.at_least: 5m is over at_most, 2m; allowed: 0s to 2m"],
    );
}

#[test]
fn a_pool_has_origins_or_scaling() {
    refused(
        &pool("    http2: true\n"),
        &["region.yaml:3: pools[0]: neither \"origins\" nor \"scaling\" is given; needed: one of them or both"],
    );
    refused(
        &pool("    origins: ['127.0.0.1:80', '127.0.0.1:0', '127.0.0.1:80']\n"),
        &[
            "region.yaml:4: pools[0].origins[1]: found port 0; allowed: a port from 1 to 65535",
            "region.yaml:4: pools[0].origins[2]: 127.0.0.1:80 is given twice",
        ],
    );
}

#[test]
fn an_edge_hears_of_the_origins_that_scaling_starts() {
    let heard = scaling("      actuator: dry_run\n");
    refused(&heard, &[]);
    let unheard = heard.replace(", aggregators: ['http://a:1']", "");
    refused(
        &unheard,
        &["region.yaml:3: pools[0]: this edge would never hear of its origins: \"edge.aggregators\" is empty; \
           needed: an aggregator to report to, or \"origins\""],
    );
    refused(&unheard.replace("- name: shop", "- name: shop\n    origins: ['127.0.0.1:80']"), &[]);
    refused(
        &unheard.replace("edge: {listeners: [{address: '127.0.0.1:0'}]}", "aggregator: {address: '127.0.0.1:0'}"),
        &[],
    );
}

#[test]
fn floors_stay_under_the_ceiling() {
    refused(
        &scaling(
            "      floor: 5\n      schedules: [{name: a, cron: '0 9 * * *', zone: UTC, duration: 1h, floor: 9}]\n      actuator: dry_run\n",
        ),
        &[
            "region.yaml:6: pools[0].scaling.floor: the floor 5 is over the ceiling 4; allowed: 0 to 4",
            "region.yaml:7: pools[0].scaling.schedules[0].floor: the floor 9 is over the ceiling 4; allowed: 0 to 4",
        ],
    );
}

#[test]
fn a_script_of_scaling_is_a_plugin_that_there_is_once_and_on_disk() {
    let with = |plugins: &str, scripts: &str| {
        let text = scaling(&format!("      actuator: dry_run\n      scripts: [{scripts}]\n"));
        format!("{text}plugins:\n{plugins}")
    };
    let folder = Folder::new("scripts");
    folder.write("cpu.lua", "return {}\n");
    let cpu = "  - {name: cpu, lua: cpu.lua}\n";
    let errors = |text: String| errors_in(&text, folder.path());
    assert_eq!(errors(with(cpu, "cpu")), [] as [&str; 0]);
    assert_eq!(
        errors(with(cpu, "{name: cpu, config: {high: 70}, limits: {cpu: 5ms}, crash_budget: {faults: 3}}")),
        [] as [&str; 0]
    );
    // It is shown the signals, so they are of use without another rule.
    let signals = "      signals: [{source: in_flight, per_origin: 9}]\n      scripts: [";
    assert_eq!(errors(with(cpu, "cpu").replace("      scripts: [", signals)), [] as [&str; 0]);
    assert_eq!(
        errors(with(cpu, "cpv")),
        ["region.yaml:7: pools[0].scaling.scripts[0]: no plugin \"cpv\"; plugins are: cpu; did you mean \"cpu\"?"]
    );
    assert_eq!(
        errors(with(cpu, "cpu, {name: cpu, config: 1}")),
        ["region.yaml:7: pools[0].scaling.scripts[1].name: \"cpu\" is given twice"]
    );
    let on_fault = errors(with(cpu, "{name: cpu, on_fault: open}"));
    assert!(
        on_fault[0].starts_with("region.yaml:7: pools[0].scaling.scripts[0].on_fault: unknown key"),
        "{on_fault:?}"
    );
    let digest = "0".repeat(64);
    let fetched = format!("  - {{name: cpu, wasm: 'https://a.test/cpu.wasm', fetch: {{sha256: '{digest}'}}}}\n");
    assert_eq!(
        errors(with(&fetched, "cpu")),
        ["region.yaml:7: pools[0].scaling.scripts[0]: \"cpu\" is fetched from https://a.test/cpu.wasm; \
          allowed: a plugin whose code is a file"]
    );
}

#[test]
fn schedules_name_times_and_zones_that_exist() {
    refused(
        &scaling(
            "      actuator: dry_run\n      schedules:\n        - {name: a, cron: '0 25 * * *', zone: UTC, duration: 1h, floor: 1}\n        - {name: b, cron: '0 0 30 2 *', zone: UTC, duration: 1h, floor: 1}\n        - {name: c, cron: 'daily', duration: 1h, floor: 1, zone: Europe/Berln}\n",
        ),
        &[
            "region.yaml:8: pools[0].scaling.schedules[0].cron: found \"0 25 * * *\" (number out of bounds); \
             allowed: five cron fields such as 30 8 * * 1-5, or six with seconds first",
            "region.yaml:9: pools[0].scaling.schedules[1].cron: found \"0 0 30 2 *\" (a time that never comes); \
             allowed: five cron fields such as 30 8 * * 1-5, or six with seconds first",
            "region.yaml:10: pools[0].scaling.schedules[2].cron: found \"daily\"; \
             allowed: five cron fields such as 30 8 * * 1-5, or six with seconds first",
            "region.yaml:10: pools[0].scaling.schedules[2].zone: found \"Europe/Berln\"; \
             allowed: an IANA time zone such as Europe/Berlin or UTC; did you mean \"Europe/Berlin\"?",
        ],
    );
}

#[test]
fn an_actuator_is_known_and_has_what_it_needs() {
    refused(
        &scaling("      actuator: dryrun\n"),
        &["region.yaml:6: pools[0].scaling.actuator: found \"dryrun\"; actuators are: dry_run, process; \
           did you mean \"dry_run\"?"],
    );
    refused(
        &scaling("      actuator: process\n"),
        &["region.yaml:6: pools[0].scaling.actuator: found \"process\" without its command; \
           allowed: process: {command: […], state_dir: …}"],
    );
    refused(
        &scaling("      actuator: {process: {command: [forebay, origin], host: localhost}}\n"),
        &[
            "region.yaml:6: pools[0].scaling.actuator.process.state_dir: missing; \
             needed: a folder of small files that let a restarted aggregator find what runs",
            "region.yaml:6: pools[0].scaling.actuator.process.command: no \"{port}\" in the command; \
             needed: \"{port}\" where the origin's port goes",
            "region.yaml:6: pools[0].scaling.actuator.process.host: found \"localhost\"; \
             allowed: an IP address such as 127.0.0.1; did you mean \"127.0.0.1\"?",
        ],
    );
}

#[test]
fn a_lease_needs_one_server_and_the_time_to_renew() {
    let text = |lease: &str| {
        format!(
            "kv:\n  - {{name: one, url: redis://a}}\n  - {{name: slow, url: redis://a, timeout: 3s}}\n  - {{name: many, urls: [redis://a]}}\naggregator:\n  address: 127.0.0.1:0\n  lease: {lease}\n"
        )
    };
    let refused = |lease: &str, error: &str| refused(&text(lease), &[error]);
    refused(
        "{kv: once}",
        "region.yaml:7: aggregator.lease.kv: no store \"once\"; stores are: one, slow, many; did you mean \"one\"?",
    );
    refused(
        "{kv: many}",
        "region.yaml:7: aggregator.lease.kv: the store \"many\" is a cluster; allowed: a store of one server",
    );
    refused(
        "{kv: slow}",
        "region.yaml:7: aggregator.lease.kv: the store \"slow\" has a timeout of 3s, more than a third of the lease's ttl of 6s; \
         allowed: a store that answers or fails before the next renewal",
    );
    refused("{kv: one, ttl: 90s}", "region.yaml:7: aggregator.lease.ttl: found 90s; allowed: 1s to 60s");
    refused(
        "{kv: one, key: \"\"}",
        "region.yaml:7: aggregator.lease.key: found an empty text; allowed: a key, the same for all aggregators of the region",
    );
}

#[test]
fn a_stale_report_is_older_than_a_tick() {
    refused(
        "aggregator:\n  address: 127.0.0.1:0\n  tick: 10s\n  stale_after: 2s\n",
        &["region.yaml:4: aggregator.stale_after: 2s is less than the tick of 10s; allowed: at least one tick"],
    );
}

#[test]
fn a_history_stands_somewhere_and_a_journal_has_a_file() {
    refused(
        "aggregator:\n  address: 127.0.0.1:0\n  history: {keep: 1d}\n",
        &[
            "region.yaml:3: aggregator.history: no \"path\", and no \"aggregator.journal\" to stand beside; needed: one of them",
        ],
    );
    refused(
        "aggregator:\n  address: 127.0.0.1:0\n  journal: {path: a, files: 0, file_byte: 1MiB}\n",
        &[
            "region.yaml:3: aggregator.journal.files: found the number 0; allowed: a whole number from 1",
            "region.yaml:3: aggregator.journal.file_byte: unknown key \"file_byte\"; keys are: path, file_bytes, files; \
             did you mean \"file_bytes\"?",
        ],
    );
}

#[test]
fn a_secret_has_one_source_that_is_there_and_no_error_shows_it() {
    let folder = Folder::new("secrets");
    folder.write("empty", "\n");
    folder.write("key", "s3cr3t");
    let text = format!(
        "{RIGHT}secrets:\n  - {{name: a}}\n  - {{name: b, file: key, env: HOME}}\n  - {{name: c, file: kez}}\n  \
         - {{name: d, file: empty}}\n  - {{name: e, env: FOREBAY_NOT_SET}}\n  - {{name: f, file: key, targets: [shpo]}}\n  \
         - {{name: f, file: key}}\n"
    );
    let errors = errors_in(&text, folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        errors,
        [
            "region.yaml:5: secrets[0]: none of \"file\", \"env\" is given; needed: one of them".to_owned(),
            "region.yaml:6: secrets[1].env: \"env\" stands beside \"file\"; allowed: one of \"file\", \"env\"".to_owned(),
            format!(
                "region.yaml:7: secrets[2].file: cannot read {}: there is no such file; did you mean \"key\"?",
                path("kez")
            ),
            "region.yaml:8: secrets[3].file: a value of 0 bytes; allowed: 1 to 65536 bytes".to_owned(),
            "region.yaml:9: secrets[4].env: there is no environment variable \"FOREBAY_NOT_SET\"; needed: one that is set"
                .to_owned(),
            "region.yaml:10: secrets[5].targets[0]: no pool \"shpo\"; pools are: shop, api; did you mean \"shop\"?"
                .to_owned(),
            "region.yaml:11: secrets[6].name: a second secret \"f\"; the first is on line 10; allowed: each name once"
                .to_owned(),
        ]
    );
    assert!(!errors.concat().contains("s3cr3t"));
}

#[test]
fn a_secret_that_is_granted_is_one_of_the_file() {
    let folder = Folder::like_the_repository("granted-secrets");
    folder.write("key", "s3cr3t");
    let text = format!(
        "{RIGHT}secrets: [{{name: billing, file: key}}]\nplugins:\n  - name: a\n    lua: plugins/lua/request-stamp\n    \
         capabilities: ['secret:biling', 'secret:billing']\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:8: plugins[0].capabilities[0]: no secret \"biling\"; secrets are: billing; did you mean \"billing\"?"
        ]
    );
}

#[test]
fn an_exchange_may_use_what_one_callback_may() {
    let folder = Folder::like_the_repository("exchange-cpu");
    let text = format!(
        "{RIGHT}plugins:\n  - {{name: a, lua: plugins/lua/request-stamp, limits: {{cpu: 20ms, exchange_cpu: 10ms, mode: shadwo}}}}\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:5: plugins[0].limits.exchange_cpu: less than the CPU time of one callback; allowed: at least \"cpu\"",
            "region.yaml:5: plugins[0].limits.mode: found \"shadwo\"; allowed: enforce, shadow; did you mean \"shadow\"?",
        ]
    );
}

#[test]
fn limits_that_nothing_keeps_to_or_that_bound_nothing_are_refused() {
    let folder = Folder::like_the_repository("odd-limits");
    let text = format!(
        "{RIGHT}plugins:\n  - {{name: a, lua: plugins/lua/request-stamp, limits: {{cpu: 1us, background_cpu: 2s, \
         memory: 100GiB, buffer: 100GiB, instances: 0}}}}\n"
    );
    let at = "region.yaml:5: plugins[0].limits";
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            format!("{at}.cpu: found 1us; allowed: at least 100us"),
            format!("{at}.background_cpu: found 2s; allowed: 100us to 1s, of each second"),
            format!("{at}.memory: found 100GiB; allowed: 64KiB to 4GiB"),
            format!("{at}.buffer: found 100GiB; allowed: at most 1GiB"),
            format!("{at}.instances: found 0; allowed: 1 to 4000"),
        ]
    );
}

#[test]
fn what_exchanges_share_is_one_of_two_words() {
    let folder = Folder::like_the_repository("isolations");
    let lua = "lua: plugins/lua/request-stamp";
    let text = format!(
        "edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\nplugins:\n  - {{name: a, {lua}, isolation: exchang}}\n  \
         - {{name: b, wasm: plugins/wasm/shop-headers, isolation: Worker}}\n  - {{name: c, {lua}, isolation: 1}}\n  \
         - {{name: d, {lua}, isolaton: worker}}\n  - {{name: e, {lua}}}\nroutes:\n  - name: all\n    respond: {{}}\n    \
         plugins: [{{name: e, isolation: workers}}, {{name: e, isolation: [exchange]}}]\n"
    );
    let allowed = "allowed: worker, exchange";
    let found = errors_in(&text, folder.path());
    assert_eq!(
        found,
        [
            format!("region.yaml:3: plugins[0].isolation: found \"exchang\"; {allowed}; did you mean \"exchange\"?"),
            format!("region.yaml:4: plugins[1].isolation: found \"Worker\"; {allowed}; did you mean \"worker\"?"),
            format!("region.yaml:5: plugins[2].isolation: found the number 1; {allowed}"),
            "region.yaml:6: plugins[3].isolaton: unknown key \"isolaton\"; keys are: name, lua, trusted, lua_path, wasm, fetch, \
             vm_config, config, limits, capabilities, on_fault, isolation, crash_budget; did you mean \"isolation\"?"
                .to_owned(),
            format!(
                "region.yaml:11: routes[0].plugins[0].isolation: found \"workers\"; {allowed}; did you mean \"worker\"?"
            ),
            format!("region.yaml:11: routes[0].plugins[1].isolation: found a list; {allowed}"),
        ]
    );
}

#[test]
fn whose_certificates_clients_may_show_is_said_whole() {
    let folder = Folder::new("whose");
    folder.write("certificate.pem", folder::CERTIFICATE);
    folder.write("key.pem", folder::KEY);
    let base = folder.path().display();
    let with = |clients: &str| {
        let tls = format!("certificate: certificate.pem\n        key: key.pem\n        clients: {clients}\n");
        let text = format!("edge:\n  listeners:\n    - address: 127.0.0.1:0\n      tls:\n        {tls}");
        errors_in(&text, folder.path())
    };
    let at = "region.yaml:7: edge.listeners[0].tls.clients";
    assert_eq!(with("{}"), [format!("{at}.roots: missing; needed: a PEM file of the roots that must lead to them")]);
    assert_eq!(
        with("{root: certificate.pem, roots: certifcate.pem, certificate: require}"),
        [
            format!("{at}.root: unknown key \"root\"; keys are: roots, certificate; did you mean \"roots\"?"),
            format!(
                "{at}.roots: cannot read {base}/certifcate.pem: there is no such file; did you mean \"certificate.pem\"?"
            ),
            format!("{at}.certificate: found \"require\"; allowed: required, optional; did you mean \"required\"?"),
        ]
    );
    assert_eq!(
        with("{roots: key.pem}"),
        [format!("{at}.roots: PEM of PRIVATE KEY in {base}/key.pem; needed: -----BEGIN CERTIFICATE-----")]
    );
}

#[test]
fn a_crash_budget_doubles_upwards_and_counts_what_can_be_counted() {
    let folder = Folder::like_the_repository("crash-budget");
    let lua = "lua: plugins/lua/request-stamp";
    let text = format!(
        "{RIGHT}plugins:\n  - {{name: a, {lua}, on_fault: last_god, crash_budget: {{faults: 20000}}}}\n  \
         - {{name: b, {lua}, crash_budget: {{faults: 0, within: 0s, bakc_off: 1s}}}}\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:5: plugins[0].on_fault: found \"last_god\"; allowed: closed, open, last_good; did you mean \"last_good\"?",
            "region.yaml:5: plugins[0].crash_budget.faults: found the number 20000; allowed: a whole number from 0 (never disabled) to 10000",
            "region.yaml:6: plugins[1].crash_budget.within: found \"0s\" (zero makes no sense here); \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h",
            "region.yaml:6: plugins[1].crash_budget.bakc_off: unknown key \"bakc_off\"; keys are: faults, within, back_off, most; did you mean \"back_off\"?",
        ]
    );
    let text = format!(
        "edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\nplugins:\n  - {{name: a, {lua}}}\n  \
         - {{name: b, {lua}, crash_budget: {{back_off: 2m}}}}\nroutes:\n  - name: all\n    \
         plugins: [{{name: a, crash_budget: {{back_off: 90s}}}}]\n    respond: {{}}\n"
    );
    let problem = "\"most\" is less than \"back_off\", from which it doubles; allowed: at least \"back_off\"";
    let found = errors_in(&text, folder.path());
    assert_eq!(
        found,
        [
            format!("region.yaml:4: plugins[1].crash_budget.most: {problem}"),
            format!("region.yaml:7: routes[0].plugins[0].crash_budget.back_off: {problem}"),
        ]
    );
}

#[test]
fn capabilities_are_those_of_the_abi() {
    let folder = Folder::like_the_repository("capabilities");
    let text = format!(
        "{RIGHT}plugins:\n  - name: a\n    lua: plugins/lua/request-stamp\n    capabilities: [http.red, 'callout:shpo', 'dct:x', dict, 'callout:api']\n"
    );
    let allowed = "allowed: http.read, http.write, http.respond, body.read, body.write, property.read, metric, timer, \
                   origin.select, callout:<pool>, dict:<name>, limit:<bucket>, origin:<pool>, queue:<name>, secret:<name>, scale.hint:<pool>, kv:<name>";
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            format!(
                "region.yaml:7: plugins[0].capabilities[0]: found \"http.red\"; {allowed}; did you mean \"http.read\"?"
            ),
            "region.yaml:7: plugins[0].capabilities[1]: no pool \"shpo\"; pools are: shop, api; did you mean \"shop\"?"
                .to_owned(),
            format!("region.yaml:7: plugins[0].capabilities[2]: found \"dct:x\"; {allowed}; did you mean \"dict:x\"?"),
            format!(
                "region.yaml:7: plugins[0].capabilities[3]: found \"dict\"; {allowed}; did you mean \"dict:<name>\"?"
            ),
        ]
    );
}

#[test]
fn a_target_is_one_address_or_any() {
    let folder = Folder::like_the_repository("targets");
    let text = format!(
        "{RIGHT}plugins:\n  - name: a\n    lua: plugins/lua/request-stamp\n    capabilities: ['callout:wbe', 'callout:shop']\n\
         targets:\n  - {{name: shop, address: 'a:1'}}\n  - {{name: web, any_address: true, address: 'a:1'}}\n  - {{name: no}}\n  \
         - {{name: one, address: 'http://a:1', private_addresses: true}}\n  - {{name: web, any_address: true}}\n  \
         - {{name: tls, address: 'a:1', hosts: ['[::1]', 'a:1'], tls: {{roots: none.pem, server_name: '*.a'}}}}\n"
    );
    let base = folder.path().display();
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:7: plugins[0].capabilities[0]: no pool or target \"wbe\"; pools and targets are: shop, api, shop, web, \
             no, one, tls; did you mean \"web\"?"
                .to_owned(),
            "region.yaml:9: targets[0].name: \"shop\" is a pool too; allowed: each name once among pools and targets".to_owned(),
            "region.yaml:10: targets[1].any_address: \"any_address\" stands beside \"address\"; allowed: one of them".to_owned(),
            "region.yaml:11: targets[2]: neither \"address\" nor \"any_address: true\" is given; needed: one of them".to_owned(),
            "region.yaml:12: targets[3].address: found \"http://a:1\"; allowed: a host and a port such as authz.internal:8443 or \
             [::1]:8443; did you mean \"a:1\"?"
                .to_owned(),
            "region.yaml:12: targets[3].private_addresses: true where only one address is reached; allowed: beside \
             \"any_address: true\""
                .to_owned(),
            "region.yaml:13: targets[4].name: a second target \"web\"; the first is on line 10; allowed: each name once".to_owned(),
            "region.yaml:14: targets[5].hosts[0]: found \"[::1]\"; allowed: names, as an address needs no list".to_owned(),
            "region.yaml:14: targets[5].hosts[1]: found \"a:1\"; allowed: a host without port such as example.com or \
             *.example.com; did you mean \"a\"?"
                .to_owned(),
            format!("region.yaml:14: targets[5].tls.roots: cannot read {base}/none.pem: there is no such file"),
            "region.yaml:14: targets[5].tls.server_name: found \"*.a\"; allowed: one host name".to_owned(),
        ]
    );
}

#[test]
fn plugin_files_are_there_and_built() {
    let folder = Folder::like_the_repository("files");
    let base = folder.path().display();
    folder.write("wasm/new/Cargo.toml", "[package]\nname = \"new-one\"\n");
    folder.write("lua/empty/readme", "");
    folder.write("lua/stamp.lua", "return {}\n");
    let text = format!(
        "{RIGHT}plugins:\n  - {{name: a, lua: lua/stmp.lua}}\n  - {{name: b, wasm: wasm/new}}\n  - {{name: c, lua: lua/empty}}\n  - {{name: d}}\n  - {{name: e, lua: lua/stamp.lua, wasm: lua/empty}}\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            format!(
                "region.yaml:5: plugins[0].lua: cannot read {base}/lua/stmp.lua: there is no such file; did you mean \"lua/stamp.lua\"?"
            ),
            format!(
                "region.yaml:6: plugins[1].wasm: not built: there is no {base}/wasm/new/target/forebay/new-one.wasm; \
                 run: forebay plugin build {base}/wasm/new"
            ),
            format!(
                "region.yaml:7: plugins[2].lua: no main.lua in {base}/lua/empty; allowed: a Lua file, or a folder with a main.lua"
            ),
            "region.yaml:8: plugins[3]: none of \"lua\", \"wasm\" is given; needed: one of them".to_owned(),
            "region.yaml:9: plugins[4].wasm: \"wasm\" stands beside \"lua\"; allowed: one of \"lua\", \"wasm\""
                .to_owned(),
            format!(
                "region.yaml:9: plugins[4].wasm: no Cargo.toml in {base}/lua/empty; allowed: a Wasm module, or a folder with a Cargo.toml"
            ),
        ]
    );
}

#[test]
fn certificates_and_keys_are_pem_of_their_kind() {
    let folder = Folder::new("pem");
    let base = folder.path().display();
    folder.write("certificate.pem", folder::CERTIFICATE);
    folder.write("key.pem", folder::KEY);
    folder.write("half.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    folder.write("garbage.pem", "-----BEGIN PRIVATE KEY-----\n<html>\n-----END PRIVATE KEY-----\n");
    let with = |certificate: &str, key: &str, more: &str| {
        let tls = format!("certificate: {certificate}\n        key: {key}\n{more}");
        errors_in(
            &format!(
                "edge:\n  listeners:\n    - address: 127.0.0.1:0\n      protocols: [http1]\n      tls:\n        {tls}"
            ),
            folder.path(),
        )
    };
    assert_eq!(with("certificate.pem", "key.pem", ""), [""; 0]);
    assert_eq!(
        with("key.pem", "certificate.pem", "        alpn: [h2, http/1.1]\n"),
        [
            format!("region.yaml:6: edge.listeners[0].tls.certificate: PEM of PRIVATE KEY in {base}/key.pem; needed: -----BEGIN CERTIFICATE-----"),
            format!("region.yaml:7: edge.listeners[0].tls.key: PEM of CERTIFICATE in {base}/certificate.pem; needed: -----BEGIN PRIVATE KEY-----"),
            "region.yaml:8: edge.listeners[0].tls.alpn[0]: the listener's protocols lack http2; allowed: what the listener speaks".to_owned(),
        ]
    );
    assert_eq!(
        with("half.pem", "garbage.pem", ""),
        [
            format!(
                "region.yaml:6: edge.listeners[0].tls.certificate: broken PEM in {base}/half.pem: the block CERTIFICATE does not end"
            ),
            format!("region.yaml:7: edge.listeners[0].tls.key: broken PEM in {base}/garbage.pem: line 2 is not base64"),
        ]
    );
    assert_eq!(
        with("cert.pem", "kye.pem", ""),
        [
            format!(
                "region.yaml:6: edge.listeners[0].tls.certificate: cannot read {base}/cert.pem: there is no such file"
            ),
            format!(
                "region.yaml:7: edge.listeners[0].tls.key: cannot read {base}/kye.pem: there is no such file; did you mean \"key.pem\"?"
            ),
        ]
    );
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_lines() {
    let found = errors(
        "edge:\n  listeners: [{address: here}]\n  drian: 1s\n  limits: {headers: many}\nlog: {access: 1}\n\
         routes:\n  - {name: 'a b', pool: nowhere}\n  - 7\n  - {pool: shop, match: {methods: {}}}\n\
         pools:\n  - {name: shop, timeouts: {connect: fast}, scaling: {ceiling: 0, lead: [], actuator: {proces: {}}}}\n\
         plugins: {}\n",
    );
    let starts = [
        "region.yaml:2: edge.listeners[0].address: ",
        "region.yaml:3: edge.drian: ",
        "region.yaml:4: edge.limits.headers: ",
        "region.yaml:5: log.access: ",
        "region.yaml:7: routes[0].name: ",
        "region.yaml:7: routes[0].pool: ",
        "region.yaml:8: routes[1]: ",
        "region.yaml:9: routes[2].name: ",
        "region.yaml:9: routes[2].match.methods: ",
        "region.yaml:11: pools[0].timeouts.connect: ",
        "region.yaml:11: pools[0].scaling.ceiling: ",
        "region.yaml:11: pools[0].scaling.lead: ",
        "region.yaml:11: pools[0].scaling.actuator.process: ",
        "region.yaml:11: pools[0].scaling.actuator.proces: ",
        "region.yaml:12: plugins: ",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nis not\n{start}…");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_without_a_line() {
    let folder = Folder::new("unreadable");
    let missing = folder.path().join("missing.yaml");
    let errors = config::load(&missing).map(|_| ()).unwrap_err();
    assert!(errors.to_string().starts_with(&format!("{}: cannot be read: ", missing.display())), "{errors}");
    std::fs::write(folder.path().join("latin1.yaml"), b"edge:\n  name: caf\xe9\n").unwrap();
    let errors = config::load(&folder.path().join("latin1.yaml")).map(|_| ()).unwrap_err();
    assert!(errors.to_string().ends_with("latin1.yaml: not UTF-8, from line 2 on"), "{errors}");
}

#[test]
fn an_error_can_be_read_part_by_part() {
    let errors =
        config::parse(&route("    pool: shpo\n"), Path::new("region.yaml"), Path::new(".")).map(|_| ()).unwrap_err();
    assert_eq!(errors.len(), 1);
    let error = errors.iter().next().unwrap();
    assert_eq!((error.place.line, error.place.column, &*error.place.path), (4, 11, "routes[0].pool"));
    assert_eq!(error.problem.found, "no pool \"shpo\"");
    assert_eq!(error.problem.allowed.as_deref(), Some("pools are: shop, api"));
    assert_eq!(error.problem.near.as_deref(), Some("shop"));
}

#[test]
fn only_a_lua_plugin_is_trusted_and_only_a_trusted_one_has_a_path() {
    let folder = Folder::new("trusted");
    folder.write("a.lua", "return {}");
    folder.write("b.wasm", "");
    let text = format!(
        "{RIGHT}plugins:\n  - {{name: a, lua: a.lua, lua_path: ['.']}}\n  - {{name: b, wasm: b.wasm, trusted: true}}\n  \
         - {{name: c, lua: a.lua, trusted: true, lua_path: [a.lua]}}\n"
    );
    let found = errors_in(&text, folder.path());
    let wanted = [
        "region.yaml:5: plugins[0].lua_path[0]: a folder of modules for a plugin that is not trusted; needed beside it: trusted: true",
        "region.yaml:6: plugins[1].trusted: true for a Wasm plugin, which has nothing to be trusted with; allowed: a plugin with \"lua\"",
    ];
    assert_eq!(found[..2], wanted);
    assert!(
        found[2].starts_with("region.yaml:7: plugins[2].lua_path[0]: ") && found[2].ends_with("a.lua is no folder"),
        "{found:?}"
    );
    assert_eq!(found.len(), 3);
}

#[test]
fn a_module_that_is_fetched_is_pinned_and_says_how() {
    let digest = "0123456789abcdef".repeat(4);
    let folder = Folder::new("fetched");
    folder.write("key.pem", folder::PUBLIC_KEY);
    folder.write("tls.pem", folder::CERTIFICATE);
    folder.write("password", "s3cr3t");
    let file = |wasm: &str, fetch: &str| {
        format!(
            "{RIGHT}secrets: [{{name: pulls, file: password}}]\nplugins:\n  - name: p\n    wasm: {wasm}\n    fetch: {fetch}\n"
        )
    };
    let refused = |wasm: &str, fetch: &str, lines: &[&str]| {
        let text = file(wasm, fetch);
        assert_eq!(errors_in(&text, folder.path()), lines, "\n--- of\n{text}");
    };
    let pinned = format!("oci://ghcr.io/a/b@sha256:{digest}");
    let url = "https://a.test/m.wasm";
    let sha256 = format!("sha256: {digest}");
    refused(&pinned, "{}", &[]);
    refused(&pinned, "{public_key: key.pem, ca: tls.pem, username: u, password: pulls, token_host: b.test}", &[]);
    refused(url, &format!("{{{sha256}, public_key: key.pem, signature: 'https://b.test/s'}}"), &[]);
    let allowed = "allowed: a path, https://host/path, or oci://registry/repository@sha256:digest";
    let pin = "pin the digest of the image, oci://ghcr.io/a/b@sha256:...; `crane digest ghcr.io/a/b:v1` and `docker buildx imagetools inspect` tell it";
    refused(
        "oci://ghcr.io/a/b:v1",
        "{}",
        &[&format!(
            "region.yaml:7: plugins[0].wasm: found \"oci://ghcr.io/a/b:v1\" (a tag can be moved: {pin}); {allowed}"
        )],
    );
    refused(
        "http://a.test/m.wasm",
        "{}",
        &[&format!(
            "region.yaml:7: plugins[0].wasm: found \"http://a.test/m.wasm\" (what comes in clear can be changed on the way); \
             {allowed}; did you mean \"https://a.test/m.wasm\"?"
        )],
    );
    refused(
        "https://u:s3cr3t@a.test/m.wasm",
        "{}",
        &[&format!(
            "region.yaml:7: plugins[0].wasm: found a URL with credentials (they stand in `fetch`: `username`, and \
             `password`, which names a secret); {allowed}"
        )],
    );
    refused(
        url,
        "{}",
        &["region.yaml:7: plugins[0].wasm: a module at https:// without its SHA-256; needed beside it: fetch: \
           {sha256: <64 digits>}; `sha256sum` tells it"],
    );
    refused(
        url,
        &format!("{{sha256: 'sha256:{digest}'}}"),
        &[&format!(
            "region.yaml:8: plugins[0].fetch.sha256: found \"sha256:{}…\"; allowed: a SHA-256 of 64 hexadecimal digits; \
             did you mean \"{digest}\"?",
            &digest[..53]
        )],
    );
    let beside = "allowed: with https://; an image has its digest and its signatures";
    refused(
        &pinned,
        &format!("{{{sha256}, username: u, signature: 'https://b.test/s'}}"),
        &[
            &format!("region.yaml:8: plugins[0].fetch.sha256: \"sha256\" beside an image; {beside}"),
            "region.yaml:8: plugins[0].fetch.username: a user without a password; needed beside it: password, the name \
             of a secret",
            &format!("region.yaml:8: plugins[0].fetch.signature: \"signature\" beside an image; {beside}"),
            "region.yaml:8: plugins[0].fetch.signature: a signature that nothing is held against; needed beside it: \
             public_key",
        ],
    );
    refused(
        &pinned,
        "{username: u, password: pullz, public_key: tls.pem, token_host: 'https://b.test/x'}",
        &[
            "region.yaml:8: plugins[0].fetch.password: no secret \"pullz\"; secrets are: pulls; did you mean \"pulls\"?",
            &format!(
                "region.yaml:8: plugins[0].fetch.public_key: PEM of CERTIFICATE in {}; needed: -----BEGIN PUBLIC KEY-----",
                folder.path().join("tls.pem").display()
            ),
            "region.yaml:8: plugins[0].fetch.token_host: found \"https://b.test/x\"; allowed: a host, with its port if that \
             is not 443, such as auth.example.com; did you mean \"b.test\"?",
        ],
    );
    folder.write("m.wasm", "\0asm");
    refused(
        "m.wasm",
        "{ca: tls.pem}",
        &[
            "region.yaml:8: plugins[0].fetch: how to fetch what is not fetched; allowed: beside a \"wasm\" that begins with \
           https:// or oci://",
        ],
    );
}

#[test]
fn what_plugins_share_is_named_once_and_has_its_bounds() {
    refused(
        &format!(
            "{RIGHT}dicts: [{{name: a, bytes: 0}}, {{name: a}}]\nbuckets: [{{name: b}}, {{name: c, rate: 0, per: 0s}}]\nqueues: [{{name: a/b}}, {{name: a/b, items: 0}}, {{name: a/b/c}}]\n"
        ),
        &[
            "region.yaml:4: dicts[0].bytes: found the number 0 (zero makes no sense here); allowed: a size such as 1000 \
             (bytes), 64KiB, 16MiB or 1GiB",
            "region.yaml:4: dicts[1].name: a second dictionary \"a\"; the first is on line 4; allowed: each name once",
            "region.yaml:5: buckets[0].rate: missing; needed: tokens that come in the time `per`",
            "region.yaml:5: buckets[1].rate: found the number 0; allowed: a whole number from 1",
            "region.yaml:5: buckets[1].per: found \"0s\" (zero makes no sense here); allowed: a duration over zero such \
             as 250ms, 30s, 5m or 2h",
            "region.yaml:6: queues[1].name: a second queue \"a/b\"; allowed: each name once",
            "region.yaml:6: queues[1].items: found the number 0; allowed: a whole number from 1",
            "region.yaml:6: queues[2].name: found \"a/b/c\"; allowed: a name, or <plugin>/<name>; of letters, digits, \
             '-', '_' and '.', at most 63 each",
        ],
    );
}

#[test]
fn a_bucket_that_a_plugin_is_granted_is_there() {
    let folder = Folder::like_the_repository("buckets");
    let text = format!(
        "{RIGHT}plugins: [{{name: a, lua: plugins/lua/request-stamp, capabilities: ['limit:logns', 'dict:any']}}]\n\
         buckets: [{{name: logins, rate: 5}}]\n"
    );
    assert_eq!(
        errors_in(&text, folder.path()),
        [
            "region.yaml:4: plugins[0].capabilities[0]: no bucket \"logns\"; buckets are: logins; did you mean \"logins\"?"
        ]
    );
}

#[test]
fn hints_that_count_for_nothing_or_that_nobody_can_weigh_are_refused() {
    refused(
        &scaling("      actuator: dry_run\n      hints: {kinds: [demnd, hold], add: 2}\n"),
        &["region.yaml:7: pools[0].scaling.hints.kinds[0]: found \"demnd\"; \
           allowed: demand, cost, prewarm, hold; did you mean \"demand\"?"],
    );
    refused(
        &scaling("      actuator: dry_run\n      hints: {kinds: [], longest: 0s}\n"),
        &[
            "region.yaml:7: pools[0].scaling.hints.add: missing; \
             needed: most origins that hints add to what the other rules propose",
            "region.yaml:7: pools[0].scaling.hints.kinds: found an empty list; \
             needed: at least one of demand, cost, prewarm, hold",
            "region.yaml:7: pools[0].scaling.hints.longest: found \"0s\" (zero makes no sense here); \
             allowed: a duration over zero such as 250ms, 30s, 5m or 2h",
        ],
    );
    refused(
        &scaling("      actuator: dry_run\n      hints: {kinds: [prewarm, cost], add: 2}\n"),
        &["region.yaml:7: pools[0].scaling.hints.kinds[1]: cost is in requests, and no rule says what an origin \
           carries; needed: \"reactive\" in the same scaling, by requests"],
    );
}

#[test]
fn a_signal_has_the_keys_of_its_source_and_a_rule_goes_by_it() {
    let signals = |list: &[&str]| {
        let list: String = list.iter().map(|one| format!("        - {{{one}}}\n")).collect();
        scaling(&format!("      actuator: dry_run\n      reactive: {{}}\n      signals:\n{list}"))
    };
    refused(&signals(&["source: requests, per_origin: 50", "source: latency, target: 200ms, quantile: 0.9"]), &[]);
    refused(
        &signals(&[
            "source: request, per_origin: 50",
            "source: in_flight",
            "source: latency, per_origin: 3, target: 100ms, quantile: 99",
            "source: queue, per_origin: 3",
            "source: metric, metric: '', per_origin: 0",
            "source: in_flight, per_origin: 7, plugin: x",
            "source: origin, metric: cpu, per_origin: 1, per: second, port: 0",
            "source: origin, metric: cpu, per_origin: 1, per: rate, interval: 5s, timeout: 6s, plugin: x",
        ]),
        &[
            "region.yaml:9: pools[0].scaling.signals[0].source: found \"request\"; allowed: requests, in_flight, latency, \
             queue, metric, origin; did you mean \"requests\"?",
            "region.yaml:10: pools[0].scaling.signals[1].per_origin: missing; needed: with \"source: in_flight\"",
            "region.yaml:11: pools[0].scaling.signals[2].per_origin: \"per_origin\" stands beside \"source: latency\", which \
             has no such key; allowed: name, target, quantile",
            "region.yaml:11: pools[0].scaling.signals[2].quantile: found the number 99; allowed: over 0, up to 0.999; did you \
             mean \"0.99\"?",
            "region.yaml:12: pools[0].scaling.signals[3].queue: missing; needed: with \"source: queue\"",
            "region.yaml:13: pools[0].scaling.signals[4].metric: found a name of 0 bytes; allowed: 1 to 200",
            "region.yaml:13: pools[0].scaling.signals[4].per_origin: found the number 0; allowed: a number over 0, such as \
             50 or 1.2",
            "region.yaml:14: pools[0].scaling.signals[5].plugin: \"plugin\" stands beside \"source: in_flight\", which has no \
             such key; allowed: name, per_origin",
            "region.yaml:15: pools[0].scaling.signals[6].per: found \"second\"; allowed: rate, gauge",
            "region.yaml:15: pools[0].scaling.signals[6].port: found the number 0; allowed: a port from 1 to 65535",
            "region.yaml:16: pools[0].scaling.signals[7].timeout: \"timeout\" is longer than \"interval\": an origin is asked \
             again before; allowed: up to 5s",
            "region.yaml:16: pools[0].scaling.signals[7].plugin: \"plugin\" stands beside \"source: origin\", which has no such \
             key; allowed: name, metric, per, per_origin, labels, over, path, port, interval, timeout",
        ],
    );
    refused(
        &signals(&[
            "source: requests, per_origin: 50",
            "name: offered, source: requests, per_origin: 40",
            "source: in_flight, per_origin: 5",
            "source: in_flight, per_origin: 6",
        ]),
        &[
            "region.yaml:10: pools[0].scaling.signals[1]: requests are a signal already; allowed: one with \"source: \
             requests\"",
            "region.yaml:12: pools[0].scaling.signals[3]: two signals are named \"in_flight\"; needed: a \"name\" of its own \
             for each",
        ],
    );
    refused(
        &signals(&[
            "source: in_flight, per_origin: {initial: 5, latency: 1s}",
            "source: requests, per_origin: {initial: 50, at_least: 60, quantile: 95}",
        ]),
        &[
            "region.yaml:9: pools[0].scaling.signals[0].per_origin: found a map, by which what an origin carries of requests \
             is learned; allowed: a number over 0, such as 50 or 1.2",
            "region.yaml:10: pools[0].scaling.signals[1].per_origin.latency: missing; needed: what an origin carries, it \
             answers within this",
            "region.yaml:10: pools[0].scaling.signals[1].per_origin.initial: 50 is not within its own bounds; allowed: 60 to 100",
            "region.yaml:10: pools[0].scaling.signals[1].per_origin.quantile: found the number 95; allowed: over 0, up to \
             0.999; did you mean \"0.95\"?",
        ],
    );
    refused(
        &signals(&["source: requests, per_origin: {initial: 50, at_least: 60, at_most: 40, latency: 1s, inital: 5}"]),
        &[
            "region.yaml:9: pools[0].scaling.signals[0].per_origin.at_least: at_least, 60, is over at_most, 40; needed: \
             at_least <= initial <= at_most",
            "region.yaml:9: pools[0].scaling.signals[0].per_origin.inital: unknown key \"inital\"; keys are: initial, \
             at_least, at_most, latency, quantile; did you mean \"initial\"?",
        ],
    );
    let many: Vec<_> = (0..17).map(|n| format!("name: s{n}, source: in_flight, per_origin: 1")).collect();
    refused(
        &signals(&many.iter().map(String::as_str).collect::<Vec<_>>()),
        &["region.yaml:25: pools[0].scaling.signals[16]: found 17 signals; allowed: up to 16"],
    );
}

#[test]
fn signals_that_no_rule_goes_by_and_rules_that_need_requests_are_told() {
    let keys = |reactive: &str, more: &str| {
        let signals = "      signals: [{source: in_flight, per_origin: 9}]\n";
        scaling(&format!("      actuator: dry_run\n{signals}      reactive: {reactive}\n{more}"))
    };
    refused(&keys("{}", ""), &[]);
    refused(
        &keys("{requests_per_origin: 5}", ""),
        &[
            "region.yaml:7: pools[0].scaling.signals[0]: no rule goes by the signals; needed: \"reactive\" or \"predictive\" \
           without \"requests_per_origin\", or \"scripts\", in the same scaling",
        ],
    );
    refused(
        &keys("{}", "      hints: {kinds: [demand], add: 1}\n"),
        &[
            "region.yaml:9: pools[0].scaling.hints.kinds[0]: demand is in requests, and no rule says what an origin carries; \
           needed: \"reactive\" in the same scaling, by requests",
        ],
    );
    refused(
        &keys("{}", "      schedules: [{name: a, cron: '0 9 * * *', zone: UTC, duration: 1h, target: 5}]\n"),
        &[
            "region.yaml:9: pools[0].scaling.schedules[0].target: \"target\" is in requests, and \"reactive\" goes by other \
           signals; needed: a signal with \"source: requests\"",
        ],
    );
    let plugins = "plugins: [{name: counter, lua: missing.lua}]\n";
    let metric = keys("{}", "").replace("source: in_flight", "source: metric, metric: tokens_total, plugin: conter");
    let found = errors(&format!("{metric}{plugins}"));
    assert!(
        found
            .iter()
            .any(|line| line.ends_with("no plugin \"conter\"; plugins are: counter; did you mean \"counter\"?")),
        "{found:?}"
    );
    refused(&metric, &[]);
}

/// A store with these keys, from line 5 on.
fn kv(keys: &str) -> String {
    format!("{RIGHT}kv:\n  - name: main\n{keys}")
}

#[test]
fn a_store_has_one_server_or_one_cluster() {
    refused(&kv("    url: redis://cache:7000/3\n"), &[]);
    refused(&kv("    urls: [redis://a, 'redis://[::1]:7001/0']\n"), &[]);
    refused(&kv("    prefix: p\n"), &["region.yaml:5: kv[0]: none of \"url\", \"urls\" is given; needed: one of them"]);
    refused(
        &kv("    url: redis://a\n    urls: [redis://b]\n"),
        &["region.yaml:7: kv[0].urls[0]: \"urls\" stands beside \"url\"; allowed: one of \"url\", \"urls\""],
    );
    refused(
        &kv("    urls: [redis://a, rediss://b, redis://c/2]\n"),
        &[
            "region.yaml:6: kv[0].urls[1]: redis:// and rediss:// in one cluster; allowed: one of them for all nodes",
            "region.yaml:6: kv[0].urls[2]: database 2 of a cluster; allowed: no database, or 0",
        ],
    );
    refused(
        &format!("{}  - name: main\n    url: redis://b\n", kv("    url: redis://a\n")),
        &["region.yaml:7: kv[1].name: a second store \"main\"; the first is on line 5; allowed: each name once"],
    );
}

#[test]
fn a_url_of_a_store_is_one_of_redis_and_holds_no_password() {
    let allowed =
        "allowed: redis://host:port/database or rediss://host:port/database, the port and the database optional";
    let lines = [
        ("cache:6379", "\"cache:6379\"", "; did you mean \"redis://cache:6379\"?"),
        ("https://cache", "\"https://cache\"", "; did you mean \"rediss://cache\"?"),
        ("redis://cache/zero", "\"redis://cache/zero\"", ""),
        (
            "redis://u:s3cret@cache",
            "a URL with credentials (they stand in a file or the environment: `username`, `password_file`, \
             `password_env`)",
            "",
        ),
    ];
    for (url, found, near) in lines {
        refused(
            &kv(&format!("    url: {url}\n")),
            &[&format!("region.yaml:6: kv[0].url: found {found}; {allowed}{near}")],
        );
    }
}

#[test]
fn what_a_store_needs_besides_is_there_and_makes_sense() {
    let folder = Folder::like_the_repository("kv");
    folder.write("secrets/redis", "a password");
    let right = kv("    url: rediss://a\n    ca: edge-configs/tls/certificate.pem\n    password_file: secrets/redis\n");
    assert_eq!(errors_in(&right, folder.path()), Vec::<String>::new());
    let base = folder.path().display();
    let both =
        kv("    url: redis://a\n    ca: edge-configs/tls/certificate.pem\n    password_file: secrets/reds\n    \
                   password_env: $REDIS\n    connections: 65\n    breaker: {failures: 0}\n");
    assert_eq!(
        errors_in(&both, folder.path()),
        [
            format!(
                "region.yaml:8: kv[0].password_file: cannot read {base}/secrets/reds: there is no such file; did you \
                 mean \"secrets/redis\"?"
            ),
            "region.yaml:9: kv[0].password_env: found \"$REDIS\"; allowed: the name of an environment variable: \
             letters, digits and '_', the first no digit; did you mean \"REDIS\"?"
                .to_owned(),
            "region.yaml:10: kv[0].connections: found the number 65; allowed: a whole number from 1 to 64".to_owned(),
            "region.yaml:11: kv[0].breaker.failures: found the number 0; allowed: a whole number from 1".to_owned(),
        ]
    );
    refused(
        &kv("    url: redis://a\n    password_file: a\n    password_env: B\n")
            .replace("password_file: a", "username: a"),
        &[],
    );
    let open = kv("    url: redis://a\n    ca: edge-configs/tls/certificate.pem\n");
    assert_eq!(
        errors_in(&open, folder.path()),
        ["region.yaml:7: kv[0].ca: nothing is encrypted: the URL begins with redis://; allowed: beside rediss://"]
    );
}

#[test]
fn a_plugin_is_granted_stores_that_are_there() {
    let folder = Folder::like_the_repository("kv-grants");
    let text = format!(
        "{}plugins: [{{name: a, lua: plugins/lua/request-stamp, capabilities: ['kv:mian', 'kv:main', 'kv:']}}]\n",
        kv("    url: redis://a\n")
    );
    let errors = errors_in(&text, folder.path());
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(
        errors[0],
        "region.yaml:7: plugins[0].capabilities[0]: no store \"mian\"; stores are: main; did you mean \"main\"?"
    );
    assert!(errors[1].ends_with("kv:<name>; did you mean \"kv:<name>\"?"), "{errors:?}");
}

/// Rules of a pool whose floor is 2 and ceiling 4, from line 8 on.
fn schedules(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("        - {{zone: UTC, duration: 1h, {rule}}}\n")).collect();
    scaling(&format!("      floor: 2\n      schedules:\n{rules}      actuator: dry_run\n"))
}

#[test]
fn a_zone_is_a_place() {
    let zone = |zone: &str| {
        let rule = format!("[{{name: a, cron: '0 9 * * *', duration: 1h, floor: 1{zone}}}]");
        let errors = errors(&scaling(&format!("      schedules: {rule}\n      actuator: dry_run\n")));
        let error = errors.first().map(|error| error.split_once("zone: ").unwrap().1.to_owned());
        assert!(errors.len() < 2, "{errors:?}");
        error.unwrap_or_default()
    };
    let allowed = "allowed: an IANA time zone such as Europe/Berlin or UTC";
    assert_eq!(
        zone(""),
        "missing; needed: an IANA time zone such as Europe/Berlin or UTC, which all times and days of the rule are read in"
    );
    assert_eq!(
        zone(", zone: UTC+2"),
        format!("found \"UTC+2\" (an offset, which knows of no clock changes); {allowed}; did you mean \"Etc/GMT-2\"?")
    );
    assert_eq!(
        zone(", zone: '+05:30'"),
        format!("found \"+05:30\" (an offset, which knows of no clock changes); {allowed}")
    );
    for (short, near) in
        [("CET", "Europe/Berlin\" or \"Europe/Paris"), ("EST", "America/New_York\" or \"America/Toronto")]
    {
        assert_eq!(
            zone(&format!(", zone: {short}")),
            format!(
                "found \"{short}\" (an abbreviation, which tells no place and no clock changes); {allowed}; did you mean \"{near}\"?"
            )
        );
    }
    assert_eq!(zone(", zone: berlin"), format!("found \"berlin\"; {allowed}; did you mean \"Europe/Berlin\"?"));
    assert_eq!(
        zone(", zone: US/New York"),
        format!("found \"US/New York\"; {allowed}; did you mean \"America/New_York\"?")
    );
    assert_eq!(zone(", zone: Mars/Olympus"), format!("found \"Mars/Olympus\"; {allowed}"));
    assert_eq!(zone(", zone: Etc/GMT-2"), "", "who writes that means it");
}

#[test]
fn a_rule_says_when_and_what_and_contradicts_neither_itself_nor_its_pool() {
    refused(
        &schedules(&[
            "name: a, floor: 3",
            "name: b, cron: '0 9 * * *', at: 2026-11-27T18:00, floor: 3",
            "name: c, cron: '0 9 * * *'",
            "name: d, cron: '0 9 * * *', floor: 4, ceiling: 3",
            "name: e, cron: '0 9 * * *', exact: 3, floor: 3",
            "name: f, cron: '0 9 * * *', ceiling: 1",
            "name: g, cron: '0 9 * * *', exact: 5",
            "name: h, cron: '0 9 * * *', target: 5",
            "name: i, cron: '0 9 * * *', ceiling: 3, ramp_up: 5m",
            "name: j, at: 2026-11-27T18:00, floor: 3, on: holidays",
            "name: k, cron: '0 9 * * *', floor: 3, except: holidays",
        ]),
        &[
            "region.yaml:8: pools[0].scaling.schedules[0]: none of \"cron\", \"at\" is given; needed: one of them",
            "region.yaml:9: pools[0].scaling.schedules[1].at: \"at\" stands beside \"cron\"; allowed: one of \"cron\", \"at\"",
            "region.yaml:10: pools[0].scaling.schedules[2]: nothing that shall hold in the window; \
             needed: one of floor, ceiling, exact, target, multiply, or more",
            "region.yaml:11: pools[0].scaling.schedules[3].floor: the floor 4 is over the rule's own ceiling 3; allowed: 0 to 3",
            "region.yaml:12: pools[0].scaling.schedules[4].floor: \"floor\" stands beside \"exact\", which is floor and ceiling; \
             allowed: exact: 3, or a floor and a ceiling",
            "region.yaml:13: pools[0].scaling.schedules[5].ceiling: the ceiling 1 is under the pool's floor 2; allowed: 2 to 4",
            "region.yaml:14: pools[0].scaling.schedules[6].exact: the exact number 5 is over the ceiling 4; allowed: 2 to 4",
            "region.yaml:15: pools[0].scaling.schedules[7].target: \"target\" alters what \"reactive\" proposes, and there is no \
             such rule; needed: \"reactive\" in the same scaling",
            "region.yaml:16: pools[0].scaling.schedules[8].ramp_up: \"ramp_up\" where nothing rises; \
             needed: a floor, an exact number, or a multiply over 1",
            "region.yaml:17: pools[0].scaling.schedules[9].on: \"on\" stands beside \"at\", which names its day; \
             allowed: with \"cron\"",
            "region.yaml:17: pools[0].scaling.schedules[9].on: no calendar \"holidays\"; calendars are: none",
            "region.yaml:18: pools[0].scaling.schedules[10].except: no calendar \"holidays\"; calendars are: none",
        ],
    );
    let reactive = "      reactive: {requests_per_origin: 9}\n      actuator: dry_run\n";
    let multiply = |factor: &str| {
        let rules = schedules(&[&format!("name: a, cron: '0 9 * * *', multiply: {factor}")]);
        errors(&rules.replace("      actuator: dry_run\n", reactive))
    };
    assert_eq!(
        multiply("200"),
        [
            "region.yaml:8: pools[0].scaling.schedules[0].multiply: found the number 200; allowed: a factor over 0, up to 100"
        ]
    );
    assert_eq!(multiply("0").len(), 1);
    assert_eq!(multiply("0.5"), [""; 0]);
}

#[test]
fn a_one_off_has_a_local_time() {
    let at = |text: &str| {
        let errors = errors(&schedules(&[&format!("name: a, floor: 3, at: {text}")]));
        errors.first().map(|error| error.split_once(".at: ").unwrap().1.to_owned()).unwrap_or_default()
    };
    let allowed = "allowed: a local time such as 2026-11-27T18:00 or 2026-11-27T18:00:30";
    assert_eq!(at("2026-11-27T18:00:30"), "");
    assert_eq!(
        at("2026-11-27T18:00:00Z"),
        format!(
            "found \"2026-11-27T18:00:00Z\" (the rule's zone says which time it is); {allowed}; did you mean \"2026-11-27T18:00:00\"?"
        )
    );
    assert_eq!(
        at("2026-11-27T18:00-05:00"),
        format!(
            "found \"2026-11-27T18:00-05:00\" (the rule's zone says which time it is); {allowed}; did you mean \"2026-11-27T18:00\"?"
        )
    );
    assert_eq!(
        at("2026-11-27 18:00"),
        format!("found \"2026-11-27 18:00\"; {allowed}; did you mean \"2026-11-27T18:00\"?")
    );
    assert_eq!(at("2026-02-30T18:00"), format!("found \"2026-02-30T18:00\"; {allowed}"));
}

#[test]
fn calendars_have_days_that_exist_and_files_that_can_be_read() {
    let folder = Folder::new("refuses-calendars");
    folder.write("bad.ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:soon\nEND:VEVENT\nEND:VCALENDAR\n");
    folder.write("large.ics", &"X".repeat((1 << 20) + 1));
    let days = "allowed: 2026-12-24, 2026-12-24..2027-01-02, or \"*-12-25\" for every year";
    let path = |name: &str| std::path::absolute(folder.path().join(name)).unwrap().display().to_string();
    let calendars = "calendars:
  - {name: a}
  - {name: b, dates: [2026-02-30]}
  - {name: c, dates: [2027-01-02..2026-12-24]}
  - {name: d, dates: ['12-25']}
  - {name: e, dates: ['*-02-29'], use: sonday}
  - {name: f, dates: [2026-01-01], pools: [shop]}
  - {name: f, dates: [2026-01-01], use: sunday, pools: [shp]}
  - {name: g, ical: bad.ics}
  - {name: h, ical: large.ics}
  - {name: i, ical: bat.ics}
";
    assert_eq!(
        errors_in(&format!("{RIGHT}{calendars}"), folder.path()),
        [
            "region.yaml:5: calendars[0]: neither \"dates\" nor \"ical\" is given; needed: one of them or both".to_owned(),
            format!("region.yaml:6: calendars[1].dates[0]: found \"2026-02-30\"; {days}"),
            format!(
                "region.yaml:7: calendars[2].dates[0]: found \"2027-01-02..2026-12-24\" (it ends before it begins); {days}; did you mean \"2026-12-24..2027-01-02\"?"
            ),
            format!("region.yaml:8: calendars[3].dates[0]: found \"12-25\"; {days}; did you mean \"*-12-25\"?"),
            "region.yaml:9: calendars[4].use: found \"sonday\"; allowed: monday, tuesday, wednesday, thursday, friday, saturday, sunday; did you mean \"sunday\"?".to_owned(),
            "region.yaml:10: calendars[5].pools: \"pools\" without \"use\"; needed: the weekday that the rules of these pools see".to_owned(),
            "region.yaml:11: calendars[6].name: a second calendar \"f\"; the first is on line 10; allowed: each name once".to_owned(),
            "region.yaml:11: calendars[6].pools[0]: no pool \"shp\"; pools are: shop, api; did you mean \"shop\"?".to_owned(),
            format!(
                "region.yaml:12: calendars[7].ical: {}:3: a DTSTART that cannot be read; needed: a date such as 20261224, or a time such as 20261224T180000",
                path("bad.ics")
            ),
            format!("region.yaml:13: calendars[8].ical: {} has 1048577 bytes; allowed: up to 1048576", path("large.ics")),
            format!(
                "region.yaml:14: calendars[9].ical: cannot read {}: there is no such file; did you mean \"bad.ics\"?",
                path("bat.ics")
            ),
        ]
    );
}
