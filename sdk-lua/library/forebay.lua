---@meta
-- Types of everything under `forebay`, for LuaLS. A test holds this file against the table of
-- hostcalls. One file, past 400 lines, as it is the page of one global, whose functions share the
-- types of what they take and give.

---A refusal: what was asked is not possible here, and why.
---@class ForebayError
---@field code
---| '"PHASE_DENIED"'
---| '"CAPABILITY_DENIED"'
---| '"LIMIT_EXCEEDED"'
---| '"BAD_ARGUMENT"'
---| '"NOT_FOUND"'
---| '"CAS_MISMATCH"'
---| '"TIMEOUT"'
---| '"UNAVAILABLE"'
---| '"INTERNAL_FAILURE"'
---@field message string

---@class ForebayResponse
---@field status integer
---@field headers table<string, string> names in lower case, repeated ones joined with ", "
---@field body string

---@class ForebayRequest
---@field method? string GET if left out
---@field path? string "/" if left out
---@field authority? string the target's name if left out
---@field headers? table<string, string|number|ForebaySecret|(string|number|ForebaySecret)[]>
---@field body? string
---@field trailers? table<string, string|number|(string|number)[]>

---@class ForebayCallOptions
---@field timeout? number seconds, connecting and every try included
---@field retry? integer how often an idempotent request may be sent again, up to 10

---@class ForebayCall
---@field [1] string target
---@field [2]? ForebayRequest
---@field [3]? ForebayCallOptions

---@class forebay
forebay = {}
forebay.request = {}
forebay.response = {}
forebay.http = {}
forebay.origin = {}
forebay.scale = {}
forebay.property = {}
forebay.ctx = {}
forebay.metric = {}
forebay.log = {}
forebay.limits = {}
forebay.trace = {}
forebay.timer = {}
forebay.abi = {}

forebay.request.headers = {}

---The first value of a header of the request, or nil.
---@param name string matched without case
---@return string? value
---@return ForebayError? why
function forebay.request.headers.get(name) end

---Every value of a header of the request, in order.
---@param name string
---@return string[]? values
---@return ForebayError? why
function forebay.request.headers.get_all(name) end

---Iterates over every header of the request, in order.
---@return (fun(): string?, string?)? iterator
---@return ForebayError? why
function forebay.request.headers.pairs() end

---Replaces all values by one.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.request.headers.set(name, value) end

---Adds a value beside those there are.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.request.headers.add(name, value) end

---@param name string
---@return true? ok
---@return ForebayError? why
function forebay.request.headers.remove(name) end

forebay.request.trailers = {}

---The first value of a trailer of the request, or nil.
---@param name string matched without case
---@return string? value
---@return ForebayError? why
function forebay.request.trailers.get(name) end

---Every value of a trailer of the request, in order.
---@param name string
---@return string[]? values
---@return ForebayError? why
function forebay.request.trailers.get_all(name) end

---Iterates over every trailer of the request, in order.
---@return (fun(): string?, string?)? iterator
---@return ForebayError? why
function forebay.request.trailers.pairs() end

---Replaces all values by one.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.request.trailers.set(name, value) end

---Adds a value beside those there are.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.request.trailers.add(name, value) end

---@param name string
---@return true? ok
---@return ForebayError? why
function forebay.request.trailers.remove(name) end

---The whole body. Waits until all of it is there.
---@return string? body
---@return ForebayError? why
function forebay.request.body() end

---The bytes of the body that are looked at now.
---@return string? bytes
---@return ForebayError? why
function forebay.request.chunk() end

---Iterates over the chunks of the body: each goes on, as `set_body` left it, when the next is asked for.
---@return (fun(): string?)? iterator
---@return ForebayError? why
function forebay.request.body_chunks() end

---Replaces what is looked at.
---@param bytes string
---@return true? ok
---@return ForebayError? why
function forebay.request.set_body(bytes) end

forebay.response.headers = {}

---The first value of a header of the response, or nil.
---@param name string matched without case
---@return string? value
---@return ForebayError? why
function forebay.response.headers.get(name) end

---Every value of a header of the response, in order.
---@param name string
---@return string[]? values
---@return ForebayError? why
function forebay.response.headers.get_all(name) end

