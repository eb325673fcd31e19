// The conformance cases that need nothing but proxy-wasm, in Go without an SDK: the imports are
// declared by hand in host.go. Each case does what the plugin of the same name does in `guest/`
// (Rust) and in the Lua of the tests.
package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// What the configuration said, by words.
var name, argument string

// headers is what the four header cases do with a map whose headers begin with letter.
func headers(kind uint32, letter string) {
	many := letter + "-many"
	listed := []string{letter + "-in", many, letter + "-gone"}
	got, _ := header(kind, strings.ToUpper(letter)+"-IN")
	missing, _ := header(kind, letter+"-none")
	var values, pairs []string
	for _, pair := range read(kind) {
		if pair[0] == many {
			values = append(values, pair[1])
		}
		if slices.Contains(listed, pair[0]) {
			pairs = append(pairs, pair[0]+"="+pair[1])
		}
	}
	set(kind, letter+"-got", got)
	set(kind, letter+"-missing", missing)
	set(kind, letter+"-all", strings.Join(values, "|"))
	set(kind, letter+"-pairs", strings.Join(pairs, ";"))
	set(kind, letter+"-in", "replaced")
	add(kind, many, "three")
	remove(kind, letter+"-gone")
}

// read is a whole map, in order.
func read(kind uint32) [][2]string {
	var at, size uint32
	hostGetPairs(kind, &at, &size)
	all := taken(at, size)
	count := binary.LittleEndian.Uint32(all)
	sizes, data := all[4:], all[4+8*count:]
	pairs := make([][2]string, count)
	for i := range 2 * count {
		length := binary.LittleEndian.Uint32(sizes[4*i:])
		pairs[i/2][i%2] = string(data[:length])
		data = data[length+1:]
	}
	return pairs
}

// packed is names and values, one after the other, as proxy-wasm packs them.
func packed(words ...string) string {
	all := binary.LittleEndian.AppendUint32(nil, uint32(len(words)/2))
	for _, word := range words {
		all = binary.LittleEndian.AppendUint32(all, uint32(len(word)))
	}
	for _, word := range words {
		all = append(append(all, word...), 0)
	}
	return string(all)
}

func respond(status uint32, body string, words ...string) {
	at, size := text(packed(words...))
	of, length := text(body)
	hostRespond(status, nil, 0, of, length, at, size, -1)
}

func call() uint32 {
	timeout, err := strconv.Atoi(argument)
	if err != nil {
		timeout = 5000
	}
	var token uint32
	target, targetSize := text("side")
	headers, headersSize := text(packed(":method", "POST", ":path", "/side", ":authority", "side.test", "x-ask", "1"))
	body, bodySize := text("hi")
	none, noneSize := text(packed())
	if hostCall(target, targetSize, headers, headersSize, body, bodySize, none, noneSize, uint32(timeout), &token) == 0 {
		return pause
	}
	tell("x-status", "refused")
	return goOn
}

func okay(status uint32) string {
	if status == 0 {
		return "ok"
	}
	return "refused"
}

func dict() {
	var out, outSize, version uint32
	key, size := text(argument)
	seen, stale := "nil", uint32(1)
	found := hostGetShared(key, size, &out, &outSize, &version) == 0
	if found {
		seen = string(taken(out, outSize))
	}
	last, _ := strconv.Atoi(seen)
	next, nextSize := text(strconv.Itoa(last + 1))
	first := hostSetShared(key, size, next, nextSize, version)
	if found {
		// The version has moved on: a second write with it must not go through.
		lost, lostSize := text("lost")
		stale = hostSetShared(key, size, lost, lostSize, version)
	}
	tell("x-seen", seen)
	tell("x-first", okay(first))
	tell("x-stale", okay(stale))
}

func metrics() {
	var ids [3]uint32
	for kind, name := range []string{"case_hits_total", "case_level", "case_sizes_bytes"} {
		at, size := text(name)
		hostDefineMetric(uint32(kind), at, size, &ids[kind])
	}
	hostIncrementMetric(ids[0], 2)
	hostRecordMetric(ids[1], 7)
	hostRecordMetric(ids[2], 300)
}

var (
	sink uint64
	kept [][]byte
)

// fail does what a plugin must not do: `fault HOW@PHASE`.
func fail(here string) {
	how, phase, found := strings.Cut(argument, "@")
	if !found {
		phase = "request"
	}
	if name != "fault" || phase != here {
		return
	}
	switch how {
	case "loop":
		for {
			sink++
		}
	case "memory":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "trap":
		var nothing *uint64
		sink = *nothing
	case "error":
		panic("a sentence of the plugin")
	}
}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_context_create
func onCreate(context, parent uint32) {}

