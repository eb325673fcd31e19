//! Properties, in proxy-wasm's encodings.

use abi::{Status, Value};

use super::Guest;
use crate::memory::{self, Outcome, Pairs, refuse};

/// Bytes of a path: one of nothing but separators would become a list of many times its size.
const MAX_PATH: u32 = 4 << 10;

/// Parts between NULs. SDKs for C++ also put one at the end.
fn path(data: &[u8], at: u32, len: u32) -> Outcome<Vec<&str>> {
    if len > MAX_PATH {
        return refuse(Status::BadArgument, format!("a path of {len} bytes, it may have {MAX_PATH}"));
    }
    let path = memory::text(data, at, len)?;
    Ok(path.strip_suffix('\0').unwrap_or(path).split('\0').collect())
}

/// Integers and times are 8 bytes, little-endian; a boolean is 1 byte; a map is pairs.
fn encode(value: Value) -> Vec<u8> {
    match value {
        Value::Nil => Vec::new(),
        Value::Bytes(bytes) => bytes,
        Value::Int(int) => int.to_le_bytes().to_vec(),
        Value::Nanos(nanos) => nanos.to_le_bytes().to_vec(),
        Value::Bool(yes) => vec![yes.into()],
        Value::Map(map) => {
            let mut pairs = Pairs::default();
            for (name, value) in &map {
                pairs.push(name, value);
            }
            pairs.encode()
        }
        // No property is one: proxy-wasm has no encoding for it.
        Value::List(items) => items.into_iter().flat_map(encode).collect(),
    }
}

pub fn get(guest: &mut Guest<'_>, at: u32, len: u32, at_out: u32, len_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let path = path(data, at, len)?;
    let host = state.host();
    let value = match path[..] {
        // Asked for before anything else by the SDKs for C++ and AssemblyScript, which choose
        // their context by it and stop at a refusal. Envoy's default is empty too.
        ["plugin_root_id"] => Vec::new(),
        ["plugin_name" | "plugin_vm_id"] => host.settings().plugin.as_bytes().to_vec(),
        _ => encode(host.property(&path)?),
    };
    memory::give(guest, &value, at_out, len_out)
}

pub fn set(guest: &mut Guest<'_>, at: u32, len: u32, value: u32, value_len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let path = path(data, at, len)?;
    if path == [""] {
        return refuse(Status::BadArgument, "an empty path");
    }
    Ok(state.host().set_property(&path, memory::value(data, value, value_len)?)?)
}