---Iterates over every header of the response, in order.
---@return (fun(): string?, string?)? iterator
---@return ForebayError? why
function forebay.response.headers.pairs() end

---Replaces all values by one.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.response.headers.set(name, value) end

---Adds a value beside those there are.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.response.headers.add(name, value) end

---@param name string
---@return true? ok
---@return ForebayError? why
function forebay.response.headers.remove(name) end

forebay.response.trailers = {}

---The first value of a trailer of the response, or nil.
---@param name string matched without case
---@return string? value
---@return ForebayError? why
function forebay.response.trailers.get(name) end

---Every value of a trailer of the response, in order.
---@param name string
---@return string[]? values
---@return ForebayError? why
function forebay.response.trailers.get_all(name) end

---Iterates over every trailer of the response, in order.
---@return (fun(): string?, string?)? iterator
---@return ForebayError? why
function forebay.response.trailers.pairs() end

---Replaces all values by one.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.response.trailers.set(name, value) end

---Adds a value beside those there are.
---@param name string
---@param value string|number
---@return true? ok
---@return ForebayError? why
function forebay.response.trailers.add(name, value) end

---@param name string
---@return true? ok
---@return ForebayError? why
function forebay.response.trailers.remove(name) end

---The whole body. Waits until all of it is there.
---@return string? body
---@return ForebayError? why
function forebay.response.body() end

---The bytes of the body that are looked at now.
---@return string? bytes
---@return ForebayError? why
function forebay.response.chunk() end

---Iterates over the chunks of the body: each goes on, as `set_body` left it, when the next is asked for.
---@return (fun(): string?)? iterator
---@return ForebayError? why
function forebay.response.body_chunks() end

---Replaces what is looked at.
---@param bytes string
---@return true? ok
---@return ForebayError? why
function forebay.response.set_body(bytes) end

---Answers the client from here. Does not return, unless it is refused.
---@param status integer
---@param headers? table<string, string|number|(string|number)[]>
---@param body? string
---@return nil
---@return ForebayError why
function forebay.respond(status, headers, body) end

---@class ForebayEvent
---@field event? string
---@field data? string
---@field id? string
---@field retry? integer milliseconds

---Replaces the server-sent event that is told now; nil drops it.
---@param event ForebayEvent?
---@return true? ok
---@return ForebayError? why
function forebay.response.set_event(event) end

---Ends the callback as if it had returned: its side goes on. Does not return, unless it is refused.
---@return nil
---@return ForebayError why
function forebay.continue() end

---Ends the exchange without an answer. Does not return, unless it is refused.
---@return nil
---@return ForebayError why
function forebay.close() end

---Sends a request to a pool or a named target and waits for the response.
---@param target string
---@param request? ForebayRequest
---@param options? ForebayCallOptions
---@return ForebayResponse? response
---@return ForebayError? why
function forebay.http.call(target, request, options) end

---Sends the request to another pool; in the request phase, or in `on_origin_select`.
---@param pool string
---@return true? ok
---@return ForebayError? why
function forebay.origin.set_pool(pool) end

---Gives the next attempt to this origin of the chosen pool.
---@param address string IP:PORT
---@return true? ok
---@return ForebayError? why
function forebay.origin.set_host(address) end

---Keeps this exchange from an origin, in all its attempts.
---@param address string IP:PORT
---@return true? ok
---@return ForebayError? why
function forebay.origin.exclude(address) end

---@class ForebayPicked
---@field address string
---@field pool string
---@field attempt integer

---Who got the latest attempt; nil if nobody.
---@return ForebayPicked? picked
---@return ForebayError? why
function forebay.origin.get() end

---@class ForebayOrigin
---@field address string
---@field stage "booting"|"warming"|"serving"|"draining"
---@field healthy boolean
---@field share number its part of what a full origin gets
---@field in_flight integer
---@field requests integer
---@field latency? number seconds to the first byte, a moving mean

---How the origins of a pool stand, as this edge sees it.
---@param pool? string the chosen one if left out
---@return ForebayOrigin[]? origins
---@return ForebayError? why
function forebay.origin.stats(pool) end
---Sends several requests at once and waits for all: an answer or an error for each, in order.
---@param calls ForebayCall[]
---@return (ForebayResponse|ForebayError)[]? results an answer has a `status`, an error a `code`
---@return ForebayError? why
function forebay.http.call_all(calls) end

