//! What waits, and goes on: across everything that Lua calls through. Over 400 lines, one way of
//! waiting after the other.

use std::time::Duration;

use abi::*;
use bytes::Bytes;

use crate::fake::*;

fn response(status: u16, body: &'static str) -> Result<CalloutResponse, CalloutError> {
    let headers = [("X-A", "1"), ("x-a", "2"), ("content-type", "text/plain")];
    let headers = headers.map(|(n, v)| (Bytes::from(n), Bytes::from(v))).to_vec();
    Ok(CalloutResponse { status, headers, body: Bytes::from(body), trailers: Vec::new() })
}

#[test]
fn a_callout_is_waited_for() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local answer, why = forebay.http.call("authz",
                    { method = "POST", path = "/p", authority = "a.test", headers = { a = { "1", "2" } }, body = "b" },
                    { timeout = 0.25 })
                forebay.log.info(answer.status .. answer.body .. answer.headers["x-a"] .. answer.headers["content-type"])
                answer, why = forebay.http.call("authz")
                forebay.log.info(tostring(answer) .. why.code)
                answer, why = forebay.http.call("other", {})
                forebay.log.info(why.code)
            end }"#,
        );
        assert_eq!(run.headers().unwrap(), Action::Pause);
        let (target, request, first) = run.host.callouts.borrow()[0].clone();
        assert_eq!((target.as_str(), request.method.as_str(), request.path.as_str()), ("authz", "POST", "/p"));
        assert_eq!((request.authority.as_str(), &request.body[..]), ("a.test", &b"b"[..]));
        assert_eq!(request.headers, pairs(&[("a", "1"), ("a", "2")]));
        assert_eq!(request.timeout, Some(Duration::from_millis(250)));
        // A token of somebody else changes nothing.
        let other = Event::Callout { token: Token(999), result: &response(500, "") };
        assert_eq!(run.call(other).unwrap(), Action::Pause);
        assert_eq!(run.call(Event::Callout { token: first, result: &response(201, "ok") }).unwrap(), Action::Pause);
        assert_eq!(run.host.texts(), ["201ok1, 2text/plain"]);
        let (_, request, second) = run.host.callouts.borrow()[1].clone();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.timeout), ("GET", "/", None));
        let late = Event::Callout { token: second, result: &Err(CalloutError::Timeout) };
        assert_eq!(run.call(late).unwrap(), Action::Continue);
        assert_eq!(run.host.texts()[1..], ["nilTIMEOUT", "CAPABILITY_DENIED"]);
    });
}

#[test]
fn a_grpc_call_is_waited_for_and_its_status_is_an_answer() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local request = { service = "s.S", method = "M", message = "hi", metadata = { a = "1" }, timeout = 0.25 }
                local answer = forebay.grpc.call("authz", request)
                forebay.log.info(answer.status .. answer.message .. tostring(answer.text))
                answer = forebay.grpc.call("authz", { service = "s.S", method = "M" })
                forebay.log.info(answer.status .. answer.message .. answer.text)
                local _, why = forebay.grpc.call("other", request)
                forebay.log.info(why.code)
                forebay.log.info(select(2, pcall(forebay.grpc.call, "authz", { service = "s.S" })))
            end }"#,
        );
        assert_eq!(run.headers().unwrap(), Action::Pause);
        let (target, request, first) = run.host.grpcs.borrow()[0].clone();
        assert_eq!((target.as_str(), request.service.as_str(), request.method.as_str()), ("authz", "s.S", "M"));
        assert_eq!((request.message, request.metadata), (Some(Bytes::from("hi")), pairs(&[("a", "1")])));
        assert_eq!(request.timeout, Some(Duration::from_millis(250)));
        let message = GrpcEvent::Message("there".into());
        assert_eq!(run.call(Event::Grpc { token: first, event: &message }).unwrap(), Action::Pause);
        let (_, request, second) = run.host.grpcs.borrow()[1].clone();
        assert_eq!((request.message, request.timeout), (Some(Bytes::new()), None), "no message is an empty one");
        let closed = GrpcEvent::Closed(GrpcStatus::new(5, "no such"));
        assert_eq!(run.call(Event::Grpc { token: second, event: &closed }).unwrap(), Action::Continue);
        let texts = run.host.texts();
        assert_eq!(texts[..3], ["0therenil", "5no such", "CAPABILITY_DENIED"]);
        assert!(texts[3].contains("request.method"), "{}", texts[3]);
    });
}

