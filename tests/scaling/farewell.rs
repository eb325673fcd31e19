//! An edge that ends in order is not missed; one that is killed is.

use harness::{PATIENCE, wait_until};
use serde_json::{Value, json};

use crate::region::Region;

const ONE: &str =
    "      floor: 1\n      ceiling: 4\n      stabilisation: 1s\n      reactive: {requests_per_origin: 10000}";

#[track_caller]
fn seen(region: &Region, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, PATIENCE, || {
        let explained = region.ask("/v1/pools/shop/explain")?;
        is(&explained["inputs"]).then(|| explained["inputs"].clone())
    })
}

fn names(inputs: &Value) -> Vec<&str> {
    inputs["edges"].as_array().into_iter().flatten().filter_map(|edge| edge["edge"].as_str()).collect()
}

#[test]
fn an_edge_that_is_restarted_in_order_under_another_name_is_not_carried_beside_itself() {
    let mut region = Region::start(ONE);
    seen(&region, "the edge is known", |inputs| names(inputs) == ["e1"]);
    assert!(region.edge.stop().success(), "it drains and ends");
    // Known at once: that it fell silent would only be known five seconds later.
    let inputs = seen(&region, "it is known to have left", |inputs| inputs["left"] == json!(["e1"]));
    assert!(names(&inputs).is_empty(), "{inputs}");
    region.start_edge("e2");
    let inputs = seen(&region, "the next is known", |inputs| names(inputs) == ["e2"]);
    assert_eq!(inputs["coverage"], 1.0, "{inputs}");
    assert!(inputs["carried_requests_per_second"].is_null(), "{inputs}");
}

#[test]
fn an_edge_that_is_killed_is_carried_beside_the_one_after_it() {
    let mut region = Region::start(ONE);
    seen(&region, "the edge is known", |inputs| names(inputs) == ["e1"]);
    region.edge.kill();
    region.start_edge("e2");
    // Those that report come first.
    let carried = |inputs: &Value| names(inputs) == ["e2", "e1"] && inputs["edges"][1]["carried"].is_object();
    let inputs = seen(&region, "something stands in for the first", carried);
    assert!(inputs["left"].is_null(), "{inputs}");
}
