//! Token buckets, the same for all workers, and reservations that are settled once.

use harness::{Edge, Origin, PATIENCE, wait_until};

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

const TAKE: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local key = forebay.request.headers.get("x-key")
  local taken = forebay.limit.take("logins", key)
  local said = tostring(taken.allowed) .. " " .. taken.remaining .. " " .. tostring(taken.retry_after > 0)
  forebay.request.headers.set("x-said", said)
end
return plugin
"#;

const LEASE: &str = r#"
local plugin = {}
local function settle(how)
  local lease, why = forebay.tokens.reserve("spend", 40, "k")
  if not lease then return why.code end
  local ok
  if how == "less" then ok = lease:commit(10)
  elseif how == "more" then ok = lease:commit(50)
  elseif how == "release" then ok = lease:release()
  else return "open" end
  local again, refused = lease:commit(1)
  return tostring(ok) .. " " .. (again and "true" or refused.code == "NOT_FOUND" and "nil" or refused.code)
end
function plugin.on_request_headers()
  local said = settle(forebay.request.headers.get("x-how"))
  forebay.request.headers.set("x-said", said .. " " .. forebay.limit.take("spend", "k", 0).remaining)
end
return plugin
"#;

fn start(engine: Engine, plugin: Plugin, origin: &Origin) -> Edge {
    let plugin = plugin.keys("    capabilities: [\"limit:logins\", \"limit:spend\"]");
    setup(&[(engine, plugin)], origin.address, None).workers(2).start()
}

/// What the plugin said about one request, on a connection of its own: either worker may take it.
#[track_caller]
fn said(edge: &Edge, origin: &Origin, name: &str, value: &str) -> String {
    let mut client = edge.connect();
    client.request("GET", "/a", &[(name, value)], b"");
    assert_eq!(client.response().status, 200);
    origin.last().headers.get("x-said").expect("the plugin says what it got").to_owned()
}

on_both_engines! {
    fn both_workers_take_from_one_bucket_and_each_key_has_its_own(engine) {
        let origin = Origin::saying("ok");
        let edge = start(engine, plugin("limit_take", TAKE), &origin);
        let all: Vec<_> = (0..5).map(|_| said(&edge, &origin, "x-key", "ann")).collect();
        assert_eq!(all, ["true 2 false", "true 1 false", "true 0 false", "false 0 true", "false 0 true"]);
        assert_eq!(said(&edge, &origin, "x-key", "bob"), "true 2 false");
        let metrics = edge.metrics();
        assert_eq!(metrics.sum("forebay_limit_tokens_total", &["bucket=\"logins\""]), 4.0);
        assert_eq!(metrics.sum("forebay_limit_denied_total", &["bucket=\"logins\""]), 2.0);
        assert_eq!(metrics.sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_lease_is_settled_once_and_an_open_one_stays_taken(engine) {
        let origin = Origin::saying("ok");
        let edge = start(engine, plugin("limit_lease", LEASE), &origin);
        for (how, wanted) in [
            ("less", "true nil 90"),
            ("more", "true nil 40"),
            ("release", "true nil 40"),
            ("open", "open 0"),
            ("open", "LIMIT_EXCEEDED 0"),
        ] {
            // `nil` is how both plugins write that the lease has ended.
            let got = said(&edge, &origin, "x-how", how).replace("NOT_FOUND", "nil");
            assert_eq!(got, wanted, "{how}");
        }
        let ended = |end: &str| {
            let end = format!("end=\"{end}\"");
            edge.metrics().sum("forebay_limit_leases_total", &["bucket=\"spend\"", &end])
        };
        wait_until("the end of the exchange", PATIENCE, || (ended("left") == 1.0).then_some(()));
        assert_eq!((ended("committed"), ended("released")), (2.0, 1.0));
    }
}
