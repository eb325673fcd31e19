package main

import "unsafe"

//go:wasmimport env proxy_log
func hostLog(level uint32, at unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_property
func hostGetProperty(at unsafe.Pointer, size uint32, out, sizeOut *uint32) uint32

//go:wasmimport env proxy_set_property
func hostSetProperty(at unsafe.Pointer, size uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_send_local_response
func hostRespond(status uint32, detail unsafe.Pointer, detailSize uint32, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_continue_stream
func hostContinue(stream uint32) uint32

//go:wasmimport env proxy_close_stream
func hostClose(stream uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func hostGetHeader(kind uint32, at unsafe.Pointer, size uint32, out, sizeOut *uint32) uint32

//go:wasmimport env proxy_replace_header_map_value
func hostSetHeader(kind uint32, at unsafe.Pointer, size uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func hostAddHeader(kind uint32, at unsafe.Pointer, size uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func hostRemoveHeader(kind uint32, at unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func hostGetPairs(kind uint32, out, sizeOut *uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func hostGetBuffer(buffer, start, max uint32, out, sizeOut *uint32) uint32

//go:wasmimport env proxy_set_buffer_bytes
func hostSetBuffer(buffer, start, size uint32, at unsafe.Pointer, newSize uint32) uint32

//go:wasmimport env proxy_http_call
func hostCall(target unsafe.Pointer, targetSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize uint32, timeout uint32, token *uint32) uint32

//go:wasmimport env proxy_get_shared_data
func hostGetShared(key unsafe.Pointer, size uint32, out, sizeOut, cas *uint32) uint32

//go:wasmimport env proxy_set_shared_data
func hostSetShared(key unsafe.Pointer, size uint32, value unsafe.Pointer, valueSize, cas uint32) uint32

//go:wasmimport env proxy_define_metric
func hostDefineMetric(kind uint32, name unsafe.Pointer, size uint32, metric *uint32) uint32

//go:wasmimport env proxy_increment_metric
func hostIncrementMetric(metric uint32, by int64) uint32

//go:wasmimport env proxy_record_metric
func hostRecordMetric(metric uint32, value uint64) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func hostNow(now *uint64) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func hostSetTick(period uint32) uint32

const (
	requestHeaders   = 0
	requestTrailers  = 1
	responseHeaders  = 2
	responseTrailers = 3
	callHeaders      = 6

	requestBody   = 0
	responseBody  = 1
	callBody      = 4
	configuration = 7

	goOn  = 0
	pause = 1

	debug = 1
	info  = 2
	warn  = 3
)

// Blocks that the host asked for and that taken has not read: nothing else of Go's knows them.
var given = map[uint32][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	block := make([]byte, max(size, 1))
	at := uint32(uintptr(unsafe.Pointer(&block[0])))
	given[at] = block
	return at
}

// taken is what the host put into a block of ours.
func taken(at, size uint32) []byte {
	block := given[at]
	delete(given, at)
	return block[:min(size, uint32(len(block)))]
}

// text gives a string the two words that imports take.
func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func say(level uint32, line string) {
	at, size := text(line)
	hostLog(level, at, size)
}

// header is a header's value, and whether there is one.
func header(kind uint32, key string) (string, bool) {
	var out, outSize uint32
	at, size := text(key)
	if hostGetHeader(kind, at, size, &out, &outSize) != 0 {
		return "nil", false
	}
	return string(taken(out, outSize)), true
}

func set(kind uint32, key, value string) {
	at, size := text(key)
	to, toSize := text(value)
	hostSetHeader(kind, at, size, to, toSize)
}

func tell(key, value string) { set(requestHeaders, key, value) }

func add(kind uint32, key, value string) {
	at, size := text(key)
	to, toSize := text(value)
	hostAddHeader(kind, at, size, to, toSize)
}

func remove(kind uint32, key string) {
	at, size := text(key)
	hostRemoveHeader(kind, at, size)
}

func buffer(which, length uint32) []byte {
	var at, size uint32
	hostGetBuffer(which, 0, length, &at, &size)
	return taken(at, size)
}

func setBuffer(which, length uint32, bytes []byte) {
	at, size := text(string(bytes))
	hostSetBuffer(which, 0, length, at, size)
}

func property(path string) string {
	var out, outSize uint32
	at, size := text(path)
	if hostGetProperty(at, size, &out, &outSize) != 0 {
		return "nil"
	}
	return string(taken(out, outSize))
}
