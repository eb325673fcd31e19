// The conformance cases that need nothing but proxy-wasm, in C without an SDK: the imports are
// declared by hand, the module exports `malloc` and no `proxy_on_memory_allocate`. Each case does
// what the plugin of the same name does in `guest/` (Rust) and in the Lua of the tests.
//
// Nothing is freed: a module of a test lives for a handful of exchanges.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t u32;

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

IMPORT(proxy_log) u32 host_log(u32 level, const char *at, u32 size);
IMPORT(proxy_get_property) u32 host_get_property(const char *at, u32 size, char **out, u32 *size_out);
IMPORT(proxy_set_property) u32 host_set_property(const char *at, u32 size, const char *value, u32 value_size);
IMPORT(proxy_send_local_response)
u32 host_respond(u32 status, const char *detail, u32 detail_size, const char *body, u32 body_size, const char *headers,
                 u32 headers_size, int32_t grpc);
IMPORT(proxy_continue_stream) u32 host_continue(u32 stream);
IMPORT(proxy_close_stream) u32 host_close(u32 stream);
IMPORT(proxy_get_header_map_value)
u32 host_get_header(u32 map, const char *at, u32 size, char **out, u32 *size_out);
IMPORT(proxy_replace_header_map_value)
u32 host_set_header(u32 map, const char *at, u32 size, const char *value, u32 value_size);
IMPORT(proxy_add_header_map_value)
u32 host_add_header(u32 map, const char *at, u32 size, const char *value, u32 value_size);
IMPORT(proxy_remove_header_map_value) u32 host_remove_header(u32 map, const char *at, u32 size);
IMPORT(proxy_get_header_map_pairs) u32 host_get_pairs(u32 map, char **out, u32 *size_out);
IMPORT(proxy_get_buffer_bytes) u32 host_get_buffer(u32 buffer, u32 start, u32 max, char **out, u32 *size_out);
IMPORT(proxy_set_buffer_bytes) u32 host_set_buffer(u32 buffer, u32 start, u32 size, const char *at, u32 new_size);
IMPORT(proxy_http_call)
u32 host_call(const char *target, u32 target_size, const char *headers, u32 headers_size, const char *body,
              u32 body_size, const char *trailers, u32 trailers_size, u32 timeout, u32 *token);
IMPORT(proxy_get_shared_data) u32 host_get_shared(const char *key, u32 size, char **out, u32 *size_out, u32 *cas);
IMPORT(proxy_set_shared_data) u32 host_set_shared(const char *key, u32 size, const char *value, u32 value_size, u32 cas);
IMPORT(proxy_define_metric) u32 host_define_metric(u32 kind, const char *name, u32 size, u32 *metric);
IMPORT(proxy_increment_metric) u32 host_increment_metric(u32 metric, int64_t by);
IMPORT(proxy_record_metric) u32 host_record_metric(u32 metric, uint64_t value);
IMPORT(proxy_get_current_time_nanoseconds) u32 host_now(uint64_t *now);
IMPORT(proxy_set_tick_period_milliseconds) u32 host_set_tick(u32 period);

enum { REQUEST_HEADERS, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_TRAILERS, _GRPC0, _GRPC1, CALL_HEADERS };
enum { REQUEST_BODY, RESPONSE_BODY, CALL_BODY = 4, CONFIGURATION = 7 };
enum { CONTINUE, PAUSE };
enum { DEBUG = 1, INFO, WARN };

// What the configuration said, by words.
static char name[64], argument[64];

static bool is(const char *what) { return strcmp(name, what) == 0; }
static u32 length(const char *text) { return (u32)strlen(text); }
static void say(u32 level, const char *text) { host_log(level, text, length(text)); }

static char *text_of(const char *at, u32 size) {
    char *text = malloc(size + 1);
    memcpy(text, at, size);
    text[size] = 0;
    return text;
}

// The value of a header, or NULL.
static char *header(u32 map, const char *key) {
    char *at = NULL;
    u32 size = 0;
    return host_get_header(map, key, length(key), &at, &size) == 0 ? text_of(at, size) : NULL;
}

