//! A pool's policy plugin, in a real aggregator beside a real edge: its proposal is carried out within the pool's
//! bounds, its mistakes are its own, and it can be changed while it runs.

use harness::binary::guest;
use harness::{Folder, PATIENCE, Port, Process, wait_until};
use serde_json::Value;

use crate::region::Region;

/// Two processes whose pool, beside what `scaling` says, has the scripts `scripts`, with these files.
fn region(scaling: &str, plugins: &str, scripts: &str, files: &[(&str, &str)]) -> Region {
    let keys =
        format!("      floor: 1\n      ceiling: 4\n      stabilisation: 1s\n{scaling}      scripts: [{scripts}]");
    Region::start_scripted(&keys, &format!("plugins: [{plugins}]\n"), files)
}

fn decision(region: &Region) -> Option<Value> {
    let explained = region.ask("/v1/pools/shop/explain")?;
    explained["decision"].as_object().is_some().then(|| explained["decision"].clone())
}

/// The latest decision, when it is `right`.
#[track_caller]
fn decided(region: &Region, what: &str, right: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, PATIENCE, || decision(region).filter(|decision| right(decision)))
}

fn of_script<'a>(decision: &'a Value, name: &str) -> &'a Value {
    let proposals = decision["proposals"].as_array().expect("a list");
    proposals.iter().find(|one| one["source"] == "script" && one["rule"] == name).expect("it is in the record")
}

/// A policy that always wants so many.
fn wants(origins: &str, because: &str) -> String {
    format!("function autoscale(metrics) return {origins}, \"{because}\" end\n")
}

#[test]
fn what_a_script_proposes_is_started_within_the_ceiling_and_explained() {
    let region = region("", "{name: cpu, lua: cpu.lua}", "cpu", &[("cpu.lua", &wants("9", "cpu 91 %"))]);
    wait_until("the ceiling", PATIENCE, || (region.origins("serving").len() == 4).then_some(()));
    let decision = decided(&region, "a script that wins", |decision| decision["winner"] == "script cpu");
    let said = of_script(&decision, "cpu");
    assert_eq!((&said["origins"], &said["because"]), (&9.into(), &"cpu 91 %".into()));
    assert_eq!((&decision["to"], &decision["want"]), (&4.into(), &9.into()));
    assert!(decision["line"].as_str().is_some_and(|line| line.ends_with("ceiling 4 binds (wanted 9)")), "{decision}");
    let journaled = |record: &Value| record["decision"]["winner"] == "script cpu";
    wait_until("the journal", PATIENCE, || region.journal().iter().any(journaled).then_some(()));
    assert_eq!(region.status(), Some(200));
}

#[test]
fn a_script_that_is_changed_is_asked_anew_and_one_that_cannot_be_is_refused_whole() {
    let mut region = region("", "{name: cpu, lua: cpu.lua}", "cpu", &[("cpu.lua", &wants("3", "first"))]);
    region.edge.expect_error("reload refused");
    region.aggregator.expect_error("reload refused");
    wait_until("three", PATIENCE, || (region.origins("serving").len() == 3).then_some(()));
    region.write("cpu.lua", &wants("2", "second"));
    decided(&region, "the second", |decision| of_script(decision, "cpu")["because"] == "second");
    wait_until("two", PATIENCE, || (region.origins("serving").len() == 2).then_some(()));
    // One that is no script any more: the file is refused, and the last good one goes on.
    region.write("cpu.lua", "return { on_tick = function() end }\n");
    region.aggregator.wait_for_log(&["reload refused", "has no autoscale, so it is no script of scaling"]);
    region.write("cpu.lua", "function autoscale(metrics) return 4 end end\n");
    region.aggregator.wait_for_log(&["reload refused", "cpu.lua:1"]);
    assert_eq!(of_script(&decided(&region, "a decision", |_| true), "cpu")["because"], "second");
    // One that loads and fails when it is asked: the version before answers, and the record says so.
    region.write("cpu.lua", "function autoscale(metrics) return metrics.missing.field end\n");
    let stood_in = decided(&region, "the version before", |decision| {
        of_script(decision, "cpu")["because"]
            .as_str()
            .is_some_and(|text| text.starts_with("second; by the version before"))
    });
    assert_eq!((&stood_in["to"], &of_script(&stood_in, "cpu")["origins"]), (&2.into(), &2.into()));
    region.write("cpu.lua", &wants("3", "third"));
    decided(&region, "the third", |decision| of_script(decision, "cpu")["because"] == "third");
}

