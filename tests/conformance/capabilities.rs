//! What was not granted is refused: by the same rule for each row of the table, in both engines.

use abi::capability::Plain;
use abi::hostcall::{Need, Phase, TABLE};
use harness::Origin;

use crate::pair::{Engine, on_both_engines, setup};
use crate::phases::{got, probe};

on_both_engines! {
    fn a_plugin_that_may_only_read_headers_can_do_nothing_else(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("side"));
        let mut plugin = probe("request");
        plugin.keys = "    capabilities: [http.read]\n    limits: {log_lines: 10000, cpu: 1s}\n".to_owned();
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200, "refusals end no exchange");
        let mut wrong = Vec::new();
        for row in TABLE.iter().filter(|row| row.phases.contains(Phase::Request)) {
            // They end the callback; and of several callouts each is refused by itself (see `callout`).
            if matches!(row.lua, "respond" | "close" | "continue" | "http.call_all") {
                continue;
            }
            let got = got(&edge, "request", row.lua);
            let denied = match row.need {
                Need::Nothing | Need::Plain(Plain::HttpRead) => false,
                // One import with ctx.get, which needs nothing.
                Need::Plain(Plain::PropertyRead) if engine == Engine::Wasm => continue,
                Need::Plain(_) | Need::Named(_) => true,
            };
            let seen = match engine {
                Engine::Lua => got.code == "CAPABILITY_DENIED",
                _ if row.wasm.starts_with("forebay_") => got.code == "100",
                _ if denied => got.code == "2",
                _ => edge.process.log_has(&format!("{}: capability", row.lua)),
            };
            if seen != denied {
                wrong.push(format!("{}: denied must be {denied}: {} {}", row.lua, got.code, got.message));
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        assert!(shop.last().headers.get("x-probe").is_none(), "nothing was written");
        assert_eq!(side.requests(), 0);
    }
}
