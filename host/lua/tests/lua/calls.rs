//! Every hostcall: what it gives, and how it refuses. Over 400 lines: a table of calls is one table.

use std::time::Duration;

use abi::hostcall::TABLE;
use abi::*;

use crate::fake::*;

#[test]
fn headers_are_read_in_order_without_case() {
    let lines = eval(
        r#"
        local h = forebay.request.headers
        log(h.get("Accept")); log(tostring(h.get("none")))
        log(table.concat(h.get_all("accept"), "+")); log(#h.get_all("none"))
        local names = {}
        for name, value in h.pairs() do names[#names + 1] = name .. "=" .. value end
        log(table.concat(names, " "))
        log(forebay.request.trailers.get("t"))
    "#,
    );
    assert_eq!(lines[..4], ["a", "nil", "a+b", "0"]);
    assert_eq!(lines[4].split(' ').count(), 8);
    assert!(lines[4].ends_with("x-id=17 accept=a accept=b"), "{}", lines[4]);
    assert_eq!(lines[5], "1");
}

#[test]
fn headers_are_written_on_their_own_side() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return {
                on_request_headers = function()
                    local h = forebay.request.headers
                    assert(h.set("accept", 7)) assert(h.add("accept", "\0\255")) assert(h.remove("x-id"))
                end,
                on_response_headers = function()
                    forebay.response.headers.set("server", "us")
                    forebay.response.trailers.add("t", "3")
                    local ok, why = forebay.request.headers.set("late", "1")
                    assert(ok == nil) forebay.log.info(why.code .. "|" .. why.message .. "|" .. tostring(why))
                end,
            }"#,
        );
        assert_eq!(run.headers().unwrap(), Action::Continue);
        assert_eq!(run.call(Event::ResponseHeaders { end_of_stream: false }).unwrap(), Action::Continue);
        let maps = run.host.maps.borrow();
        let accept: Vec<_> = maps[0].iter().filter(|(n, _)| n == b"accept").map(|(_, v)| &v[..]).collect();
        assert_eq!(accept, [&b"7"[..], b"\0\xff"]);
        assert!(!maps[0].iter().any(|(n, _)| n == b"x-id" || n == b"late"));
        assert_eq!(maps[2].last().unwrap(), &(b"server".to_vec(), b"us".to_vec()));
        assert_eq!(maps[3], pairs(&[("t", "2"), ("t", "3")]));
        let message = "request.headers.set: not in phase response (only in: request)";
        assert_eq!(run.host.texts(), [format!("PHASE_DENIED|{message}|PHASE_DENIED: {message}")]);
    });
}

