//! gRPC calls and streams, through the SDK. What came is told in the header `x-told`, or in the log where
//! there is none to write any more.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, MapType, Status};

use crate::imports::pairs;

const SERVICE: &str = "test.Echo";

#[link(wasm_import_module = "env")]
extern "C" {
    fn proxy_grpc_call(
        target: *const u8,
        target_size: usize,
        service: *const u8,
        service_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        message: *const u8,
        message_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> i32;
}

/// By the import: the SDK panics at a refusal. A token that it does not know it passes over.
fn call(target: &[u8], method: &str, timeout: u32) -> i32 {
    let (metadata, message, mut token) = (pairs(&[("x-ask", "1")]), "hi", 0);
    // SAFETY: the host reads texts of ours and writes one number to an address of ours.
    unsafe {
        proxy_grpc_call(
            target.as_ptr(),
            target.len(),
            SERVICE.as_ptr(),
            SERVICE.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout,
            &mut token,
        )
    }
}

pub fn probe() -> i32 {
    call(b"side", "Echo", 1000)
}

pub fn say(of: &str, what: &str) {
    let _ = hostcalls::log(LogLevel::Info, &format!("case grpc: {of}: {what}"));
}

/// How a call ended, in one line.
pub fn told(context: &dyn Context, status: u32, size: usize) -> String {
    let message = context.get_grpc_call_response_body(0, size).filter(|_| status == 0).unwrap_or_default();
    let (_, text) = hostcalls::get_grpc_status().unwrap_or_default();
    let message = match message.len() {
        0..=200 => String::from_utf8_lossy(&message).into_owned(),
        size => format!("{size} bytes"),
    };
    format!("{status} {message}{}", text.unwrap_or_default())
}

/// What the plugin context does.
pub fn tick() {
    let metadata = vec![("x-ask", &b"1"[..])];
    let timeout = Duration::from_secs(5);
    if let Err(status) = hostcalls::dispatch_grpc_call("side", SERVICE, "Echo", metadata, Some(b"hi"), timeout) {
        say("tick", &format!("refused {}", status as i32));
    }
}

/// `how`: `call`, a stream's name, or `log`.
pub struct Calls {
    how: String,
    token: u32,
    messages: u32,
    told: Vec<String>,
}

impl Calls {
    pub fn new(how: String) -> Calls {
        Calls { how, token: 0, messages: 0, told: Vec::new() }
    }

    fn call(&mut self) -> Action {
        let header = |name: &str| self.get_http_request_header(name);
        let method = header("x-method").unwrap_or_default();
        let timeout = header("x-timeout").and_then(|millis| millis.parse().ok()).unwrap_or(5000);
        let target = match header("x-target") {
            // An `envoy_grpc` of that cluster.
            Some(name) if header("x-proto").is_some() => {
                [&[0x0a, name.len() as u8 + 2, 0x0a, name.len() as u8], name.as_bytes()].concat()
            }
            Some(name) => name.into_bytes(),
            None => b"side".to_vec(),
        };
        if target != b"side" {
            let code = call(&target, &method, timeout);
            self.told.push(format!("code {code}"));
            return self.go_on();
        }
        let size = header("x-size").and_then(|size| size.parse().ok());
        let message = match (size, header("x-message")) {
            (Some(size), _) => vec![b'x'; size],
            (None, Some(text)) => text.into_bytes(),
            (None, None) => b"hi".to_vec(),
        };
        let metadata = vec![("x-ask", &b"1"[..])];
        let timeout = Duration::from_millis(timeout.into());
        match self.dispatch_grpc_call("side", SERVICE, &method, metadata, Some(&message), timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                self.told.push(format!("code {}", status as i32));
                self.go_on()
            }
        }
    }

    fn go_on(&mut self) -> Action {
        let map = if self.how == "response" { MapType::HttpResponseHeaders } else { MapType::HttpRequestHeaders };
        let _ = hostcalls::set_map_value(map, "x-told", Some(&self.told.join("|")));
        Action::Continue
    }

    fn end(&mut self) {
        self.go_on();
        if self.how == "response" {
            self.resume_http_response();
        } else {
            self.resume_http_request();
        }
    }

    fn open(&mut self, method: &str) {
        let metadata = vec![("x-ask", &b"1"[..])];
        self.token = self.open_grpc_stream("side", SERVICE, method, metadata).expect("it is granted");
    }

    fn send(&self, message: &[u8], end: bool) -> Result<(), Status> {
        hostcalls::send_grpc_stream_message(self.token, Some(message), end)
    }

    /// Sends until it is refused: nobody reads it.
    fn send_all(&mut self) -> Action {
        let piece = vec![b'x'; 64 << 10];
        for sent in 0..1000 {
            if let Err(status) = self.send(&piece, false) {
                self.told.push(format!("refused {} after {sent}", status as i32));
                break;
            }
        }
        self.told.push(format!("{:?}", hostcalls::cancel_grpc_stream(self.token).is_ok()));
        self.told.push(format!("{:?}", hostcalls::cancel_grpc_stream(self.token).err()));
        self.go_on()
    }
}

