//! What uses up limits, and what is left of them.

use std::time::Duration;

use forebay_sdk::time;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::{forebay_limits_remaining, forebay_metric_define};
use crate::packed::Pack;

pub struct Limits {
    pub how: String,
    pub count: u32,
    callouts: u32,
}

/// Work of about so many milliseconds on a quick machine, and more on others.
pub fn spin(milliseconds: u32) {
    let mut n = 0u64;
    for _ in 0..u64::from(milliseconds) * 1_500_000 {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// Waits so many times in a row, with work before each or not; then the request goes on.
fn wait(times: u32, works: bool, each: Duration) -> Action {
    if works {
        spin(4);
    }
    let slept = time::sleep(each).then(move |_| {
        if times == 1 || wait(times - 1, works, each) == Action::Continue {
            let _ = hostcalls::resume_http_request();
        }
    });
    if slept.is_ok() { Action::Pause } else { Action::Continue }
}

fn left(name: &str) -> f64 {
    let (status, results) = Pack::default().ask(forebay_limits_remaining);
    assert_eq!(status, 0);
    let mut rest = &results[4..];
    while !rest.is_empty() {
        let (size, more) = rest.split_at(4);
        let (known, more) = more.split_at(u32::from_le_bytes(size.try_into().unwrap()) as usize);
        let (value, more) = more.split_at(8);
        if known == name.as_bytes() {
            return f64::from_le_bytes(value.try_into().unwrap());
        }
        rest = more;
    }
    f64::NAN
}

impl Limits {
    pub fn new(how: String, count: u32) -> Limits {
        Limits { how, count, callouts: 0 }
    }

    fn tell(&self, name: &str, value: f64) {
        self.set_http_request_header(name, Some(&value.to_string()));
    }

    fn call(&self) -> Action {
        let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "side.test")];
        match self.dispatch_http_call("side", headers, None, vec![], Duration::from_secs(5)) {
            Ok(_) => Action::Pause,
            Err(_) => Action::Continue,
        }
    }
}

impl Context for Limits {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        if self.how == "tell" {
            self.tell("x-callouts-after", left("callouts"));
        } else if self.callouts < self.count {
            self.callouts += 1;
            if self.call() == Action::Pause {
                return;
            }
        }
        self.resume_http_request();
    }
}

impl HttpContext for Limits {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.how.as_str() {
            "tell" => {
                let names =
                    ["cpu", "exchange_cpu", "wall", "memory", "buffer", "callouts", "log_lines", "metrics"];
                for name in names {
                    self.tell(&format!("x-{}", name.replace('_', "-")), left(name));
                }
                spin(20);
                self.tell("x-cpu-after", left("cpu"));
                spin(20);
                self.tell("x-cpu-last", left("cpu"));
                let _ = hostcalls::log(LogLevel::Info, "one line");
                self.tell("x-log-lines-after", left("log_lines"));
                return self.call();
            }
            "spin" => spin(self.count),
            "memory" => drop(std::hint::black_box(vec![7u8; self.count as usize * 1048576])),
            "callouts" => {
                self.callouts = 1;
                return self.call();
            }
            "lines" => {
                for n in 1..=self.count {
                    let _ = hostcalls::log(LogLevel::Info, &format!("line {n}"));
                }
            }
            "series" => {
                for n in 1..=self.count {
                    let name = Pack::default().u32(0).text("series_total").u32(1);
                    name.text("n").text(n.to_string()).ask(forebay_metric_define);
                }
            }
            "waits" => return wait(self.count, true, Duration::from_millis(1)),
            "sleeps" => return wait(self.count, false, Duration::from_millis(50)),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, _: usize, end: bool) -> Action {
        if self.how == "buffer" && !end { Action::Pause } else { Action::Continue }
    }

    fn on_http_response_body(&mut self, _: usize, _: bool) -> Action {
        if self.how == "chunks" {
            spin(4);
        }
        Action::Continue
    }
}