---@class ForebayGrpcRequest
---@field service string with its package: `shop.v1.Stock`
---@field method string
---@field message? string bytes
---@field metadata? table<string, string|number|ForebaySecret|(string|number)[]>
---@field timeout? number seconds

---@class ForebayGrpcAnswer
---@field status integer gRPC's own: 0 is well
---@field message string empty unless the status is 0
---@field text? string what is said of a status that is not 0

---Sends one message to a gRPC method and waits for the one that comes back.
---@param target string a pool or target with `http2: true`
---@param request ForebayGrpcRequest
---@return ForebayGrpcAnswer? answer
---@return ForebayError? why
function forebay.grpc.call(target, request) end

---Says what is coming to a pool, for its scaling to weigh.
---@param pool string
---@param kind "demand"|"cost"|"prewarm"|"hold"
---@param value number requests a second, requests, origins, or 1; 0 takes back
---@param ttl? number seconds that it stands; a cost needs none
---@param options? {due?: number} seconds until it is needed
---@return true? ok
---@return ForebayError? why
function forebay.scale.hint(pool, kind, value, ttl, options) end

---What the pool's scaling sees: the table that `autoscale` gets.
---@return ForebayMetrics? metrics
---@return ForebayError? why
function forebay.scale.view() end

---Proposes so many origins; what is said again stands in place of what was said.
---@param origins number a fraction counts as one more
---@param because? string
---@return true? ok
---@return ForebayError? why
function forebay.scale.propose(origins, because) end

---What a policy looks at. What is unknown is nil.
---@class ForebayMetrics
---@field now number seconds since 1970
---@field pool string
---@field origins {desired: integer, floor: integer, ceiling: integer, booting: integer, warming: integer, serving: integer, draining: integer, warm: integer}
---@field lead number seconds from a decision to capacity that serves
---@field window number seconds that the rates are means of
---@field requests_per_second? number
---@field rejects_per_second? number
---@field errors_per_second? number
---@field in_flight? integer
---@field edges {fresh: integer, missing: integer}
---@field series ForebayStep[] the latest ten minutes in steps of 15 s, oldest first
---@field signals? table<string, {source: string, value?: number, per_origin: number, origins?: number}>
---@field schedule? {floor?: integer, ceiling?: integer, target?: number, multiply?: number}
---@field forecast? {level: number, quantiles: {quantile: number, demand: number}[], horizon_seconds: number, gate_open: boolean, way: string, rules: integer}
---@field proposals {source: string, rule?: string, origins?: integer, because: string}[]

---@class ForebayStep
---@field at integer when it began, seconds since 1970
---@field requests_per_second number
---@field rejects_per_second number
---@field errors_per_second number
---@field covered number what part of it was reported, 0 to 1
---@field origins {booting: integer, warming: integer, serving: integer, draining: integer, warm: integer}

---A fact about the exchange, by proxy-wasm's attribute path: `request.path`.
---@param path string
---@return string|number|boolean|table<string, string>|nil value
---@return ForebayError? why
function forebay.property.get(path) end

---A value of this exchange: the plugin's own, else one that an earlier plugin shared.
---@param key string
---@return any value
---@return ForebayError? why
function forebay.ctx.get(key) end

---@param key string
---@param value any a string if it is shared
---@param options? {shared?: boolean} whether later plugins get it too
---@return true? ok
---@return ForebayError? why
function forebay.ctx.set(key, value, options) end

---@class ForebayDict
local ForebayDict = {}

---A dictionary that all workers share.
---@param name string
---@return ForebayDict
function forebay.dict(name) end

---@param key string
---@return string? value
---@return integer|ForebayError|nil version for `set` and `cas`
function ForebayDict:get(key) end

---Writes; with a version only if the value still has it (else `CAS_MISMATCH`).
---@param key string
---@param value string|number|nil nil deletes
---@param options? {ttl?: number, version?: integer} seconds that it stays; for good if left out
---@return true? ok
---@return ForebayError? why
function ForebayDict:set(key, value, options) end

---Writes if nothing is there (else `CAS_MISMATCH`).
---@param key string
---@param value string|number
---@param options? {ttl?: number} seconds
---@return true? ok
---@return ForebayError? why
function ForebayDict:add(key, value, options) end

