//! A plugin that knows what is coming has capacity made ready for it, within what its pool allows.

use harness::{Client, PATIENCE, wait_until};

use crate::region::Region;

/// One origin carries whatever comes: more are there only because somebody asked.
const HINTED: &str = "      floor: 1\n      ceiling: 4\n      stabilisation: 1s\n      reactive: {requests_per_origin: 10000}\n      \
                      hints: {kinds: [prewarm], add: 2}";

const PLUGIN: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local said = forebay.request.headers.get("x-hint")
  if not said then return end
  local kind, value, ttl = said:match("^(%S+) (%S+) (%S+)$")
  local ok, why = forebay.scale.hint("shop", kind, tonumber(value), tonumber(ttl))
  forebay.respond(ok and 202 or 409, {}, ok and "said" or why.message)
end
return plugin
"#;

fn say(region: &Region, hint: &str) -> (u16, String) {
    let mut client = Client::connect(region.address);
    client.request("GET", "/", &[("x-hint", hint), ("Connection", "close")], b"");
    let response = client.response();
    (response.status, response.text().to_owned())
}

#[test]
fn a_hint_of_a_plugin_has_origins_started_before_any_load_and_is_journaled() {
    let region = Region::start_with(HINTED, PLUGIN);
    wait_until("the floor", PATIENCE, || (region.origins("serving").len() == 1).then_some(()));
    let (status, why) = say(&region, "hold 1 60");
    assert_eq!(status, 409);
    assert!(why.contains("takes no hint of kind hold, only: prewarm"), "{why}");
    assert_eq!(say(&region, "prewarm 4 3600").0, 202);
    let serving = wait_until("what the policy grants", PATIENCE, || {
        let serving = region.origins("serving");
        (serving.len() > 2).then_some(serving)
    });
    assert_eq!(serving.len(), 3, "two over the one that the load needs, and not the four that were asked for");
    let journal = region.journal();
    let mut decisions = journal.iter().map(|record| &record["decision"]);
    let record = decisions.find(|decision| decision["hinted"]["want"] == 4).expect("the decision is journaled");
    let asked = &record["hinted"]["asked"][0];
    assert_eq!((&asked["plugin"], &asked["edge"], &asked["kind"]), (&"hinter".into(), &"e1".into(), &"prewarm".into()));
    assert!(asked["ttl_seconds"].as_f64().is_some_and(|ttl| ttl <= 600.0), "no longer than the longest: {asked}");
    let clamped = &record["hinted"]["clamped"];
    assert_eq!((&clamped["before"], &clamped["after"]), (&4.into(), &3.into()));
    assert_eq!(record["winner"], "hint");
    assert_eq!(region.status(), Some(200));
    assert_eq!(say(&region, "prewarm 0 1").0, 202, "it is taken back");
    wait_until("the pool to shrink again", PATIENCE, || (region.origins("serving").len() == 1).then_some(()));
}
