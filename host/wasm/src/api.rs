//! The hostcalls: one list of every import of module `env`, and a file for each noun.
//!
//! A hostcall answers a status. `proxy_` imports only ever answer proxy-wasm's codes (an SDK
//! knows no others), `forebay_` imports all of ours. The text of a refusal, which has no place
//! on the wire, goes to the plugin's log.

pub mod body;
pub mod callout;
pub mod dict;
pub mod event;
pub mod exchange;
pub mod grpc;
pub mod headers;
mod kv;
pub mod limit;
pub mod limits;
pub mod log;
pub mod meta;
pub mod metric;
pub mod origin;
pub mod packed;
pub mod property;
mod protobuf;
pub mod queue;
pub mod scale;
pub mod secret;
pub mod time;
pub mod trace;
mod zlib;

use abi::{LogLevel, Refusal, Status};
use wasmtime::{Caller, FuncType, Linker};

use crate::memory::{Outcome, Stop};
use crate::state::State;

/// The guest that calls.
pub type Guest<'a> = Caller<'a, State>;

/// Registers functions that answer a status, under their names.
macro_rules! define {
    ($linker:expr; $($name:literal = $function:path, $($arg:ident: $type:ty),*;)*) => {
        $($linker.func_wrap("env", $name, |mut guest: Guest<'_>, $($arg: $type),*| -> wasmtime::Result<i32> {
            let outcome = $function(&mut guest, $($arg),*);
            status(&guest, $name, outcome)
        })?;)*
    };
}

pub fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    define! { linker;
        "proxy_log" = log::log, level: u32, at: u32, len: u32;
        "proxy_get_log_level" = log::level, out: u32;
        "proxy_get_status" = callout::status, code_out: u32, at_out: u32, len_out: u32;
        "proxy_get_property" = property::get, at: u32, len: u32, at_out: u32, len_out: u32;
        "proxy_set_property" = property::set, at: u32, len: u32, value: u32, value_len: u32;
        "proxy_continue_request" = exchange::continue_request,;
        "proxy_continue_response" = exchange::continue_response,;
        "proxy_continue_stream" = exchange::continue_stream, stream: u32;
        "proxy_close_stream" = exchange::close_stream, stream: u32;
        "proxy_clear_route_cache" = exchange::clear_route_cache,;
        "proxy_send_local_response" = exchange::respond, code: u32, detail: u32, detail_len: u32, body: u32,
            body_len: u32, headers: u32, headers_len: u32, grpc: i32;
        "proxy_set_effective_context" = exchange::set_effective_context, context: u32;
        "proxy_done" = exchange::done,;
        "proxy_get_header_map_value" = headers::get, map: u32, at: u32, len: u32, at_out: u32, len_out: u32;
        "proxy_add_header_map_value" = headers::add, map: u32, at: u32, len: u32, value: u32, value_len: u32;
        "proxy_replace_header_map_value" = headers::replace, map: u32, at: u32, len: u32, value: u32, value_len: u32;
        "proxy_remove_header_map_value" = headers::remove, map: u32, at: u32, len: u32;
        "proxy_get_header_map_pairs" = headers::pairs, map: u32, at_out: u32, len_out: u32;
        "proxy_set_header_map_pairs" = headers::set_pairs, map: u32, at: u32, len: u32;
        "proxy_get_header_map_size" = headers::size, map: u32, out: u32;
        "proxy_get_buffer_bytes" = body::get, buffer: u32, start: u32, length: u32, at_out: u32, len_out: u32;
        "proxy_get_buffer_status" = body::status, buffer: u32, len_out: u32, flags_out: u32;
        "proxy_set_buffer_bytes" = body::set, buffer: u32, start: u32, length: u32, at: u32, len: u32;
        "proxy_get_configuration" = body::configuration, at_out: u32, len_out: u32;
        "proxy_http_call" = callout::http_call, target: u32, target_len: u32, headers: u32, headers_len: u32,
            body: u32, body_len: u32, trailers: u32, trailers_len: u32, timeout: u32, token_out: u32;
        "proxy_get_shared_data" = dict::get, at: u32, len: u32, at_out: u32, len_out: u32, cas_out: u32;
        "proxy_set_shared_data" = dict::set, at: u32, len: u32, value: u32, value_len: u32, cas: u32;
        "proxy_define_metric" = metric::define, kind: u32, at: u32, len: u32, out: u32;
        "proxy_increment_metric" = metric::increment, metric: u32, by: i64;
        "proxy_record_metric" = metric::record, metric: u32, value: u64;
        "proxy_get_metric" = metric::get, metric: u32, out: u32;
        "proxy_get_current_time_nanoseconds" = time::now, out: u32;
        "proxy_set_tick_period_milliseconds" = time::set_tick, period: u32;
        "proxy_call_foreign_function" = meta::call, name: u32, name_len: u32, at: u32, len: u32, at_out: u32,
            len_out: u32;
        "forebay_abi_version" = meta::version, out: u32;
        "forebay_abi_has" = meta::has, at: u32, len: u32, out: u32;
        "forebay_time_sleep" = time::sleep, nanos: u64, token_out: u32;
        "proxy_register_shared_queue" = queue::register, at: u32, len: u32, out: u32;
        "proxy_resolve_shared_queue" = queue::resolve, vm: u32, vm_len: u32, at: u32, len: u32, out: u32;
        "proxy_enqueue_shared_queue" = queue::enqueue, queue: u32, at: u32, len: u32;
        "proxy_dequeue_shared_queue" = queue::dequeue, queue: u32, at_out: u32, len_out: u32;
        "proxy_grpc_call" = grpc::call, target: u32, target_len: u32, service: u32, service_len: u32, method: u32,
            method_len: u32, metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout: u32,
            token_out: u32;
        "proxy_grpc_stream" = grpc::stream, target: u32, target_len: u32, service: u32, service_len: u32,
            method: u32, method_len: u32, metadata: u32, metadata_len: u32, token_out: u32;
        "proxy_grpc_send" = grpc::send, token: u32, message: u32, message_len: u32, end: u32;
        "proxy_grpc_cancel" = grpc::cancel, token: u32;
        "proxy_grpc_close" = grpc::close, token: u32;
    }
    packed::define(linker)?;
    // Emscripten's: a module without threads compares its only one, and a memory that has
    // grown is looked at afresh in every call anyway.
    linker.func_wrap("env", "pthread_equal", |a: u32, b: u32| -> u32 { u32::from(a == b) })?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_memory: u32| {})?;
    Ok(())
}