#[test]
fn a_wrong_argument_names_function_argument_what_was_found_and_what_is_allowed() {
    let cases = [
        ("forebay.request.headers.get()", "request.headers.get: argument 1 (name) is missing; allowed: a string"),
        ("forebay.request.headers.get({})", "request.headers.get: argument 1 (name) is table; allowed: a string"),
        ("forebay.request.headers.set('a', nil)", "request.headers.set: argument 2 (value) is nil; allowed: a string"),
        ("forebay.request.set_body(true)", "request.set_body: argument 1 (bytes) is boolean; allowed: a string"),
        ("forebay.respond('200')", "respond: argument 1 (status) is string; allowed: a number"),
        ("forebay.respond(200, 'x')", "respond: argument 2 (headers) is string; allowed: a table"),
        ("forebay.respond(200, { a = true })", "respond: header 'a' is boolean; allowed: a string, or an array"),
        ("forebay.respond(200, { 'a' })", "respond: a header's name is number; allowed: a string"),
        ("forebay.respond(200, {}, {})", "respond: argument 3 (body) is table; allowed: a string or nil"),
        ("forebay.http.call()", "http.call: argument 1 (target) is nil; allowed: a string"),
        ("forebay.http.call('a', 1)", "http.call: argument 2 (request) is number; allowed: a table"),
        ("forebay.http.call('a', {}, { timeout = '1' })", "(options.timeout) is string; allowed: a number of seconds"),
        ("forebay.http.call('authz', {}, { timeout = -1 })", "is -1; allowed: seconds from 0 to"),
        ("forebay.sleep(0/0)", "sleep: argument 1 (seconds) is NaN; allowed: seconds from 0 to"),
        ("forebay.sleep('1')", "sleep: argument 1 (seconds) is string; allowed: a number"),
        ("forebay.origin.set_pool({})", "origin.set_pool: argument 1 (pool) is table; allowed: a string"),
        ("forebay.origin.set_host()", "origin.set_host: argument 1 (address) is missing; allowed: a string"),
        ("forebay.origin.stats(true)", "origin.stats: argument 1 (pool) is boolean; allowed: a string"),
        ("forebay.scale.hint('p', 'hold')", "scale.hint: argument 3 (value) is nil; allowed: a number"),
        ("forebay.scale.hint('p', 'hold', 1, -1)", "scale.hint: argument 4 (ttl) is -1; allowed: seconds from 0"),
        (
            "forebay.scale.hint('p', 'hold', 1, 1, 2)",
            "scale.hint: argument 5 (options) is number; allowed: a table {due}",
        ),
        ("forebay.property.get(nil)", "property.get: argument 1 (path) is nil; allowed: a string"),
        ("forebay.ctx.set('k', {}, { shared = true })", "ctx.set: argument 2 (value) is table; allowed: a string"),
        ("forebay.dict(1)", "dict: argument 1 (name) is number; allowed: a string"),
        ("forebay.dict('cache'):get()", "dict.get: argument 2 (key) is nil; allowed: a string"),
        (
            "forebay.dict('cache'):set('k', 'v', 0.5)",
            "dict.set: argument 4 (options) is number; allowed: a table {ttl, version}",
        ),
        ("forebay.dict('cache'):set('k', 'v', { version = 0.5 })", "dict.set: version 0.5 is none that dict.get gave"),
        ("forebay.dict('cache'):set('k', 'v', { ttl = '1' })", "(options.ttl) is string; allowed: a number"),
        ("forebay.dict('cache'):add('k')", "dict.add: argument 3 (value) is nil; allowed: a string"),
        ("forebay.dict('cache'):incr('k', 0.5)", "dict.incr: argument 3 (by) is 0.5; allowed: a whole number from"),
        ("forebay.dict('cache'):incr('k', 1, { init = 'x' })", "(options.init) is string; allowed: a number"),
        ("forebay.dict('cache'):cas('k', 'v')", "dict.cas: argument 4 (version) is nil; allowed: a version that"),
        ("forebay.queue({})", "queue: argument 1 (name) is table; allowed: a string"),
        ("forebay.queue('jobs'):push()", "queue.push: argument 2 (item) is nil; allowed: a string"),
        ("forebay.limit.take({})", "limit.take: argument 1 (bucket) is table; allowed: a string"),
        (
            "forebay.limit.take('calls', 'k', -1)",
            "limit.take: argument 3 (cost) is -1; allowed: a whole number from 0 to",
        ),
        ("forebay.limit.take('calls', {})", "limit.take: argument 2 (key) is table; allowed: a string"),
        ("forebay.tokens.reserve('calls', 0.5)", "tokens.reserve: argument 2 (n) is 0.5; allowed: a whole number"),
        ("forebay.tokens.reserve('calls', 5):commit()", "lease.commit: argument 2 (n) is nil; allowed: a number"),
        (
            "forebay.lease.release(7)",
            "lease.release: argument 1 (lease) is number; allowed: a lease that tokens.reserve gave",
        ),
        ("forebay.dict('cache'):delete()", "dict.delete: argument 2 (key) is nil; allowed: a string"),
        ("forebay.metric.counter()", "metric.counter: argument 1 (name) is nil; allowed: a string"),
        (
            "forebay.metric.counter('c'):increment('1')",
            "counter:increment: argument 2 (n) is string; allowed: a number",
        ),
        ("forebay.metric.gauge('g'):set(-1)", "gauge:set: n is -1; allowed: a whole number from 0 to 2^53"),
        ("forebay.metric.histogram('h'):record(0.5)", "histogram:record: n is 0.5; allowed: a whole number"),
        ("forebay.abi.has(nil)", "abi.has: argument 1 (name) is nil; allowed: a string"),
    ];
    for (call, message) in cases {
        let fault = fault(call);
        assert_eq!(fault.verdict, Verdict::Trap, "{call}");
        assert!(fault.message.contains(message), "{call}: {}", fault.message);
        assert!(fault.message.starts_with("main.lua:3: "), "{call}: {}", fault.message);
    }
    let fault = fault("forebay.request.headers.get(nil)");
    assert!(fault.message.starts_with("main.lua:3: "), "{}", fault.message);
    assert!(fault.trace.unwrap().contains("main.lua:3"));
}

