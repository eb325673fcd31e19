//! `forebay plugin test`: what passes, what fails and how that reads, and what it refuses.

use crate::{Said, plugin, tool};

fn run(capabilities: &str, main: &str, spec: &str) -> Said {
    let folder = plugin(capabilities, main, spec);
    tool(&["test"], folder.path())
}

#[track_caller]
fn passes(capabilities: &str, main: &str, spec: &str) {
    let said = run(capabilities, main, spec);
    assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
    assert!(said.out.ends_with(" passed, 0 failed\n"), "{}", said.out);
}

/// Fails, and says all of `parts`.
#[track_caller]
fn fails(capabilities: &str, main: &str, spec: &str, parts: &[&str]) {
    let said = run(capabilities, main, spec);
    assert_eq!(said.code, 1, "{}{}", said.out, said.errors);
    for part in parts {
        assert!(said.out.contains(part), "no {part:?} in\n{}", said.out);
    }
}

/// Cannot be played, and says all of `parts`.
#[track_caller]
fn refused(said: &Said, parts: &[&str]) {
    assert_eq!(said.code, 64, "{}{}", said.out, said.errors);
    for part in parts {
        assert!(said.errors.contains(part), "no {part:?} in\n{}", said.errors);
    }
}

const NOTHING: &str = "return {}";

#[test]
fn what_is_not_as_expected_is_named_with_both_sides_and_the_case() {
    let main = "return { on_request_headers = function()
        forebay.log.info('it was here') forebay.request.headers.set('x-a', '2') end }";
    let spec = "- name: the first\n  request: {}\n  expect: { request: { headers: { x-a: '2' } } }\n\
                - name: the second\n  request: {}\n  expect:\n    request: { headers: { x-a: '1', x-b: yes } }\n    \
                response: { status: 201 }\n    metrics: { hits_total: 1 }\n";
    let parts =
        ["ok    the first", "FAIL  the second", "spec.yaml:4", "request header x-a", "expected  1", "found     2"];
    let more = ["expected  201", "metric hits_total", "never touched", "it was here", "1 passed, 1 failed"];
    fails("[]", main, spec, &[&parts[..], &more[..]].concat());
}

#[test]
fn a_body_that_differs_is_shown_line_by_line() {
    let main = "return { on_request_headers = function() forebay.respond(200, {}, 'one\\ntwo\\nthree') end }";
    let spec = "- name: a\n  request: {}\n  expect: { response: { body: \"one\\n2\\nthree\" } }\n";
    fails("[]", main, spec, &["  one\n", "- 2\n", "+ two\n", "  three\n"]);
}

#[test]
fn sleep_and_delays_take_no_time_and_are_seen() {
    let main = "return { on_request_headers = function()
        local before = forebay.now() forebay.sleep(4.5)
        local answer = forebay.http.call('slow', {}, { timeout = 60 })
        forebay.request.headers.set('x-took', tostring(forebay.now() - before) .. ' ' .. answer.status) end }";
    let spec = "- name: a\n  limits: { wall: 10m }\n  request: {}\n  callouts: [{ target: slow, delay: 30s, response: { status: 418 } }]\n  \
                expect: { took: 34500ms, request: { headers: { x-took: '34.5 418' } } }\n";
    let began = std::time::Instant::now();
    passes("['callout:slow']", main, spec);
    assert!(began.elapsed().as_secs() < 30, "simulated time passed for real: {:?}", began.elapsed());
}

#[test]
fn a_pause_past_the_wall_limit_is_the_fault_that_production_makes_of_it() {
    let main = "return { on_request_headers = function() forebay.sleep(11) end }";
    let spec = "- name: a\n  request: {}\n  expect: { fault: WALL, took: 10s, response: { status: 503 } }\n";
    passes("[]", main, spec);
}

#[test]
fn an_endless_loop_is_ended_and_its_verdict_can_be_expected() {
    let main = "return { on_request_headers = function() while true do end end }";
    let spec = "- name: a\n  request: {}\n  expect:\n    fault: { verdict: CPU, callback: on_request_headers }\n    \
                response: { status: 503, headers: { x-forebay-reject: plugin_fault } }\n";
    passes("[]", main, spec);
}

#[test]
fn a_fault_that_nobody_expected_fails_with_its_traceback() {
    let main = "local function inner() error('broken here') end\n\
                return { on_response_headers = function() inner() end }";
    fails("[]", main, "- name: a\n  request: {}\n", &["TRAP in on_response_headers", "main.lua:1: broken here"]);
}