/// The 0.1.0 specification says of three functions that they return nothing, its SDKs import
/// them with a status. Who wants the first form gets it; false if `name` is none of them.
pub fn define_without_result(linker: &mut Linker<State>, from: &str, name: &str, wanted: &FuncType) -> bool {
    let function: fn(&mut Guest<'_>) -> Outcome = match name {
        "proxy_continue_request" => exchange::continue_request,
        "proxy_continue_response" => exchange::continue_response,
        "proxy_clear_route_cache" => exchange::clear_route_cache,
        _ => return false,
    };
    if from != "env" || wanted.params().len() != 0 || wanted.results().len() != 0 {
        return false;
    }
    let name_for_log = name.to_owned();
    linker.allow_shadowing(true);
    let defined = linker.func_wrap(from, name, move |mut guest: Guest<'_>| -> wasmtime::Result<()> {
        let outcome = function(&mut guest);
        status(&guest, &name_for_log, outcome).map(|_| ())
    });
    defined.is_ok()
}

const FOREIGN: &str = "proxy_call_foreign_function";

/// What goes back to the guest. A trap of the guest itself (while it allocated) goes on up.
#[inline]
fn status(guest: &Guest<'_>, name: &str, outcome: Outcome) -> wasmtime::Result<i32> {
    match outcome {
        Ok(()) => {
            // A guest that fails says so in its log first, and a foreign call has its own word.
            if guest.data().denied.get() && !matches!(name, "proxy_log" | "forebay_log" | FOREIGN) {
                guest.data().denied.set(false);
            }
            Ok(Status::Ok as i32)
        }
        Err(Stop::Refused(refusal)) => {
            guest.data().denied.set(refusal.status == Status::CapabilityDenied);
            Ok(refused(guest, name, &refusal))
        }
        Err(Stop::Trap(error)) => Err(error),
    }
}

#[cold]
fn refused(guest: &Guest<'_>, name: &str, refusal: &Refusal) -> i32 {
    // These three are answers: a plugin that looks whether something is there did nothing wrong.
    if !matches!(refusal.status, Status::NotFound | Status::Empty | Status::CasMismatch) {
        guest.data().host().log(LogLevel::Warn, &format!("{name}: {refusal}"));
    }
    if name.starts_with("forebay_") { refusal.status as i32 } else { refusal.status.proxy_wasm() }
}