#[test]
fn a_body_is_seen_and_replaced() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_body = function(size, last)
                forebay.log.info(size .. " " .. tostring(last) .. " " .. forebay.request.chunk())
                forebay.request.set_body(forebay.request.chunk():upper() .. "\0")
            end }"#,
        );
        let action = run.call(Event::RequestBody { size: 12, end_of_stream: true }).unwrap();
        assert_eq!(action, Action::Continue);
        assert_eq!(run.host.texts(), ["12 true request body"]);
        assert_eq!(run.host.bodies.borrow()[0], "REQUEST BODY\0");
        assert_eq!(run.host.bodies.borrow()[1], "response body");
    });
}

#[test]
fn a_chunk_where_none_is_looked_at_is_refused() {
    on_worker(|| {
        let mut run = Run::new(
            "return { on_request_headers = function() local _, why = forebay.request.chunk() forebay.log.info(why.code)
                forebay.log.info('<' .. forebay.request.body() .. '>') end }",
        );
        run.host.looked_at.set(false);
        assert_eq!(run.call(Event::RequestHeaders { end_of_stream: true }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["NOT_FOUND", "<>"]);
    });
}

#[test]
fn an_answer_ends_the_callback_where_it_stands() {
    let answers = [
        "forebay.respond(403, { ['x-a'] = { '1', '2' }, ['x-b'] = 3 }, 'no')",
        "pcall(forebay.respond, 403, { ['x-a'] = { '1', '2' }, ['x-b'] = 3 }, 'no')",
        "coroutine.wrap(function() pcall(forebay.respond, 403, { ['x-a'] = { '1', '2' }, ['x-b'] = 3 }, 'no') end)()",
    ];
    for answer in answers {
        on_worker(move || {
            let mut run = Run::new(&format!(
                "return {{ on_request_headers = function() {answer} forebay.log.info('went on') end }}"
            ));
            assert_eq!(run.headers().unwrap(), Action::Pause);
            let answers = run.host.answers.borrow();
            assert_eq!((answers.len(), answers[0].status, &answers[0].body[..]), (1, 403, &b"no"[..]));
            let mut headers = answers[0].headers.clone();
            headers.sort();
            assert_eq!(headers, pairs(&[("x-a", "1"), ("x-a", "2"), ("x-b", "3")]));
            assert!(run.host.texts().is_empty(), "{answer}");
        });
    }
}

#[test]
fn close_ends_the_exchange_and_the_callback() {
    on_worker(|| {
        let mut run = Run::new("return { on_request_headers = function() forebay.close() forebay.log.info('on') end }");
        assert_eq!(run.headers().unwrap(), Action::Pause);
        assert!(run.host.aborted.get() && run.host.texts().is_empty());
    });
}

#[test]
fn an_answer_out_of_its_phase_is_refused_and_one_that_cannot_be_given_is_an_error() {
    on_worker(|| {
        let mut run = Run::new(
            "return { on_log = function() local ok, why = forebay.respond(200) forebay.log.info(tostring(ok) .. why.code)
                ok, why = forebay.close() forebay.log.info(why.code) end,
              on_request_headers = function() forebay.respond(4030) end }",
        );
        run.call(Event::Log).unwrap();
        assert_eq!(run.host.texts(), ["nilPHASE_DENIED", "PHASE_DENIED"]);
        for status in ["4030", "403.5", "99", "101", "600"] {
            let mut run =
                Run::new(&format!("return {{ on_request_headers = function() forebay.respond({status}) end }}"));
            // Who is to be refused must not be let through.
            let fault = run.headers().unwrap_err();
            assert!(fault.message.contains(&format!("status {status} is none of an answer")), "{fault}");
        }
    });
}

#[test]
fn properties_come_in_their_own_type() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local get, log = forebay.property.get, forebay.log.info
                for _, path in ipairs { "request.path", "request.size", "connection.mtls", "request.duration", "none" } do
                    local value = get(path) log(type(value) .. " " .. tostring(value))
                end
                log(get("request.headers")["x-id"])
            end }"#,
        );
        let map = Value::Map(vec![(b"x-id".to_vec(), b"17".to_vec())]);
        let known = [
            ("request.path", Value::Bytes(b"/a".to_vec())),
            ("request.size", Value::Int(12)),
            ("connection.mtls", Value::Bool(true)),
            ("request.duration", Value::Nanos(2_500_000_000)),
            ("request.headers", map),
        ];
        run.host.properties.borrow_mut().extend(known.map(|(path, value)| (path.to_owned(), value)));
        run.headers().unwrap();
        let wanted = ["string /a", "number 12", "boolean true", "number 2.5", "nil nil", "17"];
        assert_eq!(run.host.texts(), wanted);
    });
}

