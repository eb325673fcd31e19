//! `forebay plugin run`: serves, reloads on save, and shows what is wrong on the request that met it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::binary::forebay;
use harness::folder::Folder;

use crate::{plugin, tool};

const LONG: Duration = Duration::from_secs(60);

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(folder: &Folder, more: &[&str]) -> Running {
        let mut child = Command::new(forebay())
            .args(["plugin", "run"])
            .args(more)
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = lines.next().expect("it says where it serves").expect("in text");
        // The rest is read too, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let address = line.rsplit_once("http://").unwrap_or_else(|| panic!("{line}")).1.to_owned();
        Running { child, address }
    }

    /// Sends lines, and gives the whole answer.
    fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
        let request = format!("{head}\r\nhost: shop.test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks until the answer has this in it.
    #[track_caller]
    fn until(&self, head: &str, part: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            let answer = self.ask(head);
            if answer.contains(part) {
                return answer;
            }
            assert!(Instant::now() < until, "no {part:?} in\n{answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const GET: &str = "GET /a?b=c HTTP/1.1";

fn says(word: &str) -> String {
    format!("return {{ on_request_headers = function() forebay.request.headers.set('x-said', '{word}') end }}")
}

#[test]
fn a_saved_file_is_reloaded_and_the_origin_says_what_it_got() {
    let folder = plugin("[]", &says("one"), "- name: a\n");
    let running = Running::start(&folder, &[]);
    let answer = running.ask(GET);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"x-said\": \"one\"") && answer.contains("\"path\": \"/a?b=c\""), "{answer}");
    folder.write("main.lua", says("two"));
    running.until(GET, "\"x-said\": \"two\"");
}

#[test]
fn a_fault_is_shown_on_its_request_with_traceback_and_source_and_the_next_one_is_served() {
    let main = "local function deep(path)\n  if path == '/bad' then\n    error('broken <here>')\n  end\nend\n\
        return { on_request_headers = function() deep(forebay.request.headers.get(':path')) end }";
    let folder = plugin("[]", main, "- name: a\n");
    let running = Running::start(&folder, &[]);
    let answer = running.ask("GET /bad HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    for part in [
        "TRAP in on_request_headers",
        "broken <here>",
        "main.lua:3",
        ">    3      error('broken <here>')",
        "     2    if path",
    ] {
        assert!(answer.contains(part), "no {part:?} in\n{answer}");
    }
    let html = running.ask("GET /bad HTTP/1.1\r\naccept: text/html");
    assert!(html.contains("text/html") && html.contains("broken &lt;here&gt;") && !html.contains("<here>"), "{html}");
    assert!(running.ask("GET /good HTTP/1.1").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_version_that_is_not_taken_is_shown_until_it_is_mended() {
    let folder = plugin("[]", &says("one"), "- name: a\n");
    let running = Running::start(&folder, &[]);
    folder.write("main.lua", "return {\n  on_request_headers = function( end\n}\n");
    let answer = running.until(GET, "was not taken");
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("main.lua:2"), "{answer}");
    assert!(answer.contains(">    2    on_request_headers = function( end"), "{answer}");
    folder.write("plugin.yaml", "name: tried\nengine: lau\n");
    running.until(GET, "did you mean \"lua\"");
    folder.write("plugin.yaml", "name: tried\nengine: lua\n");
    folder.write("main.lua", says("three"));
    let answer = running.until(GET, "\"x-said\": \"three\"");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn an_origin_and_a_configuration_can_be_given() {
    let origin = harness::Origin::saying("from the origin");
    let main = "local config return { on_configure = function(c) config = c end,
        on_response_headers = function() forebay.response.headers.set('x-config', config.word) end }";
    let spec = "- name: one\n  config: { word: other }\n- name: two\n  config: { word: from the case }\n";
    let folder = plugin("[]", main, spec);
    let address = origin.address.to_string();
    let running = Running::start(&folder, &["--origin", &address, "--config", "{\"word\": \"given\"}"]);
    let answer = running.ask(GET);
    assert!(answer.contains("x-config: given") && answer.ends_with("from the origin"), "{answer}");
    drop(running);
    let running = Running::start(&folder, &["--case", "two"]);
    assert!(running.ask(GET).contains("x-config: from the case"));
}

#[test]
fn it_ends_when_it_is_told_to() {
    let folder = plugin("[]", "return {}", "- name: a\n");
    let mut running = Running::start(&folder, &[]);
    assert!(running.ask(GET).starts_with("HTTP/1.1 200 "));
    let told = Command::new("kill").arg(running.child.id().to_string()).status().expect("kill runs");
    assert!(told.success());
    let ended = running.child.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
}

#[test]
fn what_cannot_be_served_is_refused_before_it_listens() {
    let folder = plugin("[]", "return 5", "- name: a\n");
    let said = tool(&["run"], folder.path());
    assert_eq!(said.code, 64, "{}", said.out);
    assert!(said.errors.contains("main.lua"), "{}", said.errors);
    let folder = plugin("[]", "return {}", "- name: a\n");
    let said = tool(&["run", "--case", "none"], folder.path());
    assert!(said.code == 64 && said.errors.contains("has \"none\" in its name"), "{}", said.errors);
}
