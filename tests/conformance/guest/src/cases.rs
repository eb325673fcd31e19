//! One behaviour for each group of hostcalls, through the SDK.

use std::time::{Duration, UNIX_EPOCH};

use forebay_sdk::callout::{self, Callout};
use forebay_sdk::event::{self, Event};
use forebay_sdk::packed::Refusal;
use forebay_sdk::time;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, MapType, MetricType, Status};

use crate::packed::{self, Pack};
use crate::{imports, state};

pub struct Case {
    name: String,
    argument: String,
}

/// What a tick leaves behind.
pub fn tick() {
    let _ = hostcalls::log(LogLevel::Info, "case timer_every: tick");
}

/// Every server-sent event that names one of these: replaced, dropped, held for a while.
pub fn event(event: Event) -> Action {
    match event.event.as_deref() {
        Some(b"upper") => {
            let data = event.data.to_ascii_uppercase();
            let _ = event::set(&Event { event: Some(b"uppered".to_vec()), data, ..event });
        }
        Some(b"drop") => drop(event::discard()),
        Some(b"sleep") => {
            let then = move |_| {
                let _ = event::set(&Event { data: b"slept".to_vec(), ..Event::default() });
                let _ = hostcalls::resume_http_response();
            };
            if time::sleep(Duration::from_millis(20)).then(then).is_ok() {
                return Action::Pause;
            }
        }
        _ => {}
    }
    Action::Continue
}

/// What a drain leaves behind; the drain waits for the second line.
pub fn drain(left: u32) {
    say(&format!("case drain: {left} s left"));
    let _ = time::sleep(Duration::from_millis(100)).then(|_| say("case drain: done"));
}

impl Case {
    pub fn new(name: String, argument: String) -> Case {
        Case { name, argument }
    }

    /// What the four header cases do with a map whose headers begin with `letter`.
    fn headers(&self, map: MapType, letter: char) {
        let name = |rest: &str| format!("{letter}-{rest}");
        let get = |map, name: &str| hostcalls::get_map_value(map, name).ok().flatten();
        let all = hostcalls::get_map(map).unwrap_or_default();
        let many: Vec<_> = all.iter().filter(|(n, _)| *n == name("many")).map(|(_, v)| v.as_str()).collect();
        let listed = [name("in"), name("many"), name("gone")];
        let pairs: Vec<_> = all.iter().filter(|(n, _)| listed.contains(n)).map(|(n, v)| format!("{n}={v}")).collect();
        let got = get(map, &name("in").to_uppercase()).unwrap_or_else(|| "nil".to_owned());
        let missing = get(map, &name("none")).unwrap_or_else(|| "nil".to_owned());
        let set = |rest: &str, value: &str| hostcalls::set_map_value(map, &name(rest), Some(value));
        let _ = set("got", &got);
        let _ = set("missing", &missing);
        let _ = set("all", &many.join("|"));
        let _ = set("pairs", &pairs.join(";"));
        let _ = set("in", "replaced");
        let _ = hostcalls::add_map_value(map, &name("many"), "three");
        let _ = hostcalls::set_map_value(map, &name("gone"), None);
    }

    fn tell(&self, name: &str, value: &str) {
        self.set_http_request_header(name, Some(value));
    }

    fn property(&self, path: &[&str]) -> String {
        self.get_property(path.to_vec()).map_or("nil".to_owned(), |v| String::from_utf8_lossy(&v).into_owned())
    }

    fn dict(&self) {
        let (value, version) = self.get_shared_data(&self.argument);
        let seen = value.map_or("nil".to_owned(), |v| String::from_utf8_lossy(&v).into_owned());
        let next = seen.parse::<u32>().unwrap_or(0) + 1;
        let first = hostcalls::set_shared_data(&self.argument, Some(next.to_string().as_bytes()), version);
        // The version has moved on: a second write with it must not go through.
        let stale = match version {
            Some(_) => hostcalls::set_shared_data(&self.argument, Some(b"lost"), version),
            None => Err(Status::CasMismatch),
        };
        self.tell("x-seen", &seen);
        self.tell("x-first", if first.is_ok() { "ok" } else { "refused" });
        self.tell("x-stale", if stale.is_ok() { "ok" } else { "refused" });
    }

    /// Tells in a header what each of several callouts has brought.
    fn call_all(&self) -> Action {
        let side = |path| Callout::get("side", path).timeout(Duration::from_secs(5));
        let put = Callout { method: "PUT".into(), body: b"hi".to_vec(), ..side("/b") };
        let all = [side("/a"), Callout::get("other", "/"), put.retry(2), side("/broken")];
        let started = callout::call_all(&all).then(|results| {
            let text = |result: Result<callout::Response, Refusal>| match result {
                Ok(answer) => {
                    let header = answer.header("x-answer").unwrap_or(b"nil");
                    [answer.status.to_string().as_bytes(), header, &answer.body].join(&b' ')
                }
                Err(refusal) => refusal.code.to_string().into_bytes(),
            };
            let told: Vec<_> = match results {
                Ok(results) => results.into_iter().map(text).collect(),
                Err(refusal) => vec![refusal.to_string().into_bytes()],
            };
            let told = String::from_utf8_lossy(&told.join(&b'|')).into_owned();
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-told", Some(&told));
            let _ = hostcalls::resume_http_request();
        });
        if started.is_ok() { Action::Pause } else { Action::Continue }
    }