/// `wait()` sleeps and gives true; each body must log "done" at its end.
#[test]
fn waiting_works_across_everything_that_lua_calls_through() {
    let bodies = [
        "wait()",
        "assert(pcall(wait))",
        "assert(xpcall(wait, error))",
        "assert(select(2, pcall(pcall, wait)))",
        "for _ in function(_, n) wait() if not n then return 1 end end do wait() end",
        "local t = setmetatable({}, { __index = function() return wait() end }) assert(t.x)",
        "local t = setmetatable({}, { __newindex = function() wait() end }) t.x = 1",
        "local t = setmetatable({}, { __call = function() return wait() end }) assert(t())",
        "local m = { __lt = function() return wait() end } assert(setmetatable({}, m) < setmetatable({}, m))",
        "local t = setmetatable({}, { __tostring = function() wait() return 'x' end }) assert(tostring(t) == 'x')",
        "local t = setmetatable({}, { __tostring = function() wait() return 'x' end }) assert(('%s!'):format(t) == 'x!')",
        "local t = setmetatable({}, { __tostring = function() wait() return 'x' end }) log(t)",
        "local t = { 3, 1, 2 } table.sort(t, function(a, b) wait() return a < b end) assert(table.concat(t) == '123')",
        "assert(string.gsub('abc', '%a', function(c) wait() return c .. c end) == 'aabbcc')",
        "for c in string.gmatch('abc', '%a') do wait() end",
        "xpcall(error, function() wait() end)",
        "assert(coroutine.wrap(function() return wait() end)())",
        "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) wait() local c = coroutine.yield(b + 1) wait() return c + 1 end)
         local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) local _, z = coroutine.resume(co, 100)
         assert(x == 2 and y == 11 and z == 101 and coroutine.status(co) == 'dead')",
        "local function deep(n) if n == 0 then return wait() end return coroutine.wrap(function() return pcall(deep, n - 1) end)() end
         for i = 1, 3 do assert(deep(90)) end",
        "local all = {} for i = 1, 3 do all[i] = coroutine.wrap(function() for j = 1, 3 do wait() coroutine.yield(j) end end) end
         for j = 1, 3 do for i = 1, 3 do assert(all[i]() == j) end end",
        "assert(load('local wait = ... return wait()')(wait))",
        "assert(require('waiter')(wait))",
    ];
    for body in bodies {
        let code = format!(
            "local log = forebay.log.info
            local waits = 0
            local function wait() waits = waits + 1 return forebay.sleep(0.001) end
            return {{ on_request_headers = function() {body} assert(waits > 0) forebay.log.info('done') end }}"
        );
        on_worker(move || {
            let folder =
                Folder::new().with("main.lua", &code).with("waiter.lua", "return function(wait) return wait() end");
            let host = std::rc::Rc::new(Fake::new());
            let instance = folder.load().unwrap().instantiate(host.clone()).unwrap();
            let mut run = Run { host, instance };
            run.open(2);
            let mut action = run.headers().unwrap();
            let mut waits = 0;
            while action == Action::Pause {
                let (duration, token) = run.host.timers.borrow()[waits];
                assert_eq!(duration, Duration::from_millis(1));
                waits += 1;
                action = run.call(Event::Timer { token }).unwrap_or_else(|e| panic!("{e}\n{:?}\n{code}", e.trace));
            }
            assert_eq!(action, Action::Continue);
            assert_eq!(waits, run.host.timers.borrow().len());
            assert_eq!(run.host.texts().last().map(String::as_str), Some("done"), "{code}");
        });
    }
}

/// What a callout that is one of several gave, as the host lists it.
fn listed(status: i64, body: &str) -> Value {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let pair = |name, value| Value::List(vec![text(name), text(value)]);
    Value::List(vec![Value::Int(status), Value::List(vec![pair("X-A", "1"), pair("x-a", "2")]), text(body)])
}