#[test]
fn ctx_is_of_one_exchange_and_shared_only_on_demand() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return {
                on_request_headers = function()
                    local ctx = forebay.ctx
                    forebay.log.info(tostring(ctx.get("t")))
                    ctx.set("t", { n = 1 }) ctx.set("s", "text", { shared = true })
                end,
                on_response_headers = function()
                    forebay.log.info(tostring(forebay.ctx.get("t") and forebay.ctx.get("t").n) .. tostring(forebay.ctx.get("other")))
                end,
                on_tick = function() local ok, why = forebay.ctx.get("t") forebay.log.info(why.message) end,
            }"#,
        );
        let second = run.open(3);
        run.host.properties.borrow_mut().insert("other".to_owned(), Value::Bytes(b"!".to_vec()));
        run.headers().unwrap();
        run.call(Event::ResponseHeaders { end_of_stream: true }).unwrap();
        run.call_on(second, Event::ResponseHeaders { end_of_stream: true }).unwrap();
        run.call_on(ContextId::PLUGIN, Event::Tick).unwrap();
        let texts = run.host.texts();
        assert_eq!(texts[..3], ["nil", "1!", "nil!"]);
        assert!(texts[3].starts_with("ctx.get: not in phase background"), "{}", texts[3]);
        let shared = run.host.properties.borrow();
        assert_eq!(shared["s"], Value::Bytes(b"text".to_vec()));
        assert!(!shared.contains_key("t"));
    });
}

#[test]
fn a_dictionary_has_versions() {
    let lines = eval(
        r#"
        local d = forebay.dict("cache")
        log(tostring(d:get("k")))
        assert(d:set("k", "one"))
        local value, version = d:get("k") log(value .. version)
        local ok, why = d:set("k", "two", { version = version + 1 }) log(tostring(ok) .. why.code)
        assert(d:set("k", "two", { version = version })) log((d:get("k")))
        assert(d:set("k", nil)) log(tostring(d:get("k")))
        ok, why = forebay.dict("other"):get("k") log(why.message)
    "#,
    );
    let denied = "dict.get: capability dict:other is not granted to this plugin";
    assert_eq!(lines, ["nil", "one1", "nilCAS_MISMATCH", "two", "nil", denied]);
}

#[test]
fn the_other_calls_of_a_dictionary_take_their_options() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local log, d = forebay.log.info, forebay.dict("cache")
                local ok, why = d:add("k", 1, { ttl = 1.5 }) log(tostring(ok))
                ok, why = d:add("k", "2") log(why.code)
                log(d:incr("k", 41)) log(d:incr("n")) log(d:incr("m", -2, { init = 10, ttl = 60 }))
                local _, version = d:get("k")
                log(tostring(d:cas("k", "new", version, { ttl = 5 })))
                ok, why = d:cas("k", "newer", version + 7) log(why.code)
                d:set("s", "v", { ttl = 2 }) d:delete("s") log(tostring(d:get("s")))
            end }"#,
        );
        run.headers().unwrap();
        assert_eq!(run.host.texts(), ["true", "CAS_MISMATCH", "42", "1", "8", "true", "CAS_MISMATCH", "nil"]);
        let seconds = |ttl: &Option<Duration>| ttl.map_or(0.0, |ttl| ttl.as_secs_f64());
        let ttls: Vec<f64> = run.host.ttls.borrow().iter().map(seconds).collect();
        assert_eq!(ttls, [1.5, 0.0, 0.0, 60.0, 5.0, 2.0, 0.0]);
    });
}