    fn retry(&self) -> Action {
        let method = self.get_http_request_header("x-method").unwrap_or_default();
        let put = Callout { method, body: b"hi".to_vec(), ..Callout::get("side", "/") };
        let started = callout::call(&put.timeout(Duration::from_secs(5)).retry(2)).then(|result| {
            let told = match result {
                Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
                Err(refusal) => refusal.to_string(),
            };
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-told", Some(&told));
            let _ = hostcalls::resume_http_request();
        });
        if started.is_ok() { Action::Pause } else { Action::Continue }
    }

    fn metrics(&self) {
        let define = |kind, name: &str| hostcalls::define_metric(kind, name).expect("the metric is new or known");
        let hits = define(MetricType::Counter, "case_hits_total");
        let level = define(MetricType::Gauge, "case_level");
        let sizes = define(MetricType::Histogram, "case_sizes_bytes");
        let _ = hostcalls::increment_metric(hits, 2);
        let _ = hostcalls::record_metric(level, 7);
        let _ = hostcalls::record_metric(sizes, 300);
    }
}

/// A series of a metric: its number, or why not.
fn series(kind: u32, name: &str, labels: &[(&str, &str)]) -> Result<u32, &'static str> {
    let pack = Pack::default().u32(kind).text(name).u32(labels.len() as u32);
    let pack = labels.iter().fold(pack, |pack, (name, value)| pack.text(name).text(value));
    match pack.ask(imports::forebay_metric_define) {
        (0, number) => Ok(u32::from_le_bytes(number.try_into().expect("a number has four bytes"))),
        (status, _) => Err(packed::name(status)),
    }
}

impl Case {
    fn labels(&self) {
        for (method, by) in [("GET", 1), ("POST", 2)] {
            let hits = series(0, "labelled_total", &[("method", method), ("status", "200")]).expect("a series");
            let _ = hostcalls::increment_metric(hits, by);
        }
        let level = series(1, "labelled_level", &[("side", "left")]).expect("a series");
        let _ = hostcalls::record_metric(level, 7);
        let sizes = series(2, "labelled_bytes", &[("side", "left")]).expect("a series");
        let _ = hostcalls::record_metric(sizes, 300);
        let why = |labels| series(0, "labelled_total", labels).err().unwrap_or("OK");
        self.tell("x-other-names", why(&[("method", "GET")]));
        self.tell("x-bad-name", why(&[("me-thod", "GET")]));
        self.tell("x-own-name", why(&[("plugin", "other")]));
        for n in 0..self.argument.parse().unwrap_or(0) {
            let value = n.to_string();
            self.tell("x-last", series(0, "many_total", &[("n", &value)]).err().unwrap_or("OK"));
        }
    }
}

fn say(line: &str) {
    let _ = hostcalls::log(LogLevel::Info, line);
}

impl Context for Case {
    fn on_done(&mut self) -> bool {
        if self.name == "late" {
            say("case late: done");
        }
        true
    }

    fn on_http_call_response(&mut self, _: u32, _: usize, size: usize, _: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_else(|| "none".to_owned());
        let answer = self.get_http_call_response_header("x-answer").unwrap_or_else(|| "nil".to_owned());
        let body = self.get_http_call_response_body(0, size).unwrap_or_default();
        self.tell("x-status", &status);
        self.tell("x-answer", &answer);
        self.tell("x-body", &String::from_utf8_lossy(&body));
        self.resume_http_request();
    }
}

