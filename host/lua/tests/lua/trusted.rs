//! Trusted plugins: FFI and modules on a path, under the limits of any other. The default build has
//! none of it and says so.

use crate::fake::Folder;

#[cfg(not(feature = "ffi"))]
#[test]
fn a_default_build_refuses_a_trusted_plugin_and_says_how_to_get_one() {
    let folder = Folder::new().with("main.lua", "return {}");
    let error =
        forebay_lua::load_within(&folder.path("main.lua"), Some(&[]), &abi::Limits::default()).map(drop).unwrap_err();
    let wanted =
        "trusted: true needs a build with FFI, which this is not; build one with: cargo build --release --features ffi";
    assert_eq!(error.message, wanted);
    assert_eq!(forebay_lua::load(&folder.path("main.lua")).map(drop).map_err(|e| e.message), Ok(()));
}

#[cfg(not(feature = "ffi"))]
#[test]
fn nothing_of_ffi_is_in_a_default_build() {
    let lines =
        crate::fake::eval("log(tostring(pcall(require, 'ffi'))) log(tostring(select(2, pcall(require, 'ffi'))))");
    assert_eq!(lines[0], "false");
    assert!(lines[1].contains("no module 'ffi'"), "{lines:?}");
}

#[cfg(feature = "ffi")]
mod with_ffi {
    use std::path::PathBuf;
    use std::rc::Rc;

    use abi::{Action, Capabilities, ContextId, Event, Fault, Limits, Verdict};

    use super::*;
    use crate::fake::{Fake, on_worker};

    /// Runs the plugin's request callback: what it logged, or its fault.
    fn run(folder: &Folder, path: &[PathBuf], limits: Limits) -> Result<Vec<String>, Fault> {
        let plugin = forebay_lua::load_within(&folder.path("main.lua"), Some(path), &Limits::default())
            .unwrap_or_else(|e| panic!("{e}"));
        on_worker(move || {
            let host = Rc::new(Fake::with(limits, Capabilities::default(), ""));
            let mut instance = plugin.instantiate(host.clone())?;
            instance.open(ContextId(2), host.clone())?;
            host.phase.set(abi::Phase::Request);
            let action = instance.call(ContextId(2), Event::RequestHeaders { end_of_stream: true })?;
            assert_eq!(action, Action::Continue);
            Ok(host.texts())
        })
    }

    #[test]
    fn a_trusted_plugin_calls_c() {
        let folder = Folder::new().with(
            "main.lua",
            "local ffi = require 'ffi' ffi.cdef 'int abs(int);'
            return { on_request_headers = function()
                local point = ffi.new('struct { int x, y; }', 3, 4)
                forebay.log.info(ffi.C.abs(-7) .. ' ' .. point.x + point.y)
            end }",
        );
        assert_eq!(run(&folder, &[], Limits::default()).unwrap(), ["7 7"]);
    }

    #[test]
    fn modules_are_found_on_the_path_in_its_order_and_beside_the_plugin_first() {
        let first = Folder::new().with("resty/one.lua", "return 'first'").with("beside.lua", "return 'path'");
        let second = Folder::new().with("resty/one.lua", "return 'second'").with("resty/two/init.lua", "return 'two'");
        let folder = Folder::new().with("beside.lua", "return 'beside'").with(
            "main.lua",
            "local told = {}
            for _, name in ipairs { 'resty.one', 'resty.two', 'beside' } do told[#told + 1] = require(name) end
            local _, why = pcall(require, 'resty/one')
            local _, up = pcall(require, '..resty.one')
            return { on_request_headers = function() for _, t in ipairs(told) do forebay.log.info(t) end
                forebay.log.info(tostring(why)) forebay.log.info(tostring(up)) end }",
        );
        let lines = run(&folder, &[first.path(""), second.path("")], Limits::default()).unwrap();
        assert_eq!(lines[..3], ["first", "two", "beside"]);
        assert!(
            lines[3].contains("no module 'resty/one'") && lines[4].contains("no module '..resty.one'"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_trusted_plugin_keeps_to_its_limits() {
        let endless = Folder::new().with(
            "main.lua",
            "local ffi = require 'ffi' local a = ffi.new('int[16]')
            return { on_request_headers = function() while true do pcall(function() for i = 0, 15 do a[i] = i end end) end end }",
        );
        assert_eq!(run(&endless, &[], Limits::default()).unwrap_err().verdict, Verdict::Cpu);
        let greedy = Folder::new().with(
            "main.lua",
            "local ffi = require 'ffi'
            return { on_request_headers = function() local t = {} while true do t[#t + 1] = ffi.new('char[65536]') end end }",
        );
        let limits = Limits { cpu: std::time::Duration::from_secs(5), ..Limits::default() };
        assert_eq!(run(&greedy, &[], limits).unwrap_err().verdict, Verdict::Memory);
    }

    #[test]
    fn a_plugin_that_is_not_trusted_has_nothing_of_it_in_this_build_either() {
        let lines = crate::fake::eval("log(tostring(pcall(require, 'ffi')))");
        assert_eq!(lines, ["false"]);
    }
}