#[test]
fn a_callout_that_nobody_expected_fails_and_so_does_one_that_never_came() {
    let main = "return { on_request_headers = function() forebay.http.call('a', { path = '/x' }) end }";
    fails("['callout:a']", main, "- name: a\n  request: {}\n", &["callout to a", "not asked, or no more", "GET /x"]);
    let spec = "- name: a\n  request: {}\n  callouts: [{ target: a, request: { path: /y } }]\n";
    fails("['callout:a']", main, spec, &["callout to a (line 3): path", "expected  /y", "found     /x", "never"]);
    let spec = "- name: a\n  request: {}\n  callouts: [{ target: a }]\n";
    fails("['callout:a']", NOTHING, spec, &["callout to a (line 3)", "asked once", "never"]);
    let spec = "- name: a\n  request: {}\n  callouts: [{ target: a, optional: true }]\n";
    passes("['callout:a']", NOTHING, spec);
}

#[test]
fn bodies_come_in_the_pieces_of_the_case() {
    let main = "return {
        on_request_body = function(size, last) forebay.request.set_body('[' .. forebay.request.chunk() .. ']') end,
        on_response_body = function(size, last) forebay.response.set_body('<' .. forebay.response.chunk() .. '>') end }";
    let spec = "- name: a\n  request: { chunks: [one, two] }\n  origin: { chunks: [x, y, z] }\n  expect:\n    \
                request: { method: POST, body: { matches: '\\[one\\]\\[two\\](\\[\\])?' } }\n    \
                response: { body: { matches: '<x><y><z>(<>)?' } }\n";
    passes("[]", main, spec);
}

#[test]
fn trailers_go_both_ways() {
    let main = "return {
        on_request_trailers = function() forebay.request.trailers.set('x-sum', '2') end,
        on_response_trailers = function() forebay.response.trailers.set('x-end', 'yes') end }";
    let spec = "- name: a\n  request: { chunks: [one], trailers: { x-sum: '1' } }\n  origin: { chunks: [x], trailers: { x-end: 'no' } }\n  \
                expect:\n    request: { trailers: { x-sum: '2' } }\n    response: { trailers: { x-end: 'yes' } }\n";
    passes("[]", main, spec);
}

#[test]
fn steps_share_the_instance_its_dictionary_and_the_time() {
    let main = "local ticks = 0
        return {
          on_vm_start = function() forebay.timer.every(1) end,
          on_tick = function() ticks = ticks + 1 end,
          on_request_headers = function()
            local dict = forebay.dict('seen')
            dict:set('last', forebay.request.headers.get(':path'))
            forebay.request.headers.set('x-ticks', tostring(ticks))
          end }";
    let spec = "- name: a\n  dict: { seen: { last: /before } }\n  steps:\n  - request: { path: /one }\n    \
                expect: { request: { headers: { x-ticks: '0' } }, dict: { seen: { last: /one, other: null } } }\n  \
                - { after: 5500ms }\n  - request: { path: /two }\n    \
                expect: { request: { headers: { x-ticks: '5' } }, dict: { seen: { last: /two } } }\n\
                - name: b begins anew\n  request: {}\n  expect: { request: { headers: { x-ticks: '0' } } }\n";
    passes("['dict:seen']", main, spec);
}

#[test]
fn an_exchange_that_the_plugin_closes_can_be_expected() {
    let main = "return { on_request_headers = function() forebay.close() end }";
    passes("[]", main, "- name: a\n  request: {}\n  expect: { closed: true, reaches_origin: false }\n");
    fails("[]", main, "- name: a\n  request: {}\n", &["closed without one"]);
    fails("[]", NOTHING, "- name: a\n  request: {}\n  expect: { closed: true }\n", &["status 200"]);
}

#[test]
fn an_origin_that_fails_is_what_production_makes_of_it() {
    let spec = "- name: late\n  request: {}\n  origin: { error: timeout }\n  expect: { response: { status: 504 } }\n\
                - name: gone\n  request: { body: x }\n  origin: { error: unavailable }\n  expect: { response: { status: 502 } }\n";
    passes("[]", NOTHING, spec);
}

#[test]
fn all_errors_of_a_spec_are_told_at_once_with_their_lines_and_near_misses() {
    let spec = "- name: a\n  reqeust: {}\n  expect: { fault: TRAPP, respnse: {} }\n- name: a\n  time: soon\n\
                - name: c\n  request: { body: a, chunks: [b] }\n- nome: d\n";
    let folder = plugin("[]", NOTHING, spec);
    let said = tool(&["test"], folder.path());
    let near =
        ["did you mean \"request\"", "did you mean \"TRAP\"", "did you mean \"response\"", "did you mean \"name\""];
    let lines = ["spec.yaml:2:", "spec.yaml:3:", "spec.yaml:4:", "spec.yaml:5:", "spec.yaml:7:", "spec.yaml:8:"];
    refused(
        &said,
        &[&near[..], &lines[..], &["\"body\" stands beside \"chunks\"", "a second case of this name"]].concat(),
    );
    assert!(said.out.is_empty(), "nothing is played: {}", said.out);
}

