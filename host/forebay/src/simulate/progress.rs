//! How far it is, on a terminal; nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Parts of what is worked on now.
const PARTS: u64 = 1000;

#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new() -> Progress {
        // It is hidden where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {percent:>3} % {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar }
    }

    /// Something else is worked on from now on.
    pub fn begin(&self, what: String) {
        self.bar.reset();
        self.bar.set_message(what);
    }

    /// This part of it is done.
    pub fn tell(&self, part: f64) {
        let part = (part * PARTS as f64) as u64;
        if part != self.bar.position() {
            self.bar.set_position(part);
        }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