#[test]
fn several_callouts_are_waited_for_in_everything_that_waits() {
    let bodies = [
        "local list = all() assert(#list == 3 and list[1].status == 200 and list[1].body == 'one')
         assert(list[1].headers['x-a'] == '1, 2' and list[2].code == 'TIMEOUT' and tostring(list[2]) == 'TIMEOUT: late')
         assert(list[3].body == 'three' and list[3].code == nil)",
        "local fine, list = pcall(all) assert(fine and list[1].body == 'one')",
        "for _, result in ipairs(all()) do all() end",
        "local t = setmetatable({}, { __index = function() return all() end }) assert(t.x[1].body == 'one')",
        "local list = coroutine.wrap(function() coroutine.yield(all()) end)() assert(list[3].body == 'three')",
        "table.sort({ 2, 1 }, function(a, b) assert(#all() == 3) return a < b end)",
    ];
    for body in bodies {
        let code = format!(
            "local log = forebay.log.info
            local function all() return assert(forebay.http.call_all {{
                {{ 'authz', {{ path = '/1', headers = {{ a = 'b' }} }}, {{ timeout = 0.5, retry = 3 }} }}, {{ 'authz' }},
                {{ 'other', {{ method = 'POST', body = 'b', trailers = {{ t = '1' }} }} }} }}) end
            return {{ on_request_headers = function() {body} log('done') end }}"
        );
        on_worker(move || {
            let mut run = Run::new(&code);
            let mut action = run.headers().unwrap();
            let late = Value::List([&b"TIMEOUT"[..], b"late"].map(|text| Value::Bytes(text.to_vec())).to_vec());
            let reply = Ok(Value::List(vec![listed(200, "one"), late, listed(404, "three")]));
            let mut waits = 0;
            while action == Action::Pause {
                let (callouts, token) = run.host.several.borrow()[waits].clone();
                let [one, two, three] = &callouts[..] else { panic!("{callouts:?}") };
                assert_eq!((&*one.target, &*one.request.path, one.request.retry), ("authz", "/1", 3));
                assert_eq!(one.request.timeout, Some(Duration::from_millis(500)));
                assert_eq!((&*two.request.method, &*two.request.path, two.request.retry), ("GET", "/", 0));
                assert_eq!((&*three.target, &three.request.body[..]), ("other", &b"b"[..]));
                assert_eq!(three.request.trailers, pairs(&[("t", "1")]));
                waits += 1;
                action = run.call(Event::Reply { token, reply: &reply }).unwrap_or_else(|e| panic!("{e}\n{code}"));
            }
            assert_eq!((action, waits), (Action::Continue, run.host.several.borrow().len()));
            assert_eq!(run.host.texts().last().map(String::as_str), Some("done"), "{code}");
        });
    }
}

#[test]
fn chunks_are_waited_for_in_everything_that_waits() {
    let bodies = [
        "for chunk in chunks() do see(chunk) end",
        "local next = chunks() repeat local fine, chunk = pcall(next) assert(fine) see(chunk) until not chunk",
        "local each = coroutine.wrap(function() for chunk in chunks() do coroutine.yield(chunk) end end)
         for chunk in each do see(chunk) end",
        "local t = setmetatable({}, { __index = chunks() }) repeat local chunk = t.x see(chunk) until not chunk",
        "string.gsub('aaaa', 'a', function() see(chunks()()) end)",
        "for chunk in chunks() do see(chunk) if chunk == 'two' then break end end
         for chunk in chunks() do see(chunk) end",
        "for chunk in chunks() do see(chunk) forebay.sleep(1) end",
    ];
    for (body, side) in bodies.iter().flat_map(|body| [(body, Side::Request), (body, Side::Response)]) {
        let name = if side == Side::Request { "request" } else { "response" };
        let code = format!(
            "local chunks, seen = forebay.{name}.body_chunks, {{}}
            local function see(chunk) seen[#seen + 1] = chunk and forebay.{name}.set_body(chunk:upper()) and chunk end
            return {{ on_{name}_headers = function() {body} forebay.log.info(table.concat(seen, ' ')) end }}"
        );
        on_worker(move || {
            let mut run = Run::new(&code);
            let mut slept = 0;
            let mut go_on = |run: &mut Run, mut action| {
                while action == Action::Pause {
                    let (_, token) = run.host.timers.borrow()[slept];
                    slept += 1;
                    action = run.call(Event::Timer { token }).unwrap_or_else(|e| panic!("{e}\n{code}"));
                }
                action
            };
            let began = match side {
                Side::Request => run.call(Event::RequestHeaders { end_of_stream: false }),
                Side::Response => run.call(Event::ResponseHeaders { end_of_stream: false }),
            };
            assert_eq!(go_on(&mut run, began.unwrap()), Action::Chunk);
            let last = [("one", false), ("", false), ("two", false), ("three", false), ("", true)];
            for (chunk, end) in last {
                run.host.bodies.borrow_mut()[side as usize] = Bytes::from(chunk);
                let action = run.call(Event::Chunk { side, size: chunk.len(), end_of_stream: end }).unwrap();
                let action = go_on(&mut run, action);
                assert_eq!(action, if end { Action::Continue } else { Action::Chunk }, "{code}");
                assert_eq!(run.host.bodies.borrow()[side as usize], chunk.to_uppercase());
            }
            assert_eq!(run.host.texts(), ["one two three"], "{code}");
        });
    }
}

#[test]
fn a_body_callback_loops_from_its_own_chunk_to_the_end() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_body = function(size, last)
                forebay.log.info("begin " .. size)
                for chunk in forebay.request.body_chunks() do forebay.log.info(chunk) end
                forebay.log.info("end <" .. forebay.request.chunk() .. "> <" .. forebay.request.body() .. ">")
            end }"#,
        );
        let put = |run: &mut Run, chunk: &'static str, event| {
            run.host.bodies.borrow_mut()[0] = Bytes::from(chunk);
            run.call(event).unwrap()
        };
        let first = Event::RequestBody { size: 3, end_of_stream: false };
        assert_eq!(put(&mut run, "one", first), Action::Chunk);
        let second = Event::Chunk { side: Side::Request, size: 3, end_of_stream: true };
        assert_eq!(put(&mut run, "two", second), Action::Continue);
        // The only chunk is also the last: nothing is waited for.
        let only = Event::RequestBody { size: 4, end_of_stream: true };
        assert_eq!(put(&mut run, "only", only), Action::Continue);
        let texts = ["begin 3", "one", "two", "end <two> <two>", "begin 4", "only", "end <only> <only>"];
        assert_eq!(run.host.texts(), texts);
    });
}