#[test]
fn a_manifest_that_asks_for_what_is_not_there_is_refused() {
    let folder = plugin("[http.raed, 'callouts:x']", NOTHING, "- name: a\n");
    let said = tool(&["test"], folder.path());
    refused(&said, &["plugin.yaml:3:", "did you mean \"http.read\"", "did you mean \"callout:x\""]);
    folder.write("plugin.yaml", "engine: luna\nlimts: {}\n");
    refused(&tool(&["test"], folder.path()), &["missing", "did you mean \"lua\"", "did you mean \"limits\""]);
}

#[test]
fn folders_and_files_that_are_none_are_refused() {
    let folder = plugin("[]", NOTHING, "- name: a\n");
    refused(&tool(&["test"], &folder.path().join("none")), &["no such plugin folder"]);
    let deep = "[".repeat(100_000);
    for (text, part) in [
        ("", "allowed: a list"),
        ("[]", "no case"),
        ("a: [", "not YAML"),
        ("5", "allowed: a list"),
        (&deep, "not YAML"),
    ] {
        folder.write("spec.yaml", text);
        refused(&tool(&["test"], folder.path()), &[part]);
    }
    folder.write("spec.yaml", [0xff, 0xfe, 0x00]);
    refused(&tool(&["test"], folder.path()), &["not UTF-8"]);
    std::fs::remove_file(folder.path().join("spec.yaml")).expect("the spec is there");
    refused(&tool(&["test"], folder.path()), &["there is no spec.yaml"]);
    std::fs::remove_file(folder.path().join("main.lua")).expect("the code is there");
    refused(&tool(&["test"], folder.path()), &["there is no main.lua"]);
    std::fs::remove_file(folder.path().join("plugin.yaml")).expect("the manifest is there");
    refused(&tool(&["test"], folder.path()), &["there is no plugin.yaml"]);
}

#[test]
fn code_that_does_not_load_fails_each_case_with_its_line() {
    fails("[]", "return {\n  on_request_headers = function( end }", "- name: a\n  request: {}\n", &["main.lua:2"]);
    fails("[]", "return { on_reqest_headers = function() end }", "- name: a\n  request: {}\n", &["on_reqest_headers"]);
}

#[test]
fn a_filter_plays_what_it_names_and_refuses_to_play_nothing() {
    let folder = plugin("[]", NOTHING, "- name: one\n- name: two\n");
    let said = tool(&["test", "--filter", "tw"], folder.path());
    assert_eq!(said.code, 0, "{}", said.errors);
    assert!(said.out.contains("two") && !said.out.contains("one"), "{}", said.out);
    assert!(said.out.ends_with("1 passed, 0 failed, 1 left out by --filter\n"), "{}", said.out);
    refused(&tool(&["test", "--filter", "three"], folder.path()), &["no case has \"three\" in its name, of 2"]);
}

#[test]
fn json_says_what_the_lines_say() {
    let spec = "- name: one\n- name: two\n  request: {}\n  expect: { response: { status: 404 } }\n";
    let folder = plugin("[]", NOTHING, spec);
    let said = tool(&["test", "--json"], folder.path());
    assert_eq!(said.code, 1, "{}", said.errors);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    let two = &json["plugins"][0]["cases"][1];
    assert_eq!(two["findings"][0]["expected"], "404");
    assert_eq!(two["findings"][0]["found"], "200");
    assert_eq!(two["place"], "spec.yaml:2");
}

#[test]
fn kv_is_kept_in_memory_and_seen_after_each_step() {
    let main = "return { on_request_headers = function()
        local kv = forebay.kv('carts')
        kv:set('seen', (kv:get('seen') or 'nobody') .. '+')
        forebay.request.headers.set('x-n', tostring(kv:incr('n', 2)))
    end }";
    let spec = "- name: a\n  kv: { carts: { seen: ada } }\n  steps:\n  - request: {}\n    \
                expect: { kv: { carts: { seen: ada+, n: '2' } } }\n  - request: {}\n    \
                expect: { request: { headers: { x-n: '4' } }, kv: { carts: { seen: ada++, other: null } } }\n\
                - name: b is a store of its own\n  request: {}\n  expect: { kv: { carts: { seen: nobody+ } } }\n";
    passes("['kv:carts']", main, spec);
    let wrong = "- name: a\n  request: {}\n  expect: { kv: { carts: { seen: somebody } } }\n";
    fails("['kv:carts']", main, wrong, &["kv carts, key seen", "expected  somebody", "found     nobody+"]);
}

