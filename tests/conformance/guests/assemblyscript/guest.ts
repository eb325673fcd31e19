// The conformance cases that need nothing but proxy-wasm, in AssemblyScript without an SDK: the
// imports are declared by hand. Each case does what the plugin of the same name does in `guest/`
// (Rust) and in the Lua of the tests. This file's first lines run in the module's start function,
// so the host is called before the module is even there.

// @ts-nocheck: `asc` reads this, not `tsc`.

@external("env", "proxy_log")
declare function host_log(level: u32, at: usize, size: u32): u32;
@external("env", "proxy_get_property")
declare function host_get_property(at: usize, size: u32, out: usize, size_out: usize): u32;
@external("env", "proxy_set_property")
declare function host_set_property(at: usize, size: u32, value: usize, value_size: u32): u32;
@external("env", "proxy_send_local_response")
declare function host_respond(status: u32, detail: usize, detail_size: u32, body: usize, body_size: u32,
  headers: usize, headers_size: u32, grpc: i32): u32;
@external("env", "proxy_continue_stream")
declare function host_continue(stream: u32): u32;
@external("env", "proxy_close_stream")
declare function host_close(stream: u32): u32;
@external("env", "proxy_get_header_map_value")
declare function host_get_header(map: u32, at: usize, size: u32, out: usize, size_out: usize): u32;
@external("env", "proxy_replace_header_map_value")
declare function host_set_header(map: u32, at: usize, size: u32, value: usize, value_size: u32): u32;
@external("env", "proxy_add_header_map_value")
declare function host_add_header(map: u32, at: usize, size: u32, value: usize, value_size: u32): u32;
@external("env", "proxy_remove_header_map_value")
declare function host_remove_header(map: u32, at: usize, size: u32): u32;
@external("env", "proxy_get_header_map_pairs")
declare function host_get_pairs(map: u32, out: usize, size_out: usize): u32;
@external("env", "proxy_get_buffer_bytes")
declare function host_get_buffer(buffer: u32, start: u32, max: u32, out: usize, size_out: usize): u32;
@external("env", "proxy_set_buffer_bytes")
declare function host_set_buffer(buffer: u32, start: u32, size: u32, at: usize, new_size: u32): u32;
@external("env", "proxy_http_call")
declare function host_call(target: usize, target_size: u32, headers: usize, headers_size: u32, body: usize,
  body_size: u32, trailers: usize, trailers_size: u32, timeout: u32, token: usize): u32;
@external("env", "proxy_get_shared_data")
declare function host_get_shared(key: usize, size: u32, out: usize, size_out: usize, cas: usize): u32;
@external("env", "proxy_set_shared_data")
declare function host_set_shared(key: usize, size: u32, value: usize, value_size: u32, cas: u32): u32;
@external("env", "proxy_define_metric")
declare function host_define_metric(kind: u32, name: usize, size: u32, metric: usize): u32;
@external("env", "proxy_increment_metric")
declare function host_increment_metric(metric: u32, by: i64): u32;
@external("env", "proxy_record_metric")
declare function host_record_metric(metric: u32, value: u64): u32;
@external("env", "proxy_get_current_time_nanoseconds")
declare function host_now(now: usize): u32;
@external("env", "proxy_set_tick_period_milliseconds")
declare function host_set_tick(period: u32): u32;

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const RESPONSE_TRAILERS: u32 = 3;
const CALL_HEADERS: u32 = 6;
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const CALL_BODY: u32 = 4;
const CONFIGURATION: u32 = 7;
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
const DEBUG: u32 = 1;
const INFO: u32 = 2;
const WARN: u32 = 3;
const CRITICAL: u32 = 5;

// Where the host writes an address, a length and a number.
const out = memory.data(16);

// What the configuration said, by words.
let name = "";
let argument = "";

say(DEBUG, "case start: the host is called while the module starts");

function bytes(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}
function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}
function size(bytes: ArrayBuffer): u32 {
  return <u32>bytes.byteLength;
}

