//! What waits, and goes on: across everything that Lua calls through.

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