/// Calls, and tells the client what came.
const GRPC: &str = "return { on_request_headers = function()
    local answer, why = forebay.grpc.call('stock', { service = 'shop.v1.Stock', method = 'Reserve',
      message = '\\10\\3ada', metadata = { ['x-tenant'] = 'ada' }, timeout = 2 })
    if not answer then return forebay.respond(502, {}, why.message) end
    forebay.respond(200, {}, answer.status .. ' ' .. answer.message .. (answer.text or '')) end }";

/// A case whose one callout has this `grpc`, and whose client is told this.
fn grpc(grpc: &str, told: &str) -> String {
    format!(
        "- name: a\n  request: {{}}\n  callouts: [{{ target: stock, grpc: {grpc} }}]\n  expect:\n    \
         response: {{ status: 200, body: {told} }}\n"
    )
}

#[test]
fn a_grpc_call_is_answered_by_a_message_or_a_status() {
    let stock = "['callout:stock']";
    let asked =
        "service: shop.v1.Stock, method: Reserve, metadata: { x-tenant: ada }, message: { hex: \"0a 03 616461\" }";
    let answered = "answer: { metadata: { x-a: b }, message: reserved, trailers: { x-c: d } }";
    passes(stock, GRPC, &grpc(&format!("{{ {asked}, {answered} }}"), "0 reserved"));
    passes(stock, GRPC, &grpc(&format!("{{ {asked} }}"), "'0 '"));
    passes(
        stock,
        GRPC,
        &grpc("{ answer: { status: NOT_FOUND, text: \"50% of\\ncaf\u{e9}\" } }", "\"5 50% of\\ncaf\u{e9}\""),
    );
    passes(stock, GRPC, &grpc("{ answer: { status: 16, metadata: { x-a: b } } }", "'16 '"));
    // The host's own words, as before a real server.
    passes(stock, GRPC, &grpc("{ answer: { messages: [a, b] } }", "13 more than one message"));
    // Two bytes that are no text.
    passes(
        stock,
        GRPC,
        &grpc("{ message: { contains: ada }, answer: { message: { hex: \"08 7f\" } } }", "\"0 \\x08\\x7f\""),
    );
}

#[test]
fn a_grpc_call_may_take_its_time_or_find_nobody() {
    let late = grpc("{ service: shop.v1.Stock }", "4 no end of it within 2s").replace("grpc:", "delay: 30s, grpc:");
    passes("['callout:stock']", GRPC, &late);
    let gone = grpc("{}", "{ contains: '14 ' }").replace("grpc:", "error: unavailable, grpc:");
    passes("['callout:stock']", GRPC, &gone);
}

#[test]
fn a_grpc_call_that_is_another_than_was_expected_is_named_with_both_sides() {
    let wrong =
        "{ service: shop.v1.Stocks, method: Free, metadata: { x-tenant: bob }, message: { hex: \"0a03616462\" } }";
    let parts = ["callout to stock (line 3): service", "expected  shop.v1.Stocks", "found     shop.v1.Stock"];
    let more = ["method", "expected  Free", "metadata x-tenant", "expected  bob", "hex 0a03616462", "hex 0a03616461"];
    fails("['callout:stock']", GRPC, &grpc(wrong, "''"), &[&parts[..], &more[..]].concat());
    let number = grpc("{ messages: [a, b] }", "''");
    fails("['callout:stock']", GRPC, &number, &["messages", "expected  2", "found     1"]);
    let http = "return { on_request_headers = function() forebay.http.call('stock', { path = '/x' }) end }";
    fails("['callout:stock']", http, &grpc("{}", "''"), &["call", "expected  gRPC", "found     HTTP: GET /x"]);
    // A wrong file says what would be right.
    let spec = "- name: a\n  request: {}\n  callouts:\n    - { target: a, grpc: { message: { hex: 0a0 }, answer: { status: NOTFOUND } } }\n    \
                - { target: a, request: {}, grpc: { message: a, messages: [b] } }\n";
    let said = run("['callout:a']", NOTHING, spec);
    refused(&said, &["hex digits, two a byte", "NOT_FOUND", "\"grpc\" stands beside", "\"message\" stands beside"]);
}