---Adds to a whole number, which is kept as decimal text.
---@param key string
---@param by? integer 1 if left out
---@param options? {init?: integer, ttl?: number} what `by` is added to where nothing is (0), and how long a new number stays
---@return integer? number as it is then
---@return ForebayError? why
function ForebayDict:incr(key, by, options) end

---@param key string
---@return true? ok also if nothing was there
---@return ForebayError? why
function ForebayDict:delete(key) end

---Writes if the value still has this version (else `CAS_MISMATCH`).
---@param key string
---@param value string|number
---@param version integer of `get`
---@param options? {ttl?: number} seconds
---@return true? ok
---@return ForebayError? why
function ForebayDict:cas(key, value, version, options) end

---@class ForebayQueue
local ForebayQueue = {}

---A queue of bytes that all workers share.
---@param name string
---@return ForebayQueue
function forebay.queue(name) end

---@param item string|number
---@return true? ok
---@return ForebayError? why `LIMIT_EXCEEDED` if it is full
function ForebayQueue:push(item) end

---@return string? item the oldest, nil if there is none
---@return ForebayError? why
function ForebayQueue:pop() end

---@class ForebayTaken
---@field allowed boolean
---@field remaining integer whole tokens that are there now
---@field retry_after number seconds until the same would be allowed; 0 if it was

---Takes tokens if they are there.
---@param bucket string
---@param key? string|number one for all if left out
---@param cost? integer 1 if left out; 0 looks and takes nothing
---@return ForebayTaken? taken
---@return ForebayError? why
function forebay.limit.take(bucket, key, cost) end

---@class ForebayLease
local ForebayLease = {}
---@param n integer what was really used
---@return true? ok
---@return ForebayError? why
function ForebayLease:commit(n) end
---Gives all back.
---@return true? ok
---@return ForebayError? why
function ForebayLease:release() end

---Takes tokens whose use is settled later. A lease that is open when the exchange ends counts as
---committed as it was reserved.
---@param bucket string
---@param n integer
---@param key? string|number one for all if left out
---@return ForebayLease? lease
---@return ForebayError? why `LIMIT_EXCEEDED` says when to try again
function forebay.tokens.reserve(bucket, n, key) end

---The same as `lease:commit(n)`.
---@param lease ForebayLease
---@param n integer
---@return true? ok
---@return ForebayError? why
function forebay.lease.commit(lease, n) end

---The same as `lease:release()`.
---@param lease ForebayLease
---@return true? ok
---@return ForebayError? why
function forebay.lease.release(lease) end

---@class ForebayKv
local ForebayKv = {}

---A key-value store of the region, granted as `kv:<name>`. Its calls wait for the store.
---@param name string
---@return ForebayKv
function forebay.kv(name) end

---@param key string
---@return string? value nil without `why`: there is no such key
---@return ForebayError? why
function ForebayKv:get(key) end

---@param key string
---@param value string|number
---@param options? { ttl?: number } seconds; the key stays until it is deleted if left out
---@return true? ok
---@return ForebayError? why
function ForebayKv:set(key, value, options) end

---Adds to the number that the key holds, 0 if there is none.
---@param key string
---@param by? integer 1 if left out
---@param options? { ttl?: number } seconds, given to a key that has none
---@return integer? number what it is then
---@return ForebayError? why
function ForebayKv:incr(key, by, options) end

---@param key string
---@return boolean? was whether there was such a key
---@return ForebayError? why
function ForebayKv:delete(key) end

---Runs a script of Redis' Lua on the server, if the store takes scripts.
---@param script string
---@param keys? string[] `KEYS`
---@param args? (string|number)[] `ARGV`
---@return any result numbers, strings, and lists of them; nil inside a list is false
---@return ForebayError? why
function ForebayKv:eval(script, keys, args) end

---@class ForebayCounter
local ForebayCounter = {}
---@param n? integer 1 if left out
---@return true? ok
---@return ForebayError? why
function ForebayCounter:increment(n) end
---@return integer? value
---@return ForebayError? why
function ForebayCounter:get() end