#[test]
fn tokens_are_taken_reserved_and_settled() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local log = forebay.log.info
                local taken = forebay.limit.take("calls", "k", 4)
                log(tostring(taken.allowed) .. taken.remaining .. " " .. taken.retry_after)
                taken = forebay.limit.take("calls")
                log(tostring(taken.allowed) .. taken.remaining)
                taken = forebay.limit.take("calls", 17, 12)
                log(tostring(taken.allowed) .. taken.remaining .. " " .. taken.retry_after)
                local lease = forebay.tokens.reserve("calls", 8, "k")
                log(tostring(lease:commit(3)) .. tostring(lease:release()))
                local none, why = forebay.tokens.reserve("calls", 11)
                log(tostring(none) .. " " .. tostring(why))
                none, why = forebay.limit.take("others", "k")
                log(tostring(why))
                log(tostring(getmetatable(lease)))
            end }"#,
        );
        run.headers().unwrap();
        let wanted = [
            "true6 0",
            "true9",
            "false10 2",
            "truetrue",
            "nil LIMIT_EXCEEDED: retry after 5s",
            "CAPABILITY_DENIED: limit.take: capability limit:others is not granted to this plugin",
            "false",
        ];
        assert_eq!(run.host.texts(), wanted);
        let takes = [(b"k".to_vec(), 4), (Vec::new(), 1), (b"17".to_vec(), 12), (b"k".to_vec(), 8)];
        assert_eq!(*run.host.takes.borrow(), takes);
        assert_eq!(*run.host.leases.borrow(), [(LeaseId(7), Some(3)), (LeaseId(7), None)]);
    });
}

#[test]
fn a_queue_gives_what_it_was_given_and_its_callback_is_told_its_name() {
    on_worker(|| {
        let mut run = Run::new(
            r#"local plugin = {}
            function plugin.on_queue_ready(name)
                forebay.log.info(name)
                forebay.log.info(forebay.queue(name):pop())
                forebay.sleep(1)
                forebay.log.info(tostring(forebay.queue(name):pop()))
            end
            function plugin.on_request_headers()
                local jobs = forebay.queue("jobs")
                forebay.log.info(tostring(jobs:push("a\0b")))
                local ok, why = forebay.queue("others"):push("x") forebay.log.info(tostring(why))
                forebay.log.info(tostring(getmetatable(jobs)))
            end
            return plugin"#,
        );
        run.headers().unwrap();
        let ready = Event::QueueReady { id: 3, name: "jobs" };
        run.host.phase.set(Phase::Background);
        assert_eq!(run.call_on(ContextId::PLUGIN, ready).unwrap(), Action::Pause, "it sleeps");
        assert_eq!(run.call_on(ContextId::PLUGIN, ready).unwrap(), Action::Pause, "it is not told twice");
        let token = run.host.timers.borrow()[0].1;
        assert_eq!(run.call_on(ContextId::PLUGIN, Event::Timer { token }).unwrap(), Action::Continue);
        let denied = "CAPABILITY_DENIED: queue.push: capability queue:others is not granted to this plugin";
        assert_eq!(run.host.texts(), ["true", denied, "false", "jobs", "a\0b", "nil"]);
    });
}

#[test]
fn metrics_are_objects() {
    on_worker(|| {
        let mut run = Run::new(
            r#"local count = forebay.metric.counter("c")
            return { on_request_headers = function()
                count:increment() count:increment(4)
                local g = forebay.metric.gauge("g") g:set(7) g:increment(-2)
                forebay.metric.histogram("h"):record(11)
                forebay.log.info(count:get())
            end }"#,
        );
        run.headers().unwrap();
        let metrics = run.host.metrics.borrow();
        let wanted = [
            (MetricKind::Counter, "c".to_owned(), vec![1, 4]),
            (MetricKind::Gauge, "g".to_owned(), vec![7, -2]),
            (MetricKind::Histogram, "h".to_owned(), vec![11]),
        ];
        assert_eq!(metrics[..], wanted);
        assert_eq!(run.host.texts(), ["5"]);
    });
}

#[test]
fn logs_have_levels_and_what_is_not_kept_is_not_formatted() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local never = setmetatable({}, { __tostring = function() error("formatted") end })
                forebay.log.trace(never) forebay.log.debug(never)
                forebay.log.info(1) forebay.log.warn(nil) forebay.log.error("e") forebay.log.critical("\255")
                print("a", 2, nil)
            end }"#,
        );
        run.host.level.set(LogLevel::Info);
        run.headers().unwrap();
        let logs = run.host.logs.borrow();
        let wanted = [
            (LogLevel::Info, "1"),
            (LogLevel::Warn, "nil"),
            (LogLevel::Error, "e"),
            (LogLevel::Critical, "\u{fffd}"),
            (LogLevel::Info, "a\t2\tnil"),
        ];
        assert_eq!(logs[..], wanted.map(|(level, text)| (level, text.to_owned())));
    });
}

