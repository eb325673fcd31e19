//! One process of the binary: its log, its signals, its end. Only its own pid is ever signalled.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::binary;
use crate::wait::{PATIENCE, wait_until};

/// A running `forebay`. When it is dropped it is ended, and its log is held against what must
/// not stand there: a panic anywhere, or an error that the test did not expect.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    expected: Vec<String>,
    what: String,
    ended: Option<ExitStatus>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command of the binary to its end.
#[track_caller]
pub fn run(args: &[&str]) -> Output {
    let out = Command::new(binary::forebay())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run forebay {args:?}: {e}"));
    Output {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

impl Process {
    /// Starts `forebay ARGS` in `folder`.
    #[track_caller]
    pub fn start(args: &[&str], folder: &Path) -> Process {
        Process::start_with(args, folder, &[], None)
    }

    /// The same with variables of its environment, and with so much address space and no more.
    #[track_caller]
    pub fn start_with(
        args: &[&str],
        folder: &Path,
        environment: &[(&str, PathBuf)],
        address_space: Option<u64>,
    ) -> Process {
        let mut command = Command::new(binary::forebay());
        if let Some(bytes) = address_space {
            command = Command::new("sh");
            command.args(["-c", &format!("ulimit -v {} && exec \"$0\" \"$@\"", bytes >> 10)]);
            command.arg(binary::forebay());
        }
        let mut child = command
            .args(args)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start forebay {args:?}: {e}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![follow(stdout, log.clone()), follow(stderr, log.clone())];
        Process { child, log, readers, expected: Vec::new(), what: args.join(" "), ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error line with `text` in it is part of this test.
    pub fn expect_error(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    /// All lines so far, of stdout and stderr.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panicked").clone()
    }

    pub fn log_has(&self, text: &str) -> bool {
        self.log().iter().any(|line| line.contains(text))
    }

    /// Waits for a line with all of `texts` in it, and gives it.
    #[track_caller]
    pub fn wait_for_log(&self, texts: &[&str]) -> String {
        wait_until(&format!("a log line with {texts:?}"), PATIENCE, || {
            self.log().into_iter().find(|line| texts.iter().all(|text| line.contains(text)))
        })
    }

    /// Sends `TERM`, `HUP`, `KILL`, …
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: a Debian without procps has no other.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to {}", self.pid());
    }

    pub fn running(&mut self) -> bool {
        self.ended.is_none() && self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for the end that the process comes to by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = wait_until(&format!("the end of forebay {}", self.what), PATIENCE, || {
            self.child.try_wait().expect("a child can be waited for")
        });
        self.finish_reading();
        self.ended = Some(ended);
        ended
    }

    /// SIGTERM, then its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        if self.ended.is_none() {
            self.signal("TERM");
        }
        self.wait()
    }

    /// SIGKILL: it can tidy nothing up.
    pub fn kill(&mut self) {
        if self.running() {
            let _ = self.child.kill();
            self.wait();
        }
    }

    /// Reads what is left. A process that this one started may still hold its pipes open, so
    /// this does not wait for their end for ever.
    fn finish_reading(&mut self) {
        let begin = Instant::now();
        while self.readers.iter().any(|reader| !reader.is_finished()) && begin.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.readers.clear();
    }

    /// The lines that must not be there.
    fn complaints(&self) -> Vec<String> {
        let bad = |line: &str| line.contains("panicked") || is_error(line);
        // A guest's own panic is told in its plugin's words; one of the host is never expected.
        let ours = |line: &str| line.contains("panicked") && !line.contains("\"plugin\":");
        let expected = |line: &str| !ours(line) && self.expected.iter().any(|text| line.contains(text));
        self.log().into_iter().filter(|line| bad(line) && !expected(line)).collect()
    }
}

/// Whether a line of the log, pretty or JSON, is of level ERROR.
fn is_error(line: &str) -> bool {
    line.contains("\"level\":\"ERROR\"") || line.split_whitespace().take(3).any(|word| word.contains("ERROR"))
}

fn follow(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            into.lock().expect("no other reader panicked").push(line);
        }
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.running() {
            self.signal("TERM");
            let begin = Instant::now();
            while self.running() && begin.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.finish_reading();
        if std::thread::panicking() {
            eprintln!("--- the log of forebay {}:", self.what);
            for line in self.log() {
                eprintln!("{line}");
            }
            return;
        }
        let complaints = self.complaints();
        assert!(
            complaints.is_empty(),
            "forebay {} logged what must not be there:\n{}",
            self.what,
            complaints.join("\n")
        );
    }
}
