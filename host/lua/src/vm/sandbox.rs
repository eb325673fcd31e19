//! What a script finds: the libraries that stay, the functions that are replaced, and `forebay`.
//!
//! LuaJIT's own libraries are opened, the prelude (`prelude/*.lua`) keeps what it needs of them
//! as upvalues, builds the script's globals from a list of what is allowed, and empties the real
//! `_G`. What is not on the list is unreachable: nothing refers to it any more.

use std::hash::BuildHasher;

use mlua_sys as ffi;

use super::Vm;
use crate::api;
use crate::state::{Function, GLOBALS, State};

/// A whole cycle after 20 % of growth, and quick: LuaJIT has no emergency collection, and the
/// default pause gives false out-of-memory faults at half of the limit.
const GC_PAUSE: i32 = 120;
const GC_STEPMUL: i32 = 400;

/// Compiled code is mapped outside of the VM's allocator: this bounds it (KiB).
const BOUND_MACHINE_CODE: &str = r#"jit.opt.start("maxmcode=1024", "sizemcode=64")"#;

const LIBRARIES: [(Function, &std::ffi::CStr); 7] = [
    (ffi::luaopen_base, c""),
    (ffi::luaopen_table, c"table"),
    (ffi::luaopen_string, c"string"),
    (ffi::luaopen_math, c"math"),
    (ffi::luaopen_bit, c"bit"),
    (ffi::luaopen_os, c"os"),
    (ffi::luaopen_jit, c"jit"),
];

const PRELUDE: &[(&str, &str)] = &[
    ("=[forebay library]", include_str!("../prelude/library.lua")),
    ("=[forebay secret]", include_str!("../prelude/secret.lua")),
    ("=[forebay lists]", include_str!("../prelude/lists.lua")),
    ("=[forebay api]", include_str!("../prelude/api.lua")),
    ("=[forebay trace]", include_str!("../prelude/trace.lua")),
    ("=[forebay kit]", include_str!("../prelude/kit.lua")),
    ("=[forebay state]", include_str!("../prelude/state.lua")),
    ("=[forebay callout]", include_str!("../prelude/callout.lua")),
    ("=[forebay event]", include_str!("../prelude/event.lua")),
    ("=[forebay kv]", include_str!("../prelude/kv.lua")),
    ("=[forebay globals]", include_str!("../prelude/globals.lua")),
];

/// Fills a new state. An error is ours, not the plugin's.
pub fn furnish(vm: &Vm) -> Result<(), String> {
    let state = vm.main();
    for (open, name) in LIBRARIES {
        if !state.open_library(open, name) {
            return Err(format!("library {}: {}", name.to_string_lossy(), failure(state)));
        }
    }
    state.tune_collector(GC_PAUSE, GC_STEPMUL);
    run(state, "=[jit]", BOUND_MACHINE_CODE, 0)?;
    // LuaJIT begins with the same numbers in every VM: two workers would make the same "random" ids.
    let seed = std::hash::RandomState::new().hash_one(std::ptr::from_ref(vm)) >> 12;
    run(state, "=[seed]", &format!("math.randomseed({seed})"), 0)?;
    // One table goes through all parts of the prelude: first it holds the C functions, then
    // also what earlier parts made for later ones.
    state.new_table(0, 64);
    api::register(state);
    if vm.source.is_trusted() {
        open_ffi(state)?;
    }
    for (name, text) in PRELUDE {
        state.push_copy(-1);
        run(state, name, text, 1)?;
    }
    state.raw_field(-1, "seal");
    vm.seal.set(state.keep());
    state.raw_field(-1, "named");
    vm.globals.set(state.keep());
    // The last part left the script's globals there.
    state.raw_field(-1, "globals");
    state.replace(GLOBALS);
    state.set_top(0);
    Ok(())
}

/// Puts the FFI library into the table on top. A build without it has no trusted plugins.
fn open_ffi(state: State) -> Result<(), String> {
    state.push_function(ffi::luaopen_ffi);
    if !state.call_protected(0, 1) {
        return Err(format!("library ffi: {}", failure(state)));
    }
    state.raw_set_field(-2, "ffi");
    Ok(())
}

/// Runs `text` with `arguments` values from the top.
fn run(state: State, name: &str, text: &str, arguments: i32) -> Result<(), String> {
    let name = std::ffi::CString::new(name).expect("a name of ours has no NUL");
    let compiled = state.compile(text.as_bytes(), &name);
    if compiled {
        state.insert(-1 - arguments);
    }
    if !compiled || !state.call_protected(arguments, 0) {
        return Err(failure(state));
    }
    Ok(())
}

fn failure(state: State) -> String {
    String::from_utf8_lossy(state.bytes(-1).unwrap_or(b"an error without text")).into_owned()
}

#[cfg(test)]
mod machine_code;
#[cfg(test)]
mod reach;