#[test]
fn time_and_the_abi_itself() {
    on_worker(|| {
        let mut run = Run::new(
            r#"forebay.timer.every(2.5)
            return { on_request_headers = function()
                forebay.log.info(forebay.now() .. " " .. forebay.abi.version())
                forebay.log.info(tostring(forebay.abi.has("http.call")) .. tostring(forebay.abi.has("proxy_log"))
                    .. tostring(forebay.abi.has("no.such")))
                local ok, why = forebay.timer.every(1) forebay.log.info(why.code)
            end }"#,
        );
        assert_eq!(run.host.tick.get(), Some(Duration::from_millis(2500)));
        run.headers().unwrap();
        assert_eq!(run.host.texts(), ["1.5 1", "truetruefalse", "PHASE_DENIED"]);
    });
}

#[test]
fn every_row_of_the_table_has_its_function() {
    for row in TABLE {
        // Some are methods of the object that `forebay.dict(name)` or `forebay.kv(name)` gives, and `log`
        // is a group.
        let (group, method) = match row.lua {
            name if name.starts_with("queue.") => ("forebay.queue('jobs')", &name[6..]),
            name if name.starts_with("dict.") => ("forebay.dict('cache')", &name[5..]),
            "secret.hmac" => ("forebay.secret('key')", "hmac"),
            name if name.starts_with("kv.") => ("forebay.kv('main')", &name[3..]),
            "log" => ("forebay.log", "info"),
            name => match name.rsplit_once('.') {
                Some((group, method)) => (&*format!("forebay.{group}").leak(), method),
                None => ("forebay", name),
            },
        };
        assert_eq!(eval(&format!("log(type({group}.{method}))")), ["function"], "{}", row.lua);
    }
}

/// Each call in each phase: refused exactly where the table says so, with a code, never silently.
#[test]
fn every_row_is_refused_outside_of_its_phases() {
    on_worker(|| {
        for row in TABLE {
            let arguments = match row.call {
                Call::Respond => "200",
                Call::HttpCall => "'authz'",
                Call::HttpCallAll => "{ { 'authz' } }",
                Call::GrpcCall => "'authz', { service = 's.S', method = 'M' }",
                Call::Sleep | Call::SetTick => "1",
                Call::MetricCounter | Call::MetricGauge | Call::MetricHistogram => "'name'",
                Call::Secret => "'key'",
                Call::ScaleHint => "'name', 'hold', 1, 60",
                Call::ScalePropose => "3, 'why'",
                Call::RequestBody
                | Call::ResponseBody
                | Call::ResponseSetEvent
                | Call::Close
                | Call::Now
                | Call::ScaleView
                | Call::AbiVersion => "",
                _ => "'name', 'value'",
            };
            let call = match row.call {
                Call::DictCas => "forebay.dict('cache'):cas('k', 'v', 1)".to_owned(),
                Call::DictIncr => "forebay.dict('cache'):incr('n')".to_owned(),
                _ if row.lua.starts_with("dict.") => format!("forebay.dict('cache'):{}('k', 'v', nil)", &row.lua[5..]),
                Call::QueuePush | Call::QueuePop => format!("forebay.queue('jobs'):{}('item')", &row.lua[6..]),
                Call::LimitTake => "forebay.limit.take('calls', 'k')".to_owned(),
                Call::TokensReserve => "forebay.tokens.reserve('calls', 1)".to_owned(),
                Call::LeaseCommit | Call::LeaseRelease => format!("forebay.{}({{ id = 1 }}, 1)", row.lua),
                Call::KvSet => "forebay.kv('main'):set('k', 'v')".to_owned(),
                Call::KvIncr => "forebay.kv('main'):incr('n')".to_owned(),
                _ if row.lua.starts_with("kv.") => format!("forebay.kv('main'):{}('k', nil)", &row.lua[3..]),
                Call::Log => "forebay.log.info('x')".to_owned(),
                Call::SecretHmac => "forebay.secret('key'):hmac('sha256', 'data')".to_owned(),
                _ => format!("forebay.{}({arguments})", row.lua),
            };
            let code = format!(
                "local function try() local ok, why = {call}
                    if ok == nil and type(why) == 'table' then forebay.log.critical(why.code) end end
                return {{ on_request_headers = try, on_response_headers = try, on_log = try, on_tick = try,
                    on_origin_select = try,
                    on_configure = function() try() end }}"
            );
            let mut run = Run::new(&code);
            let denied = |run: &Run, phase: Phase| {
                let denied = run.host.texts().iter().any(|text| text == "PHASE_DENIED");
                assert_eq!(denied, !row.phases.contains(phase), "{} in {}", row.lua, phase.name());
                run.host.logs.borrow_mut().clear();
            };
            denied(&run, Phase::Start);
            run.call(Event::RequestHeaders { end_of_stream: false }).unwrap();
            denied(&run, Phase::Request);
            run.call(Event::OriginSelect { pool: "shop", attempt: 1 }).unwrap();
            denied(&run, Phase::Origin);
            run.call(Event::ResponseHeaders { end_of_stream: false }).unwrap();
            denied(&run, Phase::Response);
            run.call(Event::Log).unwrap();
            denied(&run, Phase::Log);
            run.call_on(ContextId::PLUGIN, Event::Tick).unwrap();
            denied(&run, Phase::Background);
        }
    });
}