const POLICY: &str = "local asked = 0 return { autoscale = function(metrics)
    asked = asked + 1
    if not metrics.requests_per_second then return nil end
    return metrics.requests_per_second / 10, ('asked %d at %d of %s'):format(asked, metrics.now, metrics.pool) end }";

#[test]
fn a_policy_is_asked_and_its_count_and_reason_are_held_against_what_is_expected() {
    let spec = "- name: it counts and says why\n  time: 1000\n  steps:\n    \
                - { autoscale: { requests_per_second: 21 }, expect: { proposal: { origins: 3, because: asked 1 at 1000 of shop } } }\n    \
                - { after: 20s, autoscale: { pool: a, requests_per_second: 0 }, expect: { proposal: { origins: 0, because: { contains: 2 at 1020 of a } } } }\n    \
                - { autoscale: {}, expect: { proposal: none } }\n    - { autoscale: { requests_per_second: 1 } }\n";
    passes("[]", POLICY, spec);
    let spec = "- name: first\n  autoscale: { requests_per_second: 21 }\n  expect: { proposal: { origins: 2, because: { contains: twice } } }\n\
                - name: second\n  autoscale: { requests_per_second: 21 }\n  expect: { proposal: none }\n\
                - name: third\n  autoscale: {}\n  expect: { proposal: 1 }\n";
    let first = ["FAIL  first", "expected  2", "found     3: asked 1 at", "proposal's reason", "with \"twice\" in it"];
    let others =
        ["FAIL  second", "expected  none", "FAIL  third", "expected  one", "found     none", "0 passed, 3 failed"];
    fails("[]", POLICY, spec, &[&first[..], &others[..]].concat());
}

#[test]
fn a_policy_that_fails_has_the_fault_that_production_makes_of_it_and_the_next_question_is_answered() {
    let main = "return { autoscale = function(metrics)
        if metrics.in_flight == 1 then while true do end end
        if metrics.in_flight == 2 then return 'many' end
        if metrics.in_flight == 3 then forebay.http.call('shop', {}) end
        return 0/0 * (metrics.in_flight or 0) + 7 end }";
    let spec = "- name: a\n  steps:\n    - { autoscale: { in_flight: 1 }, expect: { fault: { verdict: CPU, callback: autoscale } } }\n    \
                - { autoscale: { in_flight: 2 }, expect: { fault: { verdict: TRAP, contains: returned string for the origins } } }\n    \
                - { autoscale: { in_flight: 4 }, expect: { fault: { verdict: TRAP, contains: NaN origins } } }\n    \
                - { autoscale: { in_flight: 3 }, expect: { fault: TRAP } }\n";
    passes("['callout:shop']", main, spec);
    let spec = "- name: a\n  autoscale: { in_flight: 2 }\n  expect: { proposal: 7 }\n";
    fails(
        "[]",
        main,
        spec,
        &["fault", "expected  none", "TRAP in autoscale: autoscale: returned string for the origins"],
    );
    let spec = "- name: a\n  autoscale: {}\n";
    fails(
        "[]",
        "return { on_request_headers = function() end }",
        spec,
        &["a plugin that can be asked", "it has no autoscale"],
    );
}

#[test]
fn what_a_policy_is_shown_has_the_keys_that_there_are_and_no_others() {
    let policy = |spec: &str| run("[]", POLICY, spec);
    let said = policy("- name: a\n  autoscale: { request_per_second: 5 }\n");
    refused(&said, &["spec.yaml:2:", "unknown key \"request_per_second\"", "requests_per_second"]);
    let said = policy("- name: a\n  autoscale: { origins: { serving: -1 }, signals: { cpu: { value: hot } } }\n");
    refused(&said, &["found the number -1", "found \"hot\"", "a number from 0, such as 0.8 or 50"]);
    let said = policy("- name: a\n  autoscale: { proposals: [{ source: reactve, origins: 3 }] }\n");
    refused(&said, &["reactve", "reactive, predictive, schedule", "did you mean \"reactive\""]);
    let said = policy("- name: a\n  request: {}\n  autoscale: {}\n");
    refused(&said, &["\"autoscale\" stands beside \"request\"", "each in a step of its own"]);
    let said = policy("- name: a\n  request: {}\n  expect: { proposal: 3 }\n");
    refused(&said, &["a proposal is expected, and nobody asks for one", "needed: \"autoscale\""]);
    let said = policy("- name: a\n  autoscale: {}\n  expect: { proposal: nothing }\n");
    refused(&said, &["found \"nothing\"", "a count, a map of origins and because, or none"]);
}
