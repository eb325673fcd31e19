//! Imports as they are on the wire. The SDK panics on a code that it does not expect, and knows
//! none of Forebay's own.

#[link(wasm_import_module = "env")]
extern "C" {
    pub fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    pub fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, size: *mut usize) -> i32;
    pub fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
    ) -> i32;
    pub fn proxy_add_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, size: usize) -> i32;
    pub fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> i32;
    pub fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, value: *mut *mut u8, size: *mut usize) -> i32;
    pub fn proxy_set_buffer_bytes(buffer: u32, start: usize, max: usize, value: *const u8, size: usize) -> i32;
    pub fn proxy_send_local_response(
        status: u32,
        detail: *const u8,
        detail_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc: i32,
    ) -> i32;
    pub fn proxy_close_stream(stream: u32) -> i32;
    pub fn proxy_continue_stream(stream: u32) -> i32;
    pub fn proxy_get_property(path: *const u8, path_size: usize, value: *mut *mut u8, size: *mut usize) -> i32;
    pub fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> i32;
    pub fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> i32;
    pub fn proxy_log(level: u32, message: *const u8, size: usize) -> i32;
    pub fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    pub fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
}

/// Pairs as proxy-wasm writes them: a count, the sizes, the texts with a zero byte after each.
pub fn pairs(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((list.len() as u32).to_le_bytes());
    for (name, value) in list {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in list {
        for text in [name, value] {
            out.extend(text.as_bytes());
            out.push(0);
        }
    }
    out
}

#[link(wasm_import_module = "env")]
extern "C" {
    pub fn forebay_abi_version(version: *mut u32) -> i32;
    pub fn forebay_abi_has(name: *const u8, size: usize, has: *mut u32) -> i32;
    pub fn forebay_time_sleep(nanos: u64, token: *mut u32) -> i32;
    pub fn forebay_limits_remaining(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_trace_span(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_log(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_metric_define(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_secret_hmac(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_secret_mark(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_response_set_event(at: *const u8, len: usize, at_out: *mut *mut u8, len_out: *mut usize) -> i32;
    pub fn forebay_http_call_all(at: *const u8, size: usize, out: *mut *mut u8, size_out: *mut usize) -> i32;
}

pub fn abi_version() -> String {
    let mut version = 0;
    // SAFETY: the host writes one number to an address of ours.
    match unsafe { forebay_abi_version(&mut version) } {
        0 => version.to_string(),
        code => format!("refused {code}"),
    }
}

pub fn abi_has(name: &str) -> bool {
    let mut has = 0;
    // SAFETY: the host reads a text of ours and writes one number to an address of ours.
    unsafe { forebay_abi_has(name.as_ptr(), name.len(), &mut has) == 0 && has != 0 }
}

/// A call of Forebay's own, packed.
pub type Packed = unsafe extern "C" fn(*const u8, usize, *mut *mut u8, *mut usize) -> i32;

#[link(wasm_import_module = "env")]
extern "C" {
    pub fn forebay_origin_set_pool(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_origin_set_host(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_origin_exclude(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_origin_get(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_scale_view(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_scale_propose(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_scale_hint(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    pub fn forebay_origin_stats(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
}

/// The code, and the results.
pub fn packed(call: Packed, arguments: &[u8]) -> (i32, Vec<u8>) {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the host reads bytes of ours and writes the address and length of a block that our
    // allocator made.
    unsafe {
        let code = call(arguments.as_ptr(), arguments.len(), &mut data, &mut size);
        let results = if code == 0 && !data.is_null() { Vec::from_raw_parts(data, size, size) } else { Vec::new() };
        (code, results)
    }
}

/// A text as an argument: its length, then its bytes.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// Reads results; what ends too early is zeros.
pub struct Unpacked<'a>(pub &'a [u8]);

impl Unpacked<'_> {
    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut number = [0; N];
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        number[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        number
    }

    pub fn u8(&mut self) -> u8 {
        self.number::<1>()[0]
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    pub fn f64(&mut self) -> f64 {
        f64::from_le_bytes(self.number())
    }

    pub fn text(&mut self) -> String {
        let len = (self.u32() as usize).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
