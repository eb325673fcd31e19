//! Rows of a name and a text, no wider than a terminal.

/// Of a line, in characters. A word that is longer stands alone.
const WIDTH: usize = 100;
const NAMES: usize = 12;

#[derive(Default)]
pub struct Page {
    text: String,
    /// The name of the last row: the next of the same goes under it.
    last: &'static str,
}

impl Page {
    /// What is read first, at the left.
    pub fn head(&mut self, text: &str) {
        self.lay("", "  ", text);
    }

    /// Rows of one name stand under it.
    pub fn row(&mut self, name: &'static str, text: &str) {
        let shown = if name == self.last { "" } else { name };
        self.last = name;
        self.lay(&format!("  {shown:<NAMES$}"), &" ".repeat(NAMES + 4), text);
    }

    /// Words, on as many lines as they take; all but the first begin with `more`.
    fn lay(&mut self, first: &str, more: &str, text: &str) {
        let mut line = first.to_string();
        let mut empty = true;
        for word in text.split(' ') {
            let wide = line.chars().count() + 1 + word.chars().count() > WIDTH;
            if wide && !empty {
                self.end(&line);
                line = more.to_string();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.end(&line);
    }

    /// A row as it is, for tables.
    pub fn table(&mut self, text: &str) {
        self.end(&format!("  {:<NAMES$}{text}", ""));
    }

    fn end(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub fn finish(self) -> String {
        self.text
    }
}
