//! Which host this is, and which hostcalls it has.

use proxy_wasm::hostcalls::call_foreign_function;

/// The version of Forebay's hostcalls; `None` on another host.
pub fn version() -> Option<u32> {
    let answer = call_foreign_function("forebay_abi_version", None).ok()??;
    Some(u32::from_le_bytes(answer.try_into().ok()?))
}

/// Whether the host has a hostcall, by its name in Lua (`http.call`) or in Wasm
/// (`proxy_http_call`); false on another host.
pub fn has(hostcall: &str) -> bool {
    matches!(call_foreign_function("forebay_abi_has", Some(hostcall.as_bytes())), Ok(Some(answer)) if answer == [1])
}
