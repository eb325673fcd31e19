//! The imports that no row of the table of hostcalls has, for the probe: each with arguments that are
//! answered in the same way wherever it is allowed (see `tests/conformance/contexts.rs`).

use std::ptr::null_mut;

use crate::imports::{proxy_define_metric, proxy_get_header_map_pairs};
use crate::packed::{Import, Pack};

macro_rules! imports {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        #[link(wasm_import_module = "env")]
        extern "C" {
            $(fn $name($($argument: $type),*) -> i32;)*
        }

        /// Their names.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

type Out = *mut *mut u8;

imports! {
    proxy_get_log_level(level: *mut u32);
    proxy_get_status(code: *mut u32, at: Out, size: *mut usize);
    proxy_get_configuration(at: Out, size: *mut usize);
    proxy_continue_request();
    proxy_continue_response();
    proxy_clear_route_cache();
    proxy_set_effective_context(context: u32);
    proxy_done();
    proxy_get_header_map_size(map: u32, size: *mut usize);
    proxy_set_header_map_pairs(map: u32, at: *const u8, size: usize);
    proxy_get_buffer_status(buffer: u32, size: *mut usize, flags: *mut u32);
    proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, size: usize, cas: u32);
    proxy_get_shared_data(key: *const u8, key_size: usize, at: Out, size: *mut usize, cas: *mut u32);
    proxy_increment_metric(metric: u32, by: i64);
    proxy_record_metric(metric: u32, value: u64);
    proxy_get_metric(metric: u32, value: *mut u64);
    proxy_call_foreign_function(name: *const u8, name_size: usize, at: *const u8, size: usize, out: Out, size_out: *mut usize);
    proxy_register_shared_queue(name: *const u8, size: usize, queue: *mut u32);
    proxy_resolve_shared_queue(vm: *const u8, vm_size: usize, name: *const u8, size: usize, queue: *mut u32);
    proxy_enqueue_shared_queue(queue: u32, at: *const u8, size: usize);
    proxy_dequeue_shared_queue(queue: u32, at: Out, size: *mut usize);
    forebay_trace_set(at: *const u8, size: usize, out: Out, size_out: *mut usize);
    forebay_trace_finish(at: *const u8, size: usize, out: Out, size_out: *mut usize);
    forebay_log(at: *const u8, size: usize, out: Out, size_out: *mut usize);
    forebay_metric_define(at: *const u8, size: usize, out: Out, size_out: *mut usize);
    proxy_grpc_stream(target: *const u8, target_size: usize, service: *const u8, service_size: usize, method: *const u8, method_size: usize, metadata: *const u8, metadata_size: usize, token: *mut u32);
    proxy_grpc_send(token: u32, at: *const u8, size: usize, end: u32);
    proxy_grpc_cancel(token: u32);
    proxy_grpc_close(token: u32);
    pthread_equal(a: u32, b: u32);
}

#[link(wasm_import_module = "env")]
extern "C" {
    fn emscripten_notify_memory_growth(memory: u32);
}