function say(level: u32, line: string): void {
  const b = bytes(line);
  host_log(level, at(b), size(b));
}

/** What the host put where `out` says; the block was made by `allocate`. */
function taken(): ArrayBuffer {
  const from = load<usize>(out), length = load<u32>(out, 4);
  const copy = new ArrayBuffer(length);
  if (length) {
    memory.copy(at(copy), from, length);
    heap.free(from);
  }
  return copy;
}
function forget(): void {
  store<usize>(out, 0);
  store<u32>(out, 0, 4);
}

function header(map: u32, key: string): string | null {
  const k = bytes(key);
  forget();
  return host_get_header(map, at(k), size(k), out, out + 4) == 0 ? String.UTF8.decode(taken()) : null;
}
function orNil(text: string | null): string {
  return text === null ? "nil" : text;
}
function set(map: u32, key: string, value: string): void {
  const k = bytes(key), v = bytes(value);
  host_set_header(map, at(k), size(k), at(v), size(v));
}
function add(map: u32, key: string, value: string): void {
  const k = bytes(key), v = bytes(value);
  host_add_header(map, at(k), size(k), at(v), size(v));
}
function remove(map: u32, key: string): void {
  const k = bytes(key);
  host_remove_header(map, at(k), size(k));
}
function tell(key: string, value: string): void {
  set(REQUEST_HEADERS, key, value);
}
function buffer(which: u32, length: u32): ArrayBuffer {
  forget();
  host_get_buffer(which, 0, length, out, out + 4);
  return taken();
}

/** What the four header cases do with a map whose headers begin with `letter`. */
function headers(map: u32, letter: string): void {
  const many = letter + "-many", listed = [letter + "-in", many, letter + "-gone"];
  const got = orNil(header(map, letter.toUpperCase() + "-IN")), missing = orNil(header(map, letter + "-none"));
  forget();
  host_get_pairs(map, out, out + 4);
  const all = taken();
  const count = size(all) ? load<u32>(at(all)) : 0;
  let data = at(all) + 4 + 8 * count;
  const values: string[] = [], pairs: string[] = [];
  for (let i: u32 = 0; i < count; i++) {
    const keySize = load<u32>(at(all) + 4 + 8 * i), valueSize = load<u32>(at(all) + 8 + 8 * i);
    const key = String.UTF8.decodeUnsafe(data, keySize);
    const value = String.UTF8.decodeUnsafe(data + keySize + 1, valueSize);
    data += keySize + valueSize + 2;
    if (key == many) values.push(value);
    if (listed.includes(key)) pairs.push(key + "=" + value);
  }
  set(map, letter + "-got", got);
  set(map, letter + "-missing", missing);
  set(map, letter + "-all", values.join("|"));
  set(map, letter + "-pairs", pairs.join(";"));
  set(map, letter + "-in", "replaced");
  add(map, many, "three");
  remove(map, letter + "-gone");
}

/** Names and values, one after the other, as proxy-wasm packs them. */
function packed(words: string[]): ArrayBuffer {
  let total = 4;
  for (let i = 0; i < words.length; i++) total += 5 + String.UTF8.byteLength(words[i]);
  const all = new ArrayBuffer(total);
  store<u32>(at(all), words.length / 2);
  let data = at(all) + 4 + 4 * words.length;
  for (let i = 0; i < words.length; i++) {
    const word = bytes(words[i]);
    store<u32>(at(all) + 4 + 4 * i, size(word));
    memory.copy(data, at(word), size(word));
    data += size(word) + 1;
  }
  return all;
}

function respond(status: u32, words: string[], body: string): void {
  const h = packed(words), b = bytes(body);
  host_respond(status, 0, 0, at(b), size(b), at(h), size(h), -1);
}