//go:wasmexport proxy_on_vm_start
func onStart(root, size uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	name, argument, _ = strings.Cut(string(buffer(configuration, size)), " ")
	argument, _, _ = strings.Cut(argument, " ")
	switch name {
	case "timer_every":
		hostSetTick(20)
	case "refuse_config":
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_tick
func onTick(root uint32) { say(info, "case timer_every: tick") }

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, end uint32) uint32 {
	switch name {
	case "request_headers":
		headers(requestHeaders, "x")
		method, _ := header(requestHeaders, ":method")
		tell("x-method", method)
		path, _ := header(requestHeaders, ":path")
		tell(":path", path+"?seen")
	case "respond":
		respond(403, "no entry", "x-why", "told", "x-why", "twice")
	case "close":
		hostClose(0)
	case "continue":
		// It pauses, and goes on all the same.
		tell("x-before", "yes")
		hostContinue(0)
		return pause
	case "http_call":
		return call()
	case "property_get":
		tell("x-p-path", property("request\x00path"))
		tell("x-p-method", property("request\x00method"))
		tell("x-p-host", property("request\x00host"))
		tell("x-p-none", property("no\x00such"))
	case "ctx_set":
		path, size := text("greeting")
		value, valueSize := text("hello")
		hostSetProperty(path, size, value, valueSize)
	case "ctx_get":
		tell("x-greeting", property("greeting"))
		tell("x-nothing", property("nothing"))
	case "dict":
		dict()
	case "metrics":
		metrics()
	case "log":
		say(debug, "case log: a line of debug")
		say(info, "case log: a line of info")
		say(warn, "case log: a line of warn")
	case "now":
		var now uint64
		hostNow(&now)
		tell("x-now", strconv.FormatUint(now/1e6, 10))
	default:
		// A request that says so passes: the instance goes on to serve after a fault.
		if _, good := header(requestHeaders, "x-good"); !good {
			fail("request")
		}
	}
	return goOn
}

// body has both sides' cases: `_body` waits for the end and shouts, `_chunk` marks what streams by.
func body(which uint32, side string, length, end uint32) uint32 {
	switch {
	case name == side+"_body" && end == 0:
		return pause
	case name == side+"_body":
		setBuffer(which, length, bytes.ToUpper(buffer(which, length)))
	case (name == side+"_chunk" || name == side+"_body_chunks") && length > 0:
		setBuffer(which, length, []byte("<"+string(buffer(which, length))+">"))
	}
	return goOn
}

//go:wasmexport proxy_on_request_body
func onRequestBody(context, length, end uint32) uint32 { return body(requestBody, "request", length, end) }

//go:wasmexport proxy_on_response_body
func onResponseBody(context, length, end uint32) uint32 {
	return body(responseBody, "response", length, end)
}

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(context, count uint32) uint32 {
	if name == "request_trailers" {
		headers(requestTrailers, "t")
	}
	return goOn
}

//go:wasmexport proxy_on_response_trailers
func onResponseTrailers(context, count uint32) uint32 {
	if name == "response_trailers" {
		headers(responseTrailers, "z")
	}
	return goOn
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, end uint32) uint32 {
	switch {
	case name == "response_headers":
		headers(responseHeaders, "y")
		status, _ := header(responseHeaders, ":status")
		set(responseHeaders, "y-status", status)
	case name == "respond_late":
		respond(418, "another", "x-why", "late")
	case strings.HasPrefix(name, "response_"):
		// The length that the origin gave is no longer that of the body.
		remove(responseHeaders, "content-length")
	case name == "fault":
		fail("response")
		add(responseHeaders, "x-plugin", "alive")
	}
	return goOn
}

//go:wasmexport proxy_on_http_call_response
func onCallResponse(context, token, count, length, trailers uint32) {
	status, answered := header(callHeaders, ":status")
	if !answered {
		status = "none"
	}
	tell("x-status", status)
	answer, _ := header(callHeaders, "x-answer")
	tell("x-answer", answer)
	tell("x-body", string(buffer(callBody, length)))
	hostContinue(0)
}

//go:wasmexport proxy_on_log
func onLog(context uint32) {
	if name == "log" {
		status, _ := header(responseHeaders, ":status")
		say(info, "case log: ended with "+status)
	}
	fail("log")
}

func main() {}