static const char *or_nil(const char *text) { return text ? text : "nil"; }
static void set(u32 map, const char *key, const char *value) {
    host_set_header(map, key, length(key), value, length(value));
}
static void tell(const char *key, const char *value) { set(REQUEST_HEADERS, key, value); }

static u32 read_u32(const char *at) {
    u32 number;
    memcpy(&number, at, 4);
    return number;
}

static void join(char *all, const char *between, const char *more) {
    if (*all) strcat(all, between);
    strcat(all, more);
}

// What the four header cases do with a map whose headers begin with `letter`.
static void headers(u32 map, char letter) {
    char many[16], in[16], gone[16], key[16], upper[16];
    sprintf(many, "%c-many", letter);
    sprintf(in, "%c-in", letter);
    sprintf(gone, "%c-gone", letter);
    sprintf(upper, "%c-IN", letter - 'a' + 'A');
    char *got = header(map, upper);
    sprintf(key, "%c-none", letter);
    char *missing = header(map, key);
    char all[256] = "", pairs[256] = "", pair[256];
    char *at = NULL;
    u32 size = 0;
    host_get_pairs(map, &at, &size);
    u32 count = size ? read_u32(at) : 0;
    const char *data = at + 4 + 8 * count;
    for (u32 i = 0; i < count; i++) {
        const char *known = data, *value = data + read_u32(at + 4 + 8 * i) + 1;
        data = value + read_u32(at + 8 + 8 * i) + 1;
        if (strcmp(known, many) == 0) join(all, "|", value);
        if (strcmp(known, many) && strcmp(known, in) && strcmp(known, gone)) continue;
        snprintf(pair, sizeof pair, "%s=%s", known, value);
        join(pairs, ";", pair);
    }
    sprintf(key, "%c-got", letter), set(map, key, or_nil(got));
    sprintf(key, "%c-missing", letter), set(map, key, or_nil(missing));
    sprintf(key, "%c-all", letter), set(map, key, all);
    sprintf(key, "%c-pairs", letter), set(map, key, pairs);
    set(map, in, "replaced");
    host_add_header(map, many, length(many), "three", 5);
    host_remove_header(map, gone, length(gone));
}

// Packs `count` names and values as proxy-wasm does.
static char *packed(const char *pairs[][2], u32 count, u32 *size) {
    char *all = malloc(1024), *data = all + 4 + 8 * count;
    memcpy(all, &count, 4);
    for (u32 i = 0; i < count; i++)
        for (u32 half = 0; half < 2; half++) {
            u32 len = length(pairs[i][half]);
            memcpy(all + 4 + 8 * i + 4 * half, &len, 4);
            memcpy(data, pairs[i][half], len + 1);
            data += len + 1;
        }
    *size = (u32)(data - all);
    return all;
}

static void respond(u32 status, const char *pairs[][2], u32 count, const char *body) {
    u32 size;
    char *headers = packed(pairs, count, &size);
    host_respond(status, "", 0, body, length(body), headers, size, -1);
}

static u32 call(const char *timeout) {
    const char *pairs[][2] = {{":method", "POST"}, {":path", "/side"}, {":authority", "side.test"}, {"x-ask", "1"}};
    u32 size, token, none = 0;
    char *headers = packed(pairs, 4, &size);
    u32 wait = *timeout ? (u32)atoi(timeout) : 5000;
    if (host_call("side", 4, headers, size, "hi", 2, (char *)&none, 4, wait, &token) == 0) return PAUSE;
    tell("x-status", "refused");
    return CONTINUE;
}

static const char *property(const char *path, u32 size) {
    char *at = NULL;
    u32 len = 0;
    return host_get_property(path, size, &at, &len) == 0 ? text_of(at, len) : "nil";
}

static void dict(void) {
    char *at = NULL, next[16];
    u32 size = 0, version = 0, found = host_get_shared(argument, length(argument), &at, &size, &version);
    const char *seen = found == 0 ? text_of(at, size) : "nil";
    sprintf(next, "%d", atoi(seen) + 1);
    u32 first = host_set_shared(argument, length(argument), next, length(next), version);
    // The version has moved on: a second write with it must not go through.
    u32 stale = found == 0 ? host_set_shared(argument, length(argument), "lost", 4, version) : 1;
    tell("x-seen", seen);
    tell("x-first", first == 0 ? "ok" : "refused");
    tell("x-stale", stale == 0 ? "ok" : "refused");
}

