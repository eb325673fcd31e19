//! Key-value stores: what a script asks reaches the host as it was said, and what comes back reaches
//! the script.

use std::time::Duration;

use abi::*;

use crate::fake::*;

#[test]
fn what_is_asked_reaches_the_host_and_its_answer_the_script() {
    on_worker(|| {
        let mut run = Run::new(
            r#"return { on_request_headers = function()
                local kv, log = forebay.kv("main"), forebay.log.info
                log(tostring(kv:get(7)))
                log(tostring(kv:set("k", "v\0", { ttl = 0.5 })))
                log(tostring(kv:incr("n")))
                local list = kv:eval("return 1", { "a", 2 }, { "x" })
                log(#list .. tostring(list[1]) .. list[2][1])
                local gone, why = kv:delete("k")
                log(tostring(gone) .. tostring(why))
                gone, why = forebay.kv("other"):get("k")
                log(why.code)
            end }"#,
        );
        assert_eq!(run.headers().unwrap(), Action::Pause);
        let b = |text: &str| text.as_bytes().to_vec();
        let ttl = Some(Duration::from_millis(500));
        let steps = [
            (KvAsk::Get { key: b("7") }, Ok(Value::Nil), "nil"),
            (KvAsk::Set { key: b("k"), value: b("v\0"), ttl }, Ok(Value::Bool(true)), "true"),
            (KvAsk::Incr { key: b("n"), by: 1, ttl: None }, Ok(Value::Int(3)), "3"),
            (
                KvAsk::Eval { script: b("return 1"), keys: vec![b("a"), b("2")], args: vec![b("x")] },
                Ok(Value::List(vec![Value::Bool(false), Value::List(vec![Value::Bytes(b("deep"))])])),
                "2falsedeep",
            ),
            (
                KvAsk::Delete { key: b("k") },
                Err(Refusal::new(Status::Unavailable, "no store")),
                "nilUNAVAILABLE: no store",
            ),
        ];
        let last = steps.len() - 1;
        for (at, (ask, reply, told)) in steps.into_iter().enumerate() {
            let (kv, asked, token) = run.host.kv.borrow()[at].clone();
            assert_eq!((kv.as_str(), asked), ("main", ask));
            let action = run.call(Event::Reply { token, reply: &reply }).unwrap();
            assert_eq!(action, if at == last { Action::Continue } else { Action::Pause });
            assert_eq!(run.host.texts()[at], told);
        }
        assert_eq!(run.host.texts()[last + 1], "CAPABILITY_DENIED");
        assert_eq!(run.host.kv.borrow().len(), last + 1, "what was not granted is not asked");
    });
}

#[test]
fn an_argument_of_the_wrong_type_names_itself() {
    let wrong = [
        ("forebay.kv()", "kv: argument 1 (name) is nil; allowed: a string"),
        ("forebay.kv('main'):get()", "kv.get: argument 2 (key) is nil; allowed: a string"),
        ("forebay.kv('main'):set('k')", "kv.set: argument 3 (value) is nil; allowed: a string"),
        (
            "forebay.kv('main'):set('k', 'v', 5)",
            "kv.set: argument 3 (options) is number; allowed: a table {ttl}, or nil",
        ),
        (
            "forebay.kv('main'):set('k', 'v', { ttl = '5' })",
            "(options.ttl) is string; allowed: a number of seconds, or nil",
        ),
        ("forebay.kv('main'):set('k', 'v', { ttl = -1 })", "(options.ttl) is -1; allowed: seconds from 0"),
        ("forebay.kv('main'):incr('k', 0.5)", "kv.incr: argument 3 (by) is 0.5; allowed: a whole number"),
        ("forebay.kv('main'):incr('k', 2 ^ 60)", "allowed: a whole number from -2^53 to 2^53"),
        (
            "forebay.kv('main'):eval('x', 'k')",
            "kv.eval: argument 2 (keys) is string; allowed: an array of strings, or nil",
        ),
        ("forebay.kv('main'):eval('x', {}, { {} })", "kv.eval: argument 3 (arguments[1]) is table; allowed: a string"),
    ];
    for (call, message) in wrong {
        let fault = fault(call);
        assert_eq!(fault.verdict, Verdict::Trap, "{call}");
        assert!(fault.message.contains(message), "{call}: {}", fault.message);
        assert!(fault.message.starts_with("main.lua:"), "it names the place: {}", fault.message);
    }
}
