//! Policies: what a plugin proposes where a pool's scaling asks it, and what becomes of one that fails.

use harness::{Edge, Origin, PATIENCE, Setup, get, list, wait_until};
use serde_json::Value;

use crate::faults::expect_its_words;
use crate::pair::{Engine, on_both_engines, plugin};

/// `policy HOW`: what it proposes, or does in place of that.
const POLICY: &str = r#"
local plugin, how, times = {}, nil, 0
function plugin.on_configure(config) how = config:match("^policy (%S+)$") end
function plugin.autoscale(metrics)
  times = times + 1
  if how == "count" then
    local seen = forebay.scale.view()
    return 2.5, ("%s at %d, asked %d times"):format(seen.pool, metrics.origins.desired, times)
  elseif how == "more" then
    return { origins = metrics.origins.floor + 2, because = "two more than the floor" }
  elseif how == "nan" then return 0 / 0, ""
  elseif how == "negative" then return -1, ""
  elseif how == "absurd" then
    local ok, why = forebay.scale.propose(1e9, "")
    error(why.message, 0)
  elseif how == "loop" then while true do end
  elseif how == "memory" then
    local all = {}
    while true do all[#all + 1] = ("x"):rep(1e6) .. #all end
  elseif how == "error" then error("the policy has a mistake")
  end
end
return plugin
"#;

/// An edge and an aggregator with a pool of one listed origin whose scaling asks this policy alone.
fn asked_by(engine: Engine, how: &str, origin: &Origin) -> Setup {
    let mut plugin = plugin("policy", POLICY).words(&format!("policy {how}"));
    if how == "memory" {
        // Filling its memory takes a guest longer than the usual limit.
        plugin = plugin.keys("    limits: {cpu: 5s}");
    }
    let setup = Setup::new(format!(
        "plugins:\n{}routes: [{{name: all, pool: shop}}]\npools:\n  - name: shop\n    origins: {}\n    scaling: \
         {{ceiling: 9, actuator: dry_run, scripts: [policy]}}\n",
        plugin.entry(engine),
        list(&[origin.address])
    ));
    setup.file("policy.lua", &plugin.lua).with_aggregator()
}

/// The proposal of the script in the latest decision, when it is `right`.
#[track_caller]
fn proposal(edge: &Edge, right: impl Fn(&Value) -> bool) -> Value {
    let aggregator = edge.aggregator.expect("the setup runs one");
    wait_until("the script's proposal", PATIENCE, || {
        let explained: Value = serde_json::from_slice(&get(aggregator, "/v1/pools/shop/explain").body).ok()?;
        let proposals = explained["decision"]["proposals"].as_array()?.clone();
        proposals.into_iter().find(|one| one["source"] == "script" && right(one))
    })
}

on_both_engines! {
    fn a_policy_sees_the_pool_and_its_proposal_is_rounded_up_and_told_with_its_reason(engine) {
        let origin = Origin::saying("ok");
        let edge = asked_by(engine, "count", &origin).start();
        let said = proposal(&edge, |one| one["because"].as_str().is_some_and(|text| text.ends_with("asked 2 times")));
        assert_eq!((&said["rule"], &said["origins"]), (&"policy".into(), &3.into()));
        assert_eq!(said["because"], "shop at 3, asked 2 times", "it sees what was decided, and is one instance");
    }

    fn what_is_no_count_is_no_proposal_and_told(engine) {
        for (how, found) in [("nan", "NaN"), ("negative", "-1"), ("absurd", "1000000000")] {
            let origin = Origin::saying("ok");
            let edge = asked_by(engine, how, &origin).start();
            let said = proposal(&edge, |one| one["because"].as_str().is_some_and(|text| text.starts_with("TRAP")));
            let told = said["because"].as_str().unwrap_or_default();
            assert_eq!(said["origins"], Value::Null);
            assert!(told.ends_with(&format!("scale.propose: {found} origins; allowed: a number from 0 to 10000")), "{told}");
        }
    }

    fn a_policy_that_fails_has_the_verdict_of_any_plugin_and_nobody_else_notices(engine) {
        for (how, verdict) in [("loop", "CPU"), ("memory", "MEMORY"), ("error", "TRAP")] {
            let origin = Origin::saying("ok");
            let mut edge = asked_by(engine, how, &origin).start();
            expect_its_words(&mut edge, engine);
            edge.process.expect_error("the policy has a mistake");
            let said = proposal(&edge, |one| one["because"].as_str().is_some_and(|text| text.starts_with(verdict)));
            assert_eq!(said["origins"], Value::Null);
            assert_eq!(edge.get("/a").status, 200);
            let verdict = format!("verdict=\"{verdict}\"");
            let labels = ["plugin=\"policy\"", "pool=\"shop\"", &verdict];
            assert!(edge.metrics().sum("forebay_aggregator_script_faults_total", &labels) >= 1.0);
            assert!(!edge.process.log_has("PANIC"));
        }
    }
}

/// A copy of the module without the callback of our own, as one that was built with another SDK.
#[test]
fn a_module_of_another_sdk_is_asked_by_its_tick() {
    let (name, other) = (b"forebay_on_autoscale", b"elsewhere__autoscale");
    let mut module = std::fs::read(Engine::Wasm.module()).expect("it is built");
    let places: Vec<_> = (0..module.len()).filter(|at| module[*at..].starts_with(name)).collect();
    assert!(!places.is_empty(), "the guest exports it");
    for at in places {
        module[at..at + name.len()].copy_from_slice(other);
    }
    let origin = Origin::saying("ok");
    let folder = harness::Folder::new();
    let mut plugin = plugin("policy", POLICY).words("policy tick");
    plugin.module = Some(folder.write("without_autoscale.wasm", module));
    let setup = Setup::new(format!(
        "plugins:\n{}routes: [{{name: all, pool: shop}}]\npools:\n  - name: shop\n    origins: {}\n    scaling: \
         {{ceiling: 9, actuator: dry_run, scripts: [policy]}}\n",
        plugin.entry(Engine::Wasm),
        list(&[origin.address])
    ));
    let edge = setup.with_aggregator().start();
    let said = proposal(&edge, |one| one["origins"] == 3);
    assert_eq!(said["because"], "by a tick");
}