function call(): u32 {
  const target = bytes("side"), body = bytes("hi"), none = packed([]);
  const h = packed([":method", "POST", ":path", "/side", ":authority", "side.test", "x-ask", "1"]);
  const timeout: u32 = argument.length ? <u32>parseInt(argument) : 5000;
  const refused = host_call(at(target), size(target), at(h), size(h), at(body), size(body), at(none), size(none),
    timeout, out);
  if (refused == 0) return PAUSE;
  tell("x-status", "refused");
  return CONTINUE;
}

function property(path: string[]): string {
  const p = bytes(path.join("\0"));
  forget();
  return host_get_property(at(p), size(p), out, out + 4) == 0 ? String.UTF8.decode(taken()) : "nil";
}

function dict(): void {
  const key = bytes(argument);
  forget();
  store<u32>(out, 0, 8);
  const found = host_get_shared(at(key), size(key), out, out + 4, out + 8) == 0;
  const version = load<u32>(out, 8);
  const seen = found ? String.UTF8.decode(taken()) : "nil";
  const next = bytes((found ? <i32>parseInt(seen) + 1 : 1).toString()), lost = bytes("lost");
  const first = host_set_shared(at(key), size(key), at(next), size(next), version);
  // The version has moved on: a second write with it must not go through.
  const stale = found ? host_set_shared(at(key), size(key), at(lost), size(lost), version) : 1;
  tell("x-seen", seen);
  tell("x-first", first == 0 ? "ok" : "refused");
  tell("x-stale", stale == 0 ? "ok" : "refused");
}

function metric(kind: u32, name: string): u32 {
  const n = bytes(name);
  host_define_metric(kind, at(n), size(n), out);
  return load<u32>(out);
}

let sink: u64 = 0;

function recurse(depth: u64): u64 {
  sink = depth;
  return depth == u64.MAX_VALUE ? 0 : recurse(depth + 1) + sink;
}

/** What a plugin must not do: `fault HOW@PHASE`. */
function fail(here: string): void {
  if (name != "fault") return;
  const words = argument.split("@");
  const how = words[0], phase = words.length > 1 ? words[1] : "request";
  if (phase != here) return;
  if (how == "loop") while (true) sink++;
  if (how == "recursion") sink = recurse(0);
  if (how == "trap") unreachable();
  if (how == "memory") {
    const kept: ArrayBuffer[] = [];
    while (true) kept.push(new ArrayBuffer(1 << 20));
  }
  if (how == "error") throw new Error("a sentence of the plugin");
}