#[test]
fn scripts_that_misbehave_leave_the_other_rules_and_each_other_alone() {
    let module = guest("tests/conformance/guest", "conformance-guest.wasm");
    let module = module.display();
    let plugins = format!(
        "{{name: good, wasm: {module}, config: policy more}}, {{name: spin, wasm: {module}, config: policy loop}}, \
         {{name: hoard, lua: hoard.lua}}, {{name: wrong, lua: wrong.lua}}, {{name: nosy, lua: nosy.lua}}"
    );
    let hoard = "local all = {} return { autoscale = function() while true do all[#all + 1] = (\"x\"):rep(1e5) .. #all end end }";
    let nosy = "function autoscale() local ok, why = forebay.http.call(\"shop\", {}) error(why.message, 0) end";
    let mut region = region(
        "      reactive: {requests_per_origin: 10000}\n",
        &plugins,
        "good, {name: spin, crash_budget: {faults: 2, back_off: 50s}}, hoard, wrong, nosy",
        &[("hoard.lua", hoard), ("wrong.lua", "function autoscale() return \"many\" end"), ("nosy.lua", nosy)],
    );
    region.aggregator.expect_error("the script has faults without end");
    wait_until("two more than the floor", PATIENCE, || (region.origins("serving").len() == 3).then_some(()));
    let says = |decision: &Value, name: &str, text: &str| {
        of_script(decision, name)["because"].as_str().is_some_and(|because| because.contains(text))
    };
    let decision = decided(&region, "all of their faults", |decision| {
        says(decision, "spin", "disabled")
            && says(decision, "hoard", "MEMORY: ")
            && says(decision, "wrong", "returned string for the origins")
            && says(decision, "nosy", "http.call: not in phase scale")
    });
    assert_eq!(decision["winner"], "script good");
    for name in ["spin", "hoard", "wrong", "nosy"] {
        assert_eq!(of_script(&decision, name)["origins"], Value::Null, "{name}");
    }
    let reactive = decision["proposals"].as_array().and_then(|all| all.iter().find(|one| one["source"] == "reactive"));
    assert!(reactive.is_some_and(|one| one["origins"].is_number()), "the other rules go on: {decision}");
    assert!(!region.aggregator.log_has("PANIC"));
    assert_eq!(region.status(), Some(200));
}

#[test]
fn check_refuses_a_script_that_is_none_with_the_reason() {
    let folder = Folder::new();
    let port = Port::free();
    let file = |plugin: &str| {
        folder.write("cpu.lua", plugin);
        folder.write(
            "region.yaml",
            format!(
                "aggregator: {{address: \"{}\"}}\nplugins: [{{name: cpu, lua: cpu.lua}}]\npools: [{{name: shop, scaling: \
                 {{ceiling: 4, scripts: [cpu], actuator: dry_run}}}}]\n",
                port.address
            ),
        )
    };
    let check = |plugin: &str| {
        let output = std::process::Command::new(harness::binary::forebay()).arg("check").arg(file(plugin)).output();
        let output = output.expect("the binary starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(check(&wants("3", "well")).0);
    let (fine, told) = check("return { on_tick = function() end }\n");
    assert!(!fine && told.contains("pool \"shop\": plugin \"cpu\" has no autoscale"), "{told}");
    let (fine, told) = check("local a = 1\nfunction autoscale( return 3 end\n");
    assert!(!fine && told.contains("cpu.lua:2:"), "{told}");
    let (fine, told) = check("return { autoscale = 3 }\n");
    assert!(!fine && told.contains("autoscale is number; a callback is a function"), "{told}");
    // And so does a run, before anything is bound.
    let mut process = Process::start(&["run", "-c", "region.yaml"], folder.path());
    assert_eq!(process.wait().code(), Some(64));
}

/// `plugins/wasm/trend`, as whoever takes it from there has it.
#[test]
fn a_policy_in_wasm_has_origins_started_for_the_load_and_says_why() {
    let module = guest("plugins/wasm/trend", "trend.wasm");
    let plugins = format!("{{name: trend, wasm: {}}}", module.display());
    // An origin is said to carry a request in five seconds.
    let scripts = "{name: trend, config: {requests_per_origin: 0.2}}";
    let region = region("", &plugins, scripts, &[]);
    let decision = decided(&region, "more than the floor for the requests", |decision| {
        assert_eq!(region.status(), Some(200));
        of_script(decision, "trend")["origins"].as_u64().is_some_and(|origins| origins >= 4)
    });
    let because = of_script(&decision, "trend")["because"].as_str().expect("it says why").to_owned();
    assert!(because.ends_with("/s, and not rising") || because.contains(" a minute: "), "{because}");
    wait_until("the ceiling", PATIENCE, || {
        assert_eq!(region.status(), Some(200));
        (region.origins("serving").len() == 4).then_some(())
    });
    let journaled = |record: &Value| record["decision"]["winner"] == "script trend" && record["decision"]["to"] == 4;
    wait_until("the journal", PATIENCE, || region.journal().iter().any(journaled).then_some(()));
}

/// `plugins/lua/thresholds`: the articles' policy, on a signal of the pool.
#[test]
fn a_policy_by_thresholds_goes_up_over_them_and_back_down_under_them() {
    let folder = harness::binary::root().join("plugins/lua/thresholds");
    let plugins = format!("{{name: thresholds, lua: {}}}", folder.display());
    // The window of the load is the reactive rule's, which asks for nothing here.
    let signals = "      signals: [{name: load, source: requests, per_origin: 1}]\n      \
                   reactive: {requests_per_origin: 1000000, window: 2s}\n";
    let scripts = "{name: thresholds, config: {signal: load, high: 300, low: 100}}";
    let region = region(signals, &plugins, scripts, &[]);
    let over = |decision: &Value| {
        of_script(decision, "thresholds")["because"].as_str().is_some_and(|why| why.contains(", over 300"))
    };
    decided(&region, "a load over the threshold", |decision| {
        for _ in 0..10 {
            assert_eq!(region.status(), Some(200));
        }
        over(decision)
    });
    wait_until("one more", PATIENCE, || {
        for _ in 0..10 {
            assert_eq!(region.status(), Some(200));
        }
        (region.origins("serving").len() >= 2).then_some(())
    });
    // Nobody asks for anything any more.
    let decision = decided(&region, "the floor again", |decision| decision["to"] == 1);
    assert!(
        of_script(&decision, "thresholds")["because"].as_str().is_some_and(|why| why.contains(", under 100")),
        "{decision}"
    );
}