/// The code that an import answers.
pub fn call(name: &str) -> i32 {
    let (mut at, mut size, mut number, mut more, mut long) = (null_mut(), 0, 0, 0, 0);
    let (key, none) = ("beside", [0u8; 4]);
    // SAFETY: every pointer is to memory of ours that outlives the call. What the host allocates for an
    // answer is not freed: the probe runs a handful of times.
    unsafe {
        let mut metric = || {
            let name = "probe_level";
            proxy_define_metric(1, name.as_ptr(), name.len(), &mut number);
            number
        };
        match name {
            "proxy_get_log_level" => proxy_get_log_level(&mut more),
            "proxy_get_status" => proxy_get_status(&mut more, &mut at, &mut size),
            "proxy_get_configuration" => proxy_get_configuration(&mut at, &mut size),
            "proxy_continue_request" => proxy_continue_request(),
            "proxy_continue_response" => proxy_continue_response(),
            "proxy_clear_route_cache" => proxy_clear_route_cache(),
            // No such context: an own one would be this one, and another's changes what is asked next.
            "proxy_set_effective_context" => proxy_set_effective_context(u32::MAX),
            "proxy_done" => proxy_done(),
            "proxy_get_header_map_size" => proxy_get_header_map_size(0, &mut size),
            // What there is already.
            "proxy_set_header_map_pairs" => {
                proxy_get_header_map_pairs(0, &mut at, &mut size);
                let at = if at.is_null() { none.as_ptr() } else { at.cast_const() };
                proxy_set_header_map_pairs(0, at, size)
            }
            "proxy_get_buffer_status" => proxy_get_buffer_status(0, &mut size, &mut more),
            "proxy_set_shared_data" => proxy_set_shared_data(key.as_ptr(), key.len(), none.as_ptr(), none.len(), 0),
            "proxy_get_shared_data" => proxy_get_shared_data(key.as_ptr(), key.len(), &mut at, &mut size, &mut more),
            "proxy_increment_metric" => proxy_increment_metric(metric(), 1),
            "proxy_record_metric" => proxy_record_metric(metric(), 1),
            "proxy_get_metric" => proxy_get_metric(metric(), &mut long),
            "proxy_call_foreign_function" => {
                let name = "forebay_abi_version";
                proxy_call_foreign_function(name.as_ptr(), name.len(), none.as_ptr(), 0, &mut at, &mut size)
            }
            "proxy_register_shared_queue" => proxy_register_shared_queue(key.as_ptr(), key.len(), &mut more),
            "proxy_resolve_shared_queue" | "proxy_enqueue_shared_queue" | "proxy_dequeue_shared_queue" => {
                let name_of_queue = "probes";
                let (queue_at, len) = (name_of_queue.as_ptr(), name_of_queue.len());
                let resolved = proxy_resolve_shared_queue(none.as_ptr(), 0, queue_at, len, &mut more);
                match name {
                    "proxy_resolve_shared_queue" => resolved,
                    "proxy_enqueue_shared_queue" => proxy_enqueue_shared_queue(more, none.as_ptr(), none.len()),
                    // There is one: dequeuing takes what enqueuing left.
                    _ => {
                        proxy_enqueue_shared_queue(more, none.as_ptr(), none.len());
                        proxy_dequeue_shared_queue(more, &mut at, &mut size)
                    }
                }
            }
            // Of a span that nobody began.
            "forebay_trace_set" => {
                Pack::default().u32(99).text("key").u8(3).u8(1).ask(forebay_trace_set as Import).0
            }
            "forebay_trace_finish" => Pack::default().u32(99).ask(forebay_trace_finish as Import).0,
            "forebay_log" => Pack::default().u32(2).text("beside").u32(0).ask(forebay_log as Import).0,
            "forebay_metric_define" => {
                Pack::default().u32(0).text("beside_total").u32(0).ask(forebay_metric_define as Import).0
            }
            // What is done with a stream is asked of one that has just begun, if it may.
            "proxy_grpc_stream" | "proxy_grpc_send" | "proxy_grpc_cancel" | "proxy_grpc_close" => {
                let texts = ["side", "test.Echo", "Chat"].map(|text| (text.as_ptr(), text.len()));
                let [target, service, method] = texts;
                let begun = proxy_grpc_stream(
                    target.0, target.1, service.0, service.1, method.0, method.1, none.as_ptr(), none.len(), &mut more,
                );
                let code = match name {
                    "proxy_grpc_stream" => begun,
                    "proxy_grpc_send" => proxy_grpc_send(more, none.as_ptr(), none.len(), 0),
                    "proxy_grpc_close" => proxy_grpc_close(more),
                    _ => return proxy_grpc_cancel(more),
                };
                proxy_grpc_cancel(more);
                code
            }
            "pthread_equal" => pthread_equal(1, 1),
            _ => -1,
        }
    }
}

/// It answers nothing; that it can be called is all.
pub fn notify() {
    // SAFETY: a number goes to the host, which does nothing.
    unsafe { emscripten_notify_memory_growth(0) }
}
