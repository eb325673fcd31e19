//! Hints: what a plugin says of what is coming reaches the aggregator, or is refused with the reason.

use harness::{Edge, Origin, PATIENCE, Setup, get, list, wait_until};
use serde_json::Value;

use crate::pair::{Engine, Plugin, on_both_engines, plugin};

/// Says what the request's header `x-hint` does: pool, kind, value, seconds.
const SCALE: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local said = forebay.request.headers.get("x-hint")
  if not said then return end
  local pool, kind, value, ttl = said:match("^(%S+) (%S+) (%S+) ?(%S*)$")
  local ok, why = forebay.scale.hint(pool, kind, tonumber(value), tonumber(ttl))
  if not ok then forebay.log.warn(why.message) end
  forebay.request.headers.set("x-hinted", ok and "done" or why.code)
end
return plugin
"#;

const BAD_ARGUMENT: (&str, &str) = ("BAD_ARGUMENT", "2");
const CAPABILITY_DENIED: (&str, &str) = ("CAPABILITY_DENIED", "100");
const LIMIT_EXCEEDED: (&str, &str) = ("LIMIT_EXCEEDED", "102");
const UNAVAILABLE: (&str, &str) = ("UNAVAILABLE", "104");

fn hinter() -> Plugin {
    plugin("scale", SCALE).keys("    capabilities: [\"scale.hint:shop\", \"scale.hint:deaf\"]")
}

/// The pool `shop` takes hints as `hints` says, the pool `deaf` takes none.
fn region(engine: Engine, plugin: &Plugin, origin: &Origin, hints: &str) -> Setup {
    let origins = list(&[origin.address]);
    let rest = "ceiling: 9, actuator: dry_run, reactive: {requests_per_origin: 100}";
    let setup = Setup::new(format!(
        "plugins:\n{}routes:\n  - {{name: all, plugins: [scale], pool: shop}}\npools:\n  - name: shop\n    origins: \
         {origins}\n    scaling: {{{rest}, hints: {hints}}}\n  - name: deaf\n    origins: {origins}\n    scaling: \
         {{{rest}}}\n",
        plugin.entry(engine)
    ));
    setup.file("scale.lua", &plugin.lua)
}

/// What the plugin was answered.
fn say(edge: &Edge, origin: &Origin, hint: &str) -> String {
    let mut client = edge.connect();
    client.request("GET", "/a", &[("x-hint", hint)], b"");
    assert_eq!(client.response().status, 200, "{hint}");
    origin.last().headers.get("x-hinted").unwrap_or_default().to_owned()
}

#[track_caller]
fn refused(edge: &Edge, engine: Engine, origin: &Origin, hint: &str, code: (&str, &str), message: &str) {
    let code = if engine == Engine::Lua { code.0 } else { code.1 };
    assert_eq!(say(edge, origin, hint), code, "{hint}");
    edge.process.wait_for_log(&[&format!("scale.hint: {message}").replace('"', "\\\"")]);
}

/// What the aggregator's latest decision says was asked, when there is `enough` of it.
#[track_caller]
fn asked(edge: &Edge, what: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let aggregator = edge.aggregator.expect("the setup runs one");
    wait_until(what, PATIENCE, || {
        let explained: Value = serde_json::from_slice(&get(aggregator, "/v1/pools/shop/explain").body).ok()?;
        explained["decision"].as_object()?;
        let asked = explained["decision"]["hinted"]["asked"].as_array().cloned().unwrap_or_default();
        enough(&asked).then_some(asked)
    })
}

on_both_engines! {
    fn a_hint_reaches_the_decision_with_who_asked_and_can_be_taken_back(engine) {
        let origin = Origin::saying("ok");
        let plugin = hinter();
        let hints = "{kinds: [demand, cost, prewarm, hold], add: 3}";
        let edge = region(engine, &plugin, &origin, hints).with_aggregator().start();
        assert_eq!(say(&edge, &origin, "shop prewarm 3 60"), "done");
        assert_eq!(say(&edge, &origin, "shop demand 12.5 60"), "done");
        let told = asked(&edge, "both hints", |asked| asked.len() == 2);
        for (one, (kind, value)) in told.iter().zip([("demand", 12.5), ("prewarm", 3.0)]) {
            assert_eq!((&one["plugin"], &one["edge"]), (&"scale".into(), &"test-edge".into()));
            assert_eq!((&one["kind"], one["value"].as_f64()), (&kind.into(), Some(value)));
        }
        assert_eq!(say(&edge, &origin, "shop demand 0 60"), "done");
        assert_eq!(asked(&edge, "one of them", |asked| asked.len() == 1)[0]["kind"], "prewarm");
        // A cost is of its own request, and past with it.
        assert_eq!(say(&edge, &origin, "shop cost 41"), "done");
        // It is in one decision, which the next one may have followed before anybody looks: said until
        // it is seen.
        asked(&edge, "the cost", |asked| {
            let seen = asked.iter().any(|one| one["kind"] == "cost");
            if !seen {
                say(&edge, &origin, "shop cost 41");
            }
            seen
        });
        asked(&edge, "the cost to be past", |asked| asked.iter().all(|one| one["kind"] != "cost"));
    }

    fn a_pool_takes_the_hints_that_its_scaling_names_and_no_others(engine) {
        let origin = Origin::saying("ok");
        let plugin = hinter();
        let edge = region(engine, &plugin, &origin, "{kinds: [prewarm], add: 3}").with_aggregator().start();
        let refused = |hint, code, message| refused(&edge, engine, &origin, hint, code, message);
        refused("deaf prewarm 3 60", CAPABILITY_DENIED, "pool \"deaf\" takes no hints: its scaling has no \"hints\"");
        refused("shop hold 1 60", CAPABILITY_DENIED, "pool \"shop\" takes no hint of kind hold, only: prewarm");
        refused("other prewarm 3 60", CAPABILITY_DENIED, "capability scale.hint:other is not granted to this plugin");
        refused(
            "shop prewram 3 60",
            BAD_ARGUMENT,
            "no kind \"prewram\"; kinds are: demand, cost, prewarm, hold; did you mean \"prewarm\"?",
        );
        refused("shop prewarm 2.5 60", BAD_ARGUMENT, "prewarm 2.5; allowed: a whole number from 0 to 10000");
        refused("shop prewarm 3", BAD_ARGUMENT, "a hint of kind prewarm needs a ttl over 0 seconds");
        asked(&edge, "a decision without hints", <[Value]>::is_empty);
    }

    fn more_hints_than_the_rule_allows_are_refused(engine) {
        let origin = Origin::saying("ok");
        let plugin = hinter();
        let edge = region(engine, &plugin, &origin, "{kinds: [hold], add: 0, per_second: 2}").with_aggregator().start();
        // Three in a second come sooner or later, however slow the machine is.
        let code = if engine == Engine::Lua { LIMIT_EXCEEDED.0 } else { LIMIT_EXCEEDED.1 };
        wait_until("a hint too many", PATIENCE, || (say(&edge, &origin, "shop hold 1 60") == code).then_some(()));
        edge.process.wait_for_log(&["scale.hint: more than 2 hints in a second (scaling.hints.per_second)"]);
        asked(&edge, "the hold", |asked| asked.len() == 1);
    }

    fn an_edge_that_reports_to_nobody_says_so(engine) {
        let origin = Origin::saying("ok");
        let edge = region(engine, &hinter(), &origin, "{kinds: [hold], add: 0}").start();
        refused(&edge, engine, &origin, "shop hold 1 60", UNAVAILABLE, "this edge reports to no aggregator");
    }
}