impl HttpContext for Case {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.name.as_str() {
            "request_headers" => {
                self.headers(MapType::HttpRequestHeaders, 'x');
                let method = self.get_http_request_header(":method").unwrap_or_default();
                self.tell("x-method", &method);
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.tell(":path", &format!("{path}?seen"));
            }
            "respond" => self.send_http_response(403, vec![("x-why", "told"), ("x-why", "twice")], Some(b"no entry")),
            "close" => drop(hostcalls::reset_http_request()),
            "http_call" => {
                let headers =
                    vec![(":method", "POST"), (":path", "/side"), (":authority", "side.test"), ("x-ask", "1")];
                let timeout = Duration::from_millis(self.argument.parse().unwrap_or(5000));
                return match self.dispatch_http_call("side", headers, Some(b"hi"), vec![], timeout) {
                    Ok(_) => Action::Pause,
                    Err(_) => {
                        self.tell("x-status", "refused");
                        Action::Continue
                    }
                };
            }
            "property_get" => {
                for (header, path) in [
                    ("x-p-path", &["request", "path"][..]),
                    ("x-p-method", &["request", "method"]),
                    ("x-p-host", &["request", "host"]),
                    ("x-p-none", &["no", "such"]),
                ] {
                    self.tell(header, &self.property(path));
                }
            }
            "ctx_set" => {
                self.set_property(vec!["greeting"], Some(b"hello"));
            }
            "ctx_get" => {
                self.tell("x-greeting", &self.property(&["greeting"]));
                self.tell("x-nothing", &self.property(&["nothing"]));
            }
            "dict" => self.dict(),
            "dict_calls" => self.tell("x-said", &state::dict_calls()),
            "limit_take" => {
                let key = self.get_http_request_header("x-key").unwrap_or_default();
                self.tell("x-said", &state::limit_take(&key));
            }
            "limit_lease" => {
                let how = self.get_http_request_header("x-how").unwrap_or_default();
                self.tell("x-said", &state::limit_lease(&how));
            }
            "queue_ask" => self.tell("x-said", &state::queue_ask(self.get_http_request_header("x-item"))),
            "dict_many" => self.tell("x-said", &state::dict_many().to_string()),
            "dict_brief" => self.tell("x-said", &state::dict_brief()),
            "metrics" => self.metrics(),
            "labels" => self.labels(),
            "log_fields" => {
                let fields = Pack::default().u32(2).text("case log: who it was").u32(3);
                let fields = fields.text("user").u8(1).text("ann \"the\" one").text("items").u8(2).f64(3.0);
                fields.text("paid").u8(3).u8(1).ask(imports::forebay_log);
            }
            "log" => {
                for (level, word) in [(LogLevel::Debug, "debug"), (LogLevel::Info, "info"), (LogLevel::Warn, "warn")] {
                    let _ = hostcalls::log(level, &format!("case log: a line of {word}"));
                }
            }
            "now" => {
                let now = self.get_current_time().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
                self.tell("x-now", &now.to_string());
            }
            "abi" => {
                self.tell("x-version", &imports::abi_version());
                self.tell("x-has", if imports::abi_has("request.headers.get") { "yes" } else { "no" });
                self.tell("x-has-not", if imports::abi_has("no.such") { "yes" } else { "no" });
            }
            "sleep" => {
                let slept = time::sleep(Duration::from_millis(200)).then(|_| {
                    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-slept", Some("yes"));
                    let _ = hostcalls::resume_http_request();
                });
                return if slept.is_ok() { Action::Pause } else { Action::Continue };
            }
            "call_all" => return self.call_all(),
            "retry" => return self.retry(),
            // It pauses, and goes on all the same.
            "continue" => {
                self.tell("x-before", "yes");
                self.resume_http_request();
                return Action::Pause;
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        match self.name.as_str() {
            "request_body" if !end => return Action::Pause,
            "request_body" => {
                let body = self.get_http_request_body(0, size).unwrap_or_default();
                self.set_http_request_body(0, size, &body.to_ascii_uppercase());
            }
            "request_chunk" | "request_body_chunks" if size > 0 => {
                let chunk = self.get_http_request_body(0, size).unwrap_or_default();
                self.set_http_request_body(0, size, &[b"<", chunk.as_slice(), b">"].concat());
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if self.name == "request_trailers" {
            self.headers(MapType::HttpRequestTrailers, 't');
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        match self.name.as_str() {
            "response_headers" => {
                self.headers(MapType::HttpResponseHeaders, 'y');
                let status = self.get_http_response_header(":status").unwrap_or_default();
                self.set_http_response_header("y-status", Some(&status));
            }
            "respond_late" => self.send_http_response(418, vec![("x-why", "late")], Some(b"another")),
            // The length that the origin gave is no longer that of the body.
            "response_body" | "response_chunk" | "response_body_chunks" => self.set_http_response_header("content-length", None),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        match self.name.as_str() {
            "response_body" if !end => return Action::Pause,
            "response_body" => {
                let body = self.get_http_response_body(0, size).unwrap_or_default();
                self.set_http_response_body(0, size, &body.to_ascii_uppercase());
            }
            "response_chunk" | "response_body_chunks" if size > 0 => {
                let chunk = self.get_http_response_body(0, size).unwrap_or_default();
                self.set_http_response_body(0, size, &[b"<", chunk.as_slice(), b">"].concat());
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.name == "response_trailers" {
            self.headers(MapType::HttpResponseTrailers, 'z');
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        match self.name.as_str() {
            "log" => {
                let status = self.get_http_response_header(":status").unwrap_or_default();
                say(&format!("case log: ended with {status}"));
            }
            "late" => {
                say("case late: log");
                let _ = time::sleep(Duration::from_millis(20)).then(|_| {
                    say("case late: slept");
                    let _ = callout::call_all(&[Callout::get("side", "/late")]).then(|results| {
                        let status = results.map_or(0, |mut all| all.remove(0).map_or(0, |answer| answer.status));
                        let path = hostcalls::get_map_value(MapType::HttpRequestHeaders, ":path").ok().flatten();
                        say(&format!("case late: {status} for {}", path.unwrap_or_default()));
                    });
                });
            }
            _ => {}
        }
    }
}