static void metrics(void) {
    static const char *names[] = {"case_hits_total", "case_level", "case_sizes_bytes"};
    u32 ids[3];
    for (u32 kind = 0; kind < 3; kind++) host_define_metric(kind, names[kind], length(names[kind]), &ids[kind]);
    host_increment_metric(ids[0], 2);
    host_record_metric(ids[1], 7);
    host_record_metric(ids[2], 300);
}

static volatile uint64_t sink;

__attribute__((noinline)) static uint64_t recurse(uint64_t depth) {
    sink = depth;
    return depth == UINT64_MAX ? 0 : recurse(depth + 1) + sink;
}

// What a plugin must not do: `fault HOW@PHASE`.
static void fail(const char *here) {
    if (!is("fault")) return;
    char how[64];
    strcpy(how, argument);
    char *phase = strchr(how, '@');
    if (phase) *phase++ = 0;
    if (strcmp(phase ? phase : "request", here)) return;
    if (strcmp(how, "loop") == 0)
        for (;;) sink++;
    if (strcmp(how, "recursion") == 0) sink = recurse(0);
    if (strcmp(how, "trap") == 0) __builtin_trap();
    if (strcmp(how, "memory") == 0)
        for (;;) {
            char *more = malloc(1 << 20);
            if (!more) abort();
            // An optimiser may leave out what nobody looks at.
            *(volatile char *)memset(more, 7, 1 << 20);
        }
    if (strcmp(how, "error") == 0) {
        fprintf(stderr, "a sentence of the plugin\n");
        abort();
    }
}

EXPORT(proxy_abi_version_0_2_1) void abi_version(void) {}
EXPORT(proxy_on_context_create) void on_create(u32 context, u32 parent) { (void)context, (void)parent; }
EXPORT(proxy_on_vm_start) u32 on_start(u32 root, u32 size) { return (void)root, (void)size, 1; }

EXPORT(proxy_on_configure) u32 on_configure(u32 root, u32 size) {
    (void)root;
    char *at = NULL;
    u32 len = 0;
    host_get_buffer(CONFIGURATION, 0, size, &at, &len);
    sscanf(text_of(at, len), "%63s %63s", name, argument);
    if (is("timer_every")) host_set_tick(20);
    return !is("refuse_config");
}

EXPORT(proxy_on_tick) void on_tick(u32 root) { (void)root, say(INFO, "case timer_every: tick"); }

EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 context, u32 count, u32 end) {
    (void)context, (void)count, (void)end;
    if (is("request_headers")) {
        headers(REQUEST_HEADERS, 'x');
        tell("x-method", or_nil(header(REQUEST_HEADERS, ":method")));
        char path[256];
        snprintf(path, sizeof path, "%s?seen", or_nil(header(REQUEST_HEADERS, ":path")));
        tell(":path", path);
    } else if (is("respond")) {
        const char *pairs[][2] = {{"x-why", "told"}, {"x-why", "twice"}};
        respond(403, pairs, 2, "no entry");
    } else if (is("close")) {
        host_close(0);
    } else if (is("continue")) {
        // It pauses, and goes on all the same.
        tell("x-before", "yes");
        host_continue(0);
        return PAUSE;
    } else if (is("http_call")) {
        return call(argument);
    } else if (is("property_get")) {
        tell("x-p-path", property("request\0path", 12));
        tell("x-p-method", property("request\0method", 14));
        tell("x-p-host", property("request\0host", 12));
        tell("x-p-none", property("no\0such", 7));
    } else if (is("ctx_set")) {
        host_set_property("greeting", 8, "hello", 5);
    } else if (is("ctx_get")) {
        tell("x-greeting", property("greeting", 8));
        tell("x-nothing", property("nothing", 7));
    } else if (is("dict")) {
        dict();
    } else if (is("metrics")) {
        metrics();
    } else if (is("log")) {
        say(DEBUG, "case log: a line of debug");
        say(INFO, "case log: a line of info");
        say(WARN, "case log: a line of warn");
    } else if (is("now")) {
        uint64_t now;
        char text[24];
        host_now(&now);
        sprintf(text, "%llu", (unsigned long long)(now / 1000000));
        tell("x-now", text);
    } else if (!header(REQUEST_HEADERS, "x-good")) {
        // A request that says so passes: the instance goes on to serve after a fault.
        fail("request");
    }
    return CONTINUE;
}

