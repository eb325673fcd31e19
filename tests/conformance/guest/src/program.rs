//! Runs a program of header and body operations that comes with the request, and logs what each of them
//! answered: `tests/conformance/differential.rs` writes them, and has a plugin in Lua run the same.

use std::cell::RefCell;
use std::ptr::null_mut;
use std::rc::Rc;
use std::time::Duration;

use forebay_sdk::task::AsyncHttpContext;
use forebay_sdk::time;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::{
    proxy_add_header_map_value, proxy_close_stream, proxy_get_buffer_bytes, proxy_get_header_map_pairs,
    proxy_get_header_map_value, proxy_remove_header_map_value, proxy_replace_header_map_value,
    proxy_send_local_response, proxy_set_buffer_bytes,
};

#[derive(Default)]
pub struct Program {
    /// Who asks, and what is to be done in which callback.
    text: RefCell<(String, String)>,
}

/// What an operation comes to.
enum Next {
    Said(String),
    Sleep,
    End(Action),
}

impl AsyncHttpContext for Program {
    async fn on_http_request_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        let header = |name: &str| String::from_utf8(get(0, name.as_bytes()).1).unwrap_or_default();
        self.text.replace((header("x-id"), header("x-program")));
        self.course("Q").await
    }

    fn on_http_request_body(&self, size: usize, end: bool) -> Action {
        self.body("B", size, end)
    }

    fn on_http_request_trailers(&self, _: usize) -> Action {
        self.at_once("T", String::new())
    }

    async fn on_http_response_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        self.course("R").await
    }

    fn on_http_response_body(&self, size: usize, end: bool) -> Action {
        self.body("S", size, end)
    }

    fn on_http_response_trailers(&self, _: usize) -> Action {
        self.at_once("U", String::new())
    }

    async fn on_log(self: Rc<Self>) {
        self.at_once("L", String::new());
    }
}

impl Program {
    /// The operations of one callback, each in words.
    fn operations(&self, callback: &str) -> Vec<Vec<String>> {
        let words = |operation: &str| operation.split('.').map(str::to_owned).collect::<Vec<_>>();
        let all = self.text.borrow().1.split(' ').map(words).collect::<Vec<_>>();
        all.into_iter().filter(|words| words[0] == callback).collect()
    }

    fn tell(&self, callback: &str, said: &str) {
        let line = format!("told {} {callback}{said}.", self.text.borrow().0);
        let _ = hostcalls::log(LogLevel::Info, &line);
    }

    fn body(&self, callback: &str, size: usize, end: bool) -> Action {
        if self.operations(callback).first().is_some_and(|words| words[1] == "whole") {
            if !end {
                return Action::Pause;
            }
            return self.at_once(callback, format!(" {size}"));
        }
        self.at_once(callback, format!(" {size}{}", if end { " end" } else { "" }))
    }

    /// Where nothing may wait.
    fn at_once(&self, callback: &str, mut said: String) -> Action {
        for words in self.operations(callback) {
            match self.step(callback, &words, &said) {
                Next::Said(more) => said.push_str(&more),
                Next::Sleep => said.push_str(" cannot-sleep"),
                Next::End(action) => return action,
            }
        }
        self.tell(callback, &said);
        Action::Continue
    }

    async fn course(&self, callback: &'static str) -> Action {
        let mut said = String::new();
        for words in self.operations(callback) {
            match self.step(callback, &words, &said) {
                Next::Said(more) => said.push_str(&more),
                Next::Sleep => {
                    let slept = match time::sleep(Duration::from_millis(1)).await {
                        Ok(()) => " ok".to_owned(),
                        Err(refusal) => format!(" !{}", refusal.code),
                    };
                    said.push_str(&slept);
                }
                Next::End(action) => return action,
            }
        }
        self.tell(callback, &said);
        Action::Continue
    }