---@class ForebayGauge
local ForebayGauge = {}
---@param n integer
---@return true? ok
---@return ForebayError? why
function ForebayGauge:set(n) end
---@param n? integer 1 if left out
---@return true? ok
---@return ForebayError? why
function ForebayGauge:increment(n) end
---@return integer? value
---@return ForebayError? why
function ForebayGauge:get() end

---@class ForebayHistogram
local ForebayHistogram = {}
---@param n integer
---@return true? ok
---@return ForebayError? why
function ForebayHistogram:record(n) end

---@param name string
---@param labels? table<string, string|number|boolean> each set of values is a series
---@return ForebayCounter? counter
---@return ForebayError? why
function forebay.metric.counter(name, labels) end

---@param name string
---@param labels? table<string, string|number|boolean> each set of values is a series
---@return ForebayGauge? gauge
---@return ForebayError? why
function forebay.metric.gauge(name, labels) end

---@param name string
---@param labels? table<string, string|number|boolean> each set of values is a series
---@return ForebayHistogram? histogram
---@return ForebayError? why
function forebay.metric.histogram(name, labels) end

---A span that goes on.
---@class ForebaySpan
local ForebaySpan = {}

---@param key string
---@param value string|number|boolean
---@return true? ok
---@return ForebayError? why
function ForebaySpan:set(key, value) end

---@return true? ok
---@return ForebayError? why
function ForebaySpan:finish() end

---Begins a span of the exchange's trace.
---@param name string
---@return ForebaySpan? span
---@return ForebayError? why
function forebay.trace.span(name) end

---@class ForebayRemaining seconds, bytes, counts
---@field cpu? number of this callback
---@field exchange_cpu? number
---@field start_cpu? number while the plugin starts
---@field background_cpu? number of this second, in the background
---@field wall? number of waiting, in this phase
---@field memory number
---@field buffer? number
---@field callouts? number
---@field kv_calls? number
---@field log_lines number
---@field metrics number

---What is left now of each limit.
---@return ForebayRemaining? left
---@return ForebayError? why
function forebay.limits.remaining() end

---A value that can be used and not read: in the headers of `http.call`, alone or behind a text.
---@class ForebaySecret
---@operator concat(string): ForebaySecret
local ForebaySecret = {}

---The HMAC of `data` keyed by the secret, as bytes.
---@param algorithm '"sha256"'|'"sha384"'|'"sha512"'
---@param data string
---@return string? digest
---@return ForebayError? why
function ForebaySecret:hmac(algorithm, data) end

---@param name string granted as `secret:<name>`
---@return ForebaySecret? secret
---@return ForebayError? why
function forebay.secret(name) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.trace(message, fields) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.debug(message, fields) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.info(message, fields) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.warn(message, fields) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.error(message, fields) end

---@param message any
---@param fields? table<string, string|number|boolean> up to 16
function forebay.log.critical(message, fields) end

---Seconds since 1970.
---@return number seconds
function forebay.now() end

---@param seconds number
---@return true? ok
---@return ForebayError? why
function forebay.sleep(seconds) end

---Has `on_tick` called in this period; 0 stops it.
---@param seconds number
---@return true? ok
---@return ForebayError? why
function forebay.timer.every(seconds) end

---@return integer version
function forebay.abi.version() end

---Whether there is a hostcall of this name, in Lua or in Wasm.
---@param name string
---@return boolean
function forebay.abi.has(name) end

---What a plugin's file returns.
---@class ForebayPlugin
---@field on_vm_start? fun(config: any): boolean?, string?
---@field on_configure? fun(config: any): boolean?, string?
---@field on_request_headers? fun(end_of_stream: boolean)
---@field on_request_body? fun(size: integer, end_of_stream: boolean)
---@field on_request_trailers? fun()
---@field on_origin_select? fun(pool: string, attempt: integer)
---@field on_response_headers? fun(end_of_stream: boolean)
---@field on_response_body? fun(size: integer, end_of_stream: boolean)
---@field on_response_trailers? fun()
---@field on_response_event? fun(event: ForebayEvent)
---@field on_done? fun()
---@field on_drain? fun(seconds: number)
---@field autoscale? fun(metrics: ForebayMetrics): number|{origins: number, because?: string}|nil, string?
---@field on_log? fun()
---@field on_tick? fun()