impl Context for Calls {
    fn on_grpc_call_response(&mut self, _: u32, status: u32, size: usize) {
        let told = told(self, status, size);
        if self.how == "log" {
            return say("log", &told);
        }
        self.told.push(told);
        self.end();
    }

    fn on_grpc_stream_initial_metadata(&mut self, _: u32, _: u32) {
        let first = self.get_grpc_stream_initial_metadata_value("x-first").unwrap_or_default();
        self.told.push(format!("first {}", String::from_utf8_lossy(&first)));
    }

    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let message = self.get_grpc_stream_message(0, size).unwrap_or_default();
        self.messages += 1;
        if self.how != "flood" {
            self.told.push(String::from_utf8_lossy(&message).into_owned());
        }
        match (self.how.as_str(), self.messages) {
            ("chat" | "break", 1) => self.send(b"two", true).expect("the stream is open"),
            ("close", 1) => self.close_grpc_stream(token),
            ("cancel", 1) | ("flood", 1000) => {
                self.cancel_grpc_stream(token);
                self.told.push("cancelled".to_owned());
                self.end();
            }
            ("cancel" | "flood", n) if n > 1 && self.how == "cancel" || n > 1000 => say("late", "a message"),
            _ => {}
        }
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _: u32, count: u32) {
        let last = self.get_grpc_stream_trailing_metadata_value("x-count").unwrap_or_default();
        self.told.push(format!("last {} {}", count > 0, String::from_utf8_lossy(&last)));
    }

    fn on_grpc_stream_close(&mut self, _: u32, status: u32) {
        let (_, text) = hostcalls::get_grpc_status().unwrap_or_default();
        self.told.push(format!("closed {status} {}", text.unwrap_or_default()));
        if matches!(self.how.as_str(), "cancel" | "flood") {
            say("late", "a close");
        }
        self.end();
    }
}

impl HttpContext for Calls {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.how.clone().as_str() {
            "call" => return self.call(),
            "chat" | "close" | "cancel" => {
                self.open("Chat");
                self.send(b"one", false).expect("the stream is open");
            }
            "break" => {
                self.open("Break");
                self.send(b"one", false).expect("the stream is open");
            }
            "only" => {
                self.open("Only");
                self.send(b"one", true).expect("the stream is open");
            }
            "abandon" => {
                self.open("Chat");
                self.send(b"one", false).expect("the stream is open");
                return Action::Continue;
            }
            "flood" => {
                self.open("Flood");
                self.send(b"go", true).expect("the stream is open");
            }
            "upload" => {
                self.open("Sum");
                for left in (0..10).rev() {
                    self.send(&[b'x'; 64 << 10], left == 0).expect("the stream is open");
                }
            }
            "deaf" => {
                self.open("Deaf");
                return self.send_all();
            }
            _ => return Action::Continue,
        }
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.how == "response" { self.call() } else { Action::Continue }
    }

    fn on_log(&mut self) {
        if self.how == "log" {
            let metadata = vec![("x-ask", &b"1"[..])];
            let timeout = Duration::from_secs(5);
            let _ = self.dispatch_grpc_call("side", SERVICE, "Echo", metadata, Some(b"hi"), timeout);
        }
    }
}