/// What `autoscale` of a file proposes, or why that is its fault.
fn autoscale(code: &str) -> Result<Vec<String>, Fault> {
    let code = code.to_owned();
    on_worker(move || {
        let mut run = Run::new(&code);
        let view =
            bytes::Bytes::from_static(br#"{"pool":"shop","origins":{"desired":3},"series":[{"at":1},{"at":2}]}"#);
        run.call_on(ContextId::PLUGIN, Event::Autoscale { view: &view })?;
        Ok(run.host.chosen.borrow().clone())
    })
}

#[test]
fn a_policy_returns_a_count_and_why_or_a_table_of_both_or_nothing() {
    let returned = |what: &str| autoscale(&format!("return {{ autoscale = function(m) return {what} end }}"));
    assert_eq!(returned("m.origins.desired + 1, m.pool .. #m.series").unwrap(), ["4 origins: shop2"]);
    assert_eq!(returned("{ origins = 2.5, because = 'half' }").unwrap(), ["2.5 origins: half"]);
    assert_eq!(returned("7").unwrap(), ["7 origins: "]);
    assert_eq!(returned("nil, 'because of that'").unwrap(), [] as [&str; 0]);
    assert_eq!(returned("").unwrap(), [] as [&str; 0]);
    let said = returned("forebay.scale.propose(5, 'said') and nil").unwrap();
    assert_eq!(said, ["5 origins: said"]);
    let view = "(function() local v = forebay.scale.view() return v.origins.desired, v.pool end)()";
    assert_eq!(returned(view).unwrap(), ["3 origins: shop"], "it can be asked for anywhere");
}

#[test]
fn what_a_policy_returns_that_is_no_count_is_its_fault_and_runs_no_code_of_it() {
    let wrong = |what: &str| {
        let code = format!("return {{ autoscale = function(m) return {what} end }}");
        let fault = autoscale(&code).unwrap_err();
        assert_eq!(fault.verdict, Verdict::Trap);
        fault.message
    };
    let allowed = "allowed: a number of origins and a text, {origins, because}, or nil";
    assert_eq!(wrong("'7'"), format!("autoscale: returned string for the origins; {allowed}"));
    assert_eq!(wrong("true"), format!("autoscale: returned boolean for the origins; {allowed}"));
    assert_eq!(wrong("{ origins = {} }"), format!("autoscale: returned table for the origins; {allowed}"));
    assert_eq!(wrong("{}"), "autoscale: returned a table without origins; allowed: {origins, because}");
    assert_eq!(wrong("1, {}"), "autoscale: returned table for the reason; allowed: a text");
    assert_eq!(wrong("-1"), "autoscale: returned scale.propose: origins -1");
    assert_eq!(wrong("0 / 0"), "autoscale: returned scale.propose: origins NaN");
    let meta = "setmetatable({}, { __index = function() error('ran') end })";
    assert_eq!(wrong(meta), "autoscale: returned a table without origins; allowed: {origins, because}");
    let waits = wrong("assert(forebay.sleep(1))");
    assert!(waits.contains("sleep: not in phase scale"), "{waits}");
}

#[test]
fn a_file_that_returns_nothing_is_a_policy_by_its_one_global() {
    assert_eq!(autoscale("function autoscale(m) return 2, m.pool end").unwrap(), ["2 origins: shop"]);
    assert_eq!(load("function autoscale() end").callbacks(), Callbacks::AUTOSCALE);
}