#[test]
fn the_end_of_an_exchange_waits_in_the_log_and_not_before() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return {
                on_done = function()
                    local fine, why = pcall(forebay.sleep, 1) forebay.log.info(tostring(fine) .. " " .. why)
                end,
                on_log = function() forebay.sleep(1) forebay.log.info("slept") end,
                on_drain = function(left) forebay.log.info(left) end,
            }"#,
        );
        assert_eq!(run.call(Event::Done).unwrap(), Action::Continue);
        assert_eq!(run.call(Event::Log).unwrap(), Action::Pause);
        let (_, token) = run.host.timers.borrow()[0];
        assert_eq!(run.call(Event::Timer { token }).unwrap(), Action::Continue);
        run.call_on(ContextId::PLUGIN, Event::Drain { left: Duration::from_millis(2500) }).unwrap();
        let texts = run.host.texts();
        assert!(texts[0].starts_with("false ") && texts[0].ends_with("on_done cannot wait; on_log can"), "{texts:?}");
        assert_eq!(texts[1..], ["slept", "2.5"]);
    });
}

#[test]
fn the_whole_body_is_waited_for_from_the_headers() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                forebay.log.info(forebay.request.body()) forebay.log.info(forebay.request.body())
                forebay.request.set_body("new")
                forebay.request.headers.set("x-checked", "yes")
            end }"#,
        );
        assert_eq!(run.headers().unwrap(), Action::Buffer);
        assert_eq!(run.call(Event::BodyReady(Side::Request)).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["request body", "request body"]);
        assert_eq!(run.host.bodies.borrow()[0], "new");
    });
}

#[test]
fn the_whole_body_is_waited_for_from_a_chunk_and_after_other_waits() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return {
                on_response_headers = function() forebay.sleep(1) forebay.log.info(forebay.response.body()) end,
                on_response_body = function(size, last) forebay.log.info(#forebay.response.body() .. tostring(last)) end,
            }"#,
        );
        assert_eq!(run.call(Event::ResponseHeaders { end_of_stream: false }).unwrap(), Action::Pause);
        let (_, token) = run.host.timers.borrow()[0];
        assert_eq!(run.call(Event::Timer { token }).unwrap(), Action::Buffer);
        assert_eq!(run.call(Event::BodyReady(Side::Response)).unwrap(), Action::Continue);
        assert_eq!(run.call(Event::ResponseBody { size: 13, end_of_stream: false }).unwrap(), Action::BufferAll);
        assert_eq!(run.call(Event::BodyReady(Side::Response)).unwrap(), Action::Continue);
        // The last chunk is all that there is: nothing to wait for.
        assert_eq!(run.call(Event::ResponseBody { size: 13, end_of_stream: true }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["response body", "13false", "13true"]);
    });
}

#[test]
fn a_request_without_a_body_has_an_empty_one_at_once() {
    on_worker(|| {
        let mut run = Run::new(
            "return { on_request_headers = function() forebay.log.info('<' .. forebay.request.body() .. '>') end }",
        );
        run.host.bodies.borrow_mut()[0] = Bytes::new();
        assert_eq!(run.call(Event::RequestHeaders { end_of_stream: true }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["<>"]);
    });
}

#[test]
fn both_sides_of_an_exchange_may_wait_at_once() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return {
                on_request_body = function() forebay.sleep(1) forebay.log.info("request") end,
                on_response_headers = function() forebay.sleep(2) forebay.log.info("response") end,
            }"#,
        );
        assert_eq!(run.call(Event::RequestBody { size: 1, end_of_stream: false }).unwrap(), Action::Pause);
        assert_eq!(run.call(Event::ResponseHeaders { end_of_stream: false }).unwrap(), Action::Pause);
        let tokens: Vec<_> = run.host.timers.borrow().iter().map(|(_, token)| *token).collect();
        assert_eq!(run.call(Event::Timer { token: tokens[1] }).unwrap(), Action::Continue);
        assert_eq!(run.call(Event::Timer { token: tokens[0] }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["response", "request"]);
    });
}