    /// `said` so far: what ends the callback tells it before.
    fn step(&self, callback: &str, words: &[String], said: &str) -> Next {
        let text = |n: usize| words.get(n).map_or(Vec::new(), |word| unwrapped(word));
        let number = |n: usize| String::from_utf8(text(n)).ok().and_then(|text| text.parse().ok()).unwrap_or(0usize);
        let (a, b) = (text(3), text(4));
        let map = number(2) as u32;
        // SAFETY: the host reads texts of ours.
        let code = match words[1].as_str() {
            "get" => return Next::Said(value(get(map, &a))),
            "pairs" => return Next::Said(value(pairs(map))),
            "body" => return Next::Said(value(buffer(map, number(3), number(4)))),
            "set" => unsafe { proxy_replace_header_map_value(map, a.as_ptr(), a.len(), b.as_ptr(), b.len()) },
            "add" => unsafe { proxy_add_header_map_value(map, a.as_ptr(), a.len(), b.as_ptr(), b.len()) },
            "remove" => unsafe { proxy_remove_header_map_value(map, a.as_ptr(), a.len()) },
            "write" => {
                let bytes = text(5);
                unsafe { proxy_set_buffer_bytes(map, number(3), number(4), bytes.as_ptr(), bytes.len()) }
            }
            "respond" => {
                self.tell(callback, &format!("{said} responds"));
                match respond(number(2) as u32, &a, &words[5..], &b) {
                    // Either is the same after an answer.
                    0 => return Next::End(if number(2) % 2 == 0 { Action::Pause } else { Action::Continue }),
                    code => code,
                }
            }
            "close" => {
                self.tell(callback, &format!("{said} closes"));
                match unsafe { proxy_close_stream(0) } {
                    0 => return Next::End(Action::Continue),
                    code => code,
                }
            }
            "continue" => {
                self.tell(callback, &format!("{said} continues"));
                return Next::End(Action::Continue);
            }
            "sleep" => return Next::Sleep,
            _ => return Next::Said(String::new()),
        };
        Next::Said(if code == 0 { " ok".to_owned() } else { format!(" !{code}") })
    }
}

/// A header that comes once for each value.
fn respond(status: u32, name: &[u8], values: &[String], body: &[u8]) -> i32 {
    let values: Vec<_> = values.iter().map(|word| unwrapped(word)).collect();
    let mut headers = (values.len() as u32).to_le_bytes().to_vec();
    for value in &values {
        headers.extend((name.len() as u32).to_le_bytes());
        headers.extend((value.len() as u32).to_le_bytes());
    }
    for value in &values {
        headers.extend([name, &[0], value.as_slice(), &[0]].concat());
    }
    let (at, size) = (headers.as_ptr(), headers.len());
    // SAFETY: the host reads bytes of ours.
    unsafe { proxy_send_local_response(status, null_mut(), 0, body.as_ptr(), body.len(), at, size, -1) }
}

/// What `ask` answers, and the block that it gave.
fn given(ask: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> (i32, Vec<u8>) {
    let (mut at, mut size) = (null_mut::<u8>(), 0);
    let code = ask(&mut at, &mut size);
    if code != 0 || at.is_null() {
        return (code, Vec::new());
    }
    // SAFETY: the block was made by our allocator, with this size.
    (code, unsafe { Vec::from_raw_parts(at, size, size) })
}

fn get(map: u32, name: &[u8]) -> (i32, Vec<u8>) {
    // SAFETY: as all imports here.
    given(|at, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), at, size) })
}

/// Names and values, a zero byte after each.
fn pairs(map: u32) -> (i32, Vec<u8>) {
    // SAFETY: as all imports here.
    let (code, told) = given(|at, size| unsafe { proxy_get_header_map_pairs(map, at, size) });
    let count = told.first_chunk().map_or(0, |count| u32::from_le_bytes(*count)) as usize;
    (code, told.get(4 + 8 * count..).unwrap_or_default().to_vec())
}

fn buffer(which: u32, start: usize, length: usize) -> (i32, Vec<u8>) {
    // SAFETY: as all imports here.
    given(|at, size| unsafe { proxy_get_buffer_bytes(which, start, length, at, size) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `6162~3` is `ababab`.
fn unwrapped(word: &str) -> Vec<u8> {
    let (digits, times) = word.split_once('~').unwrap_or((word, "1"));
    let bytes = digits.as_bytes().chunks(2).filter_map(|two| std::str::from_utf8(two).ok());
    let bytes: Vec<_> = bytes.filter_map(|two| u8::from_str_radix(two, 16).ok()).collect();
    bytes.repeat(times.parse().unwrap_or(1))
}

/// What is long is told by its beginning, its length and a sum.
fn value((code, bytes): (i32, Vec<u8>)) -> String {
    if code != 0 {
        return format!(" !{code}");
    }
    if bytes.len() <= 400 {
        return format!(" ={}", hex(&bytes));
    }
    let sum = bytes.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    format!(" ={}#{}#{sum}", hex(&bytes[..64]), bytes.len())
}