// Both sides' body cases: `whole` waits for the end and shouts, `chunk` marks what streams by.
static u32 body(u32 buffer, u32 size, u32 end, const char *whole, const char *chunk) {
    char *at = NULL, loop[32];
    u32 len = 0;
    snprintf(loop, sizeof loop, "%s_body_chunks", buffer == REQUEST_BODY ? "request" : "response");
    if (is(whole)) {
        if (!end) return PAUSE;
        host_get_buffer(buffer, 0, size, &at, &len);
        for (u32 i = 0; i < len; i++)
            if (at[i] >= 'a' && at[i] <= 'z') at[i] -= 'a' - 'A';
        host_set_buffer(buffer, 0, size, at, len);
    } else if ((is(chunk) || is(loop)) && size) {
        host_get_buffer(buffer, 0, size, &at, &len);
        char *marked = malloc(len + 2);
        marked[0] = '<';
        memcpy(marked + 1, at, len);
        marked[len + 1] = '>';
        host_set_buffer(buffer, 0, size, marked, len + 2);
    }
    return CONTINUE;
}

EXPORT(proxy_on_request_body) u32 on_request_body(u32 context, u32 size, u32 end) {
    return (void)context, body(REQUEST_BODY, size, end, "request_body", "request_chunk");
}

EXPORT(proxy_on_response_body) u32 on_response_body(u32 context, u32 size, u32 end) {
    return (void)context, body(RESPONSE_BODY, size, end, "response_body", "response_chunk");
}

EXPORT(proxy_on_request_trailers) u32 on_request_trailers(u32 context, u32 count) {
    (void)context, (void)count;
    if (is("request_trailers")) headers(REQUEST_TRAILERS, 't');
    return CONTINUE;
}

EXPORT(proxy_on_response_trailers) u32 on_response_trailers(u32 context, u32 count) {
    (void)context, (void)count;
    if (is("response_trailers")) headers(RESPONSE_TRAILERS, 'z');
    return CONTINUE;
}

EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 context, u32 count, u32 end) {
    (void)context, (void)count, (void)end;
    if (is("response_headers")) {
        headers(RESPONSE_HEADERS, 'y');
        set(RESPONSE_HEADERS, "y-status", or_nil(header(RESPONSE_HEADERS, ":status")));
    } else if (is("respond_late")) {
        const char *pairs[][2] = {{"x-why", "late"}};
        respond(418, pairs, 1, "another");
    } else if (strncmp(name, "response_", 9) == 0) {
        // The length that the origin gave is no longer that of the body.
        host_remove_header(RESPONSE_HEADERS, "content-length", 14);
    } else if (is("fault")) {
        fail("response");
        host_add_header(RESPONSE_HEADERS, "x-plugin", 8, "alive", 5);
    }
    return CONTINUE;
}

EXPORT(proxy_on_http_call_response)
void on_call_response(u32 context, u32 token, u32 count, u32 size, u32 trailers) {
    (void)context, (void)token, (void)count, (void)trailers;
    char *status = header(CALL_HEADERS, ":status"), *at = NULL;
    u32 len = 0;
    host_get_buffer(CALL_BODY, 0, size, &at, &len);
    tell("x-status", status ? status : "none");
    tell("x-answer", or_nil(header(CALL_HEADERS, "x-answer")));
    tell("x-body", len ? text_of(at, len) : "");
    host_continue(0);
}

EXPORT(proxy_on_log) void on_log(u32 context) {
    (void)context;
    if (is("log")) {
        char line[64];
        snprintf(line, sizeof line, "case log: ended with %s", or_nil(header(RESPONSE_HEADERS, ":status")));
        say(INFO, line);
    }
    fail("log");
}