/** `asc` is told to call this where a throw or a failed assertion would import `env.abort`. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  say(CRITICAL, (message ? message : "aborted") + " at " + (file ? file : "") + ":" + line.toString() + ":" + column.toString());
  unreachable();
}

export function proxy_abi_version_0_2_1(): void {}
export function proxy_on_memory_allocate(size: u32): usize {
  return heap.alloc(size);
}
export function proxy_on_context_create(context: u32, parent: u32): void {}
export function proxy_on_vm_start(root: u32, size: u32): u32 {
  return 1;
}

export function proxy_on_configure(root: u32, size: u32): u32 {
  const words = String.UTF8.decode(buffer(CONFIGURATION, size)).split(" ");
  name = words[0];
  if (words.length > 1) argument = words[1];
  if (name == "timer_every") host_set_tick(20);
  return name == "refuse_config" ? 0 : 1;
}

export function proxy_on_tick(root: u32): void {
  say(INFO, "case timer_every: tick");
}

export function proxy_on_request_headers(context: u32, count: u32, end: u32): u32 {
  if (name == "request_headers") {
    headers(REQUEST_HEADERS, "x");
    tell("x-method", orNil(header(REQUEST_HEADERS, ":method")));
    tell(":path", orNil(header(REQUEST_HEADERS, ":path")) + "?seen");
  } else if (name == "respond") {
    respond(403, ["x-why", "told", "x-why", "twice"], "no entry");
  } else if (name == "close") {
    host_close(0);
  } else if (name == "continue") {
    // It pauses, and goes on all the same.
    tell("x-before", "yes");
    host_continue(0);
    return PAUSE;
  } else if (name == "http_call") {
    return call();
  } else if (name == "property_get") {
    tell("x-p-path", property(["request", "path"]));
    tell("x-p-method", property(["request", "method"]));
    tell("x-p-host", property(["request", "host"]));
    tell("x-p-none", property(["no", "such"]));
  } else if (name == "ctx_set") {
    const path = bytes("greeting"), value = bytes("hello");
    host_set_property(at(path), size(path), at(value), size(value));
  } else if (name == "ctx_get") {
    tell("x-greeting", property(["greeting"]));
    tell("x-nothing", property(["nothing"]));
  } else if (name == "dict") {
    dict();
  } else if (name == "metrics") {
    const hits = metric(0, "case_hits_total"), level = metric(1, "case_level"), sizes = metric(2, "case_sizes_bytes");
    host_increment_metric(hits, 2);
    host_record_metric(level, 7);
    host_record_metric(sizes, 300);
  } else if (name == "log") {
    say(DEBUG, "case log: a line of debug");
    say(INFO, "case log: a line of info");
    say(WARN, "case log: a line of warn");
  } else if (name == "now") {
    host_now(out);
    tell("x-now", (load<u64>(out) / 1000000).toString());
  } else if (header(REQUEST_HEADERS, "x-good") === null) {
    // A request that says so passes: the instance goes on to serve after a fault.
    fail("request");
  }
  return CONTINUE;
}

/** Both sides' body cases: `_body` waits for the end and shouts, `_chunk` marks what streams by. */
function body(which: u32, side: string, length: u32, end: u32): u32 {
  if (name == side + "_body") {
    if (!end) return PAUSE;
    const whole = bytes(String.UTF8.decode(buffer(which, length)).toUpperCase());
    host_set_buffer(which, 0, length, at(whole), size(whole));
  } else if ((name == side + "_chunk" || name == side + "_body_chunks") && length) {
    const marked = bytes("<" + String.UTF8.decode(buffer(which, length)) + ">");
    host_set_buffer(which, 0, length, at(marked), size(marked));
  }
  return CONTINUE;
}

export function proxy_on_request_body(context: u32, length: u32, end: u32): u32 {
  return body(REQUEST_BODY, "request", length, end);
}
export function proxy_on_response_body(context: u32, length: u32, end: u32): u32 {
  return body(RESPONSE_BODY, "response", length, end);
}

export function proxy_on_request_trailers(context: u32, count: u32): u32 {
  if (name == "request_trailers") headers(REQUEST_TRAILERS, "t");
  return CONTINUE;
}
export function proxy_on_response_trailers(context: u32, count: u32): u32 {
  if (name == "response_trailers") headers(RESPONSE_TRAILERS, "z");
  return CONTINUE;
}

export function proxy_on_response_headers(context: u32, count: u32, end: u32): u32 {
  if (name == "response_headers") {
    headers(RESPONSE_HEADERS, "y");
    set(RESPONSE_HEADERS, "y-status", orNil(header(RESPONSE_HEADERS, ":status")));
  } else if (name == "respond_late") {
    respond(418, ["x-why", "late"], "another");
  } else if (name.startsWith("response_")) {
    // The length that the origin gave is no longer that of the body.
    remove(RESPONSE_HEADERS, "content-length");
  } else if (name == "fault") {
    fail("response");
    add(RESPONSE_HEADERS, "x-plugin", "alive");
  }
  return CONTINUE;
}

export function proxy_on_http_call_response(context: u32, token: u32, count: u32, length: u32, trailers: u32): void {
  const status = header(CALL_HEADERS, ":status");
  tell("x-status", status === null ? "none" : status);
  tell("x-answer", orNil(header(CALL_HEADERS, "x-answer")));
  tell("x-body", String.UTF8.decode(buffer(CALL_BODY, length)));
  host_continue(0);
}

export function proxy_on_log(context: u32): void {
  if (name == "log") say(INFO, "case log: ended with " + orNil(header(RESPONSE_HEADERS, ":status")));
  fail("log");
}