#[test]
fn exchanges_that_wait_do_not_see_each_other() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local me = forebay.request.headers.get("x-id")
                forebay.ctx.set("me", me) forebay.sleep(1)
                forebay.log.info(me .. forebay.ctx.get("me"))
            end }"#,
        );
        let contexts: Vec<_> = (3..40).map(|id| run.open(id)).collect();
        for context in &contexts {
            assert_eq!(run.call_on(*context, Event::RequestHeaders { end_of_stream: true }).unwrap(), Action::Pause);
        }
        let tokens: Vec<_> = run.host.timers.borrow().iter().map(|(_, token)| *token).collect();
        // The token of one is nothing to another.
        assert_eq!(run.call_on(contexts[1], Event::Timer { token: tokens[0] }).unwrap(), Action::Pause);
        run.instance.close(contexts[0]);
        for (context, token) in contexts.iter().zip(&tokens).skip(1) {
            assert_eq!(run.call_on(*context, Event::Timer { token: *token }).unwrap(), Action::Continue);
        }
        assert_eq!(run.host.texts(), vec!["1717"; contexts.len() - 1]);
    });
}

/// A coroutine that waits for the host belongs to its exchange: no other can resume it with an
/// answer of its own making, and no script can resume the host's own coroutines.
#[test]
fn a_waiting_coroutine_cannot_be_taken_over() {
    on_worker(|| {
        let mut run = Run::new(
            r#"local kept
            return {
                on_request_headers = function()
                    kept = coroutine.create(function() forebay.log.info("got " .. tostring(forebay.sleep(1))) end)
                    forebay.log.info(tostring(coroutine.running()))
                    coroutine.resume(kept)
                end,
                on_log = function() forebay.log.info(tostring(select(2, coroutine.resume(kept, "forged")))) end,
            }"#,
        );
        let other = run.open(3);
        assert_eq!(run.headers().unwrap(), Action::Pause);
        run.call_on(other, Event::Log).unwrap();
        let (_, token) = run.host.timers.borrow()[0];
        assert_eq!(run.call(Event::Timer { token }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["nil", "cannot resume a coroutine that waits for the host", "got true"]);
    });
}

#[test]
fn a_tick_waits_too_and_is_not_overtaken() {
    on_worker(|| {
        let mut run = Run::new("return { on_tick = function() forebay.sleep(1) forebay.log.info('tick') end }");
        assert_eq!(run.call_on(ContextId::PLUGIN, Event::Tick).unwrap(), Action::Pause);
        assert_eq!(run.call_on(ContextId::PLUGIN, Event::Tick).unwrap(), Action::Continue);
        let timers = run.host.timers.borrow().clone();
        assert_eq!(timers.len(), 1);
        assert_eq!(run.call_on(ContextId::PLUGIN, Event::Timer { token: timers[0].1 }).unwrap(), Action::Continue);
        assert_eq!(run.host.texts(), ["tick"]);
    });
}

#[test]
fn waiting_while_the_plugin_starts_is_refused() {
    on_worker(|| {
        let mut run = Run::new(
            r#"local _, why = forebay.sleep(1)
            return { on_request_headers = function() forebay.log.info(why.message) end }"#,
        );
        run.headers().unwrap();
        assert!(run.host.texts()[0].starts_with("sleep: not in phase start (only in: request"));
    });
}

#[test]
fn an_error_after_a_wait_is_a_fault_with_its_place() {
    on_worker(|| {
        let mut run = Run::new("return { on_request_headers = function()\n forebay.sleep(1)\n error('late') end }");
        run.headers().unwrap();
        let (_, token) = run.host.timers.borrow()[0];
        let fault = run.call(Event::Timer { token }).unwrap_err();
        assert_eq!((fault.verdict, fault.message.as_str()), (Verdict::Trap, "main.lua:3: late"));
        // It is gone: its token means nothing any more.
        assert_eq!(run.call(Event::Timer { token }).unwrap(), Action::Pause);
        assert!(run.instance.healthy());
    });
}
