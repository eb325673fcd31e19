//! Patterns: regular expressions for a whole value.
//!
//! Classes and case are ASCII, as paths and header names are; Unicode's tables would be larger than
//! the rest of the regex engine and are not compiled in. So that people need not know, a pattern is
//! rewritten: `\d`, `\w` and `\s` always, and where it asks for `(?i)`, everything that could match
//! half a character too.

use regex::{Regex, RegexBuilder};

use super::{Wrong, form};

form! {
    /// A regular expression for the whole value, in the syntax of Rust's regex crate, where
    /// `\d`, `\w`, `\s` and `(?i)` know ASCII alone.
    Pattern(Regex), "a regular expression for the whole value, such as /v[0-9]+/.*", { "format": "regex" },
    |text| whole(text).map_err(|error| Wrong::why(last_line(&error.to_string())))
}

fn whole(text: &str) -> Result<Regex, regex::Error> {
    anchored(&rewrite(text, Mode::Unicode), true)
        .or_else(|error| anchored(&rewrite(text, Mode::Ascii), false).map_err(|_| error))
}

fn anchored(text: &str, unicode: bool) -> Result<Regex, regex::Error> {
    let build = |text: &str| RegexBuilder::new(text).unicode(unicode).build();
    // Alone first: `a)|(b` must not close the group that is put around it.
    build(text)?;
    // `(?x)` with a comment at its end would take the group's end into the comment.
    build(&format!("^(?:{text})$")).or_else(|_| build(&format!("^(?:{text}\n)$")))
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Unicode,
    /// Whatever is negated or any matches ASCII alone, as bytes without Unicode would be halves
    /// of characters.
    Ascii,
}

fn rewrite(text: &str, mode: Mode) -> String {
    let any_but = |class: &str| match mode {
        Mode::Unicode => format!("[^{class}]"),
        Mode::Ascii => format!("[\\x00-\\x7F--[{class}]]"),
    };
    let mut out = String::with_capacity(text.len() + 16);
    // Of each class that is open, innermost last: whether it was negated.
    let mut classes: Vec<bool> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => {
                let escaped = rest[1..].chars().next();
                match escaped {
                    Some('d') => out.push_str("[0-9]"),
                    Some('w') => out.push_str("[0-9A-Za-z_]"),
                    Some('s') => out.push_str(r"[ \t\n\r\x0B\x0C]"),
                    Some('D') => out.push_str(&any_but("0-9")),
                    Some('W') => out.push_str(&any_but("0-9A-Za-z_")),
                    Some('S') => out.push_str(&any_but(r" \t\n\r\x0B\x0C")),
                    Some('b') if classes.is_empty() => out.push_str(r"(?-u:\b)"),
                    Some(other) => out.extend(['\\', other]),
                    None => out.push('\\'),
                }
                1 + escaped.map_or(0, char::len_utf8)
            }
            '[' if rest.starts_with("[:") && !classes.is_empty() => {
                let end = rest.find(":]").map_or(1, |end| end + 2);
                out.push_str(&rest[..end]);
                end
            }
            '[' => {
                let negated = rest.starts_with("[^");
                let taken = 1 + usize::from(negated);
                let ascii = negated && mode == Mode::Ascii;
                out.push_str(if ascii { "[\\x00-\\x7F--[" } else { &rest[..taken] });
                classes.push(ascii);
                // Right after its opening, `]` is one of the class.
                if rest[taken..].starts_with(']') {
                    out.push_str("\\]");
                    taken + 1
                } else {
                    taken
                }
            }
            ']' if !classes.is_empty() => {
                out.push_str(if classes.pop() == Some(true) { "]]" } else { "]" });
                1
            }
            '.' if classes.is_empty() && mode == Mode::Ascii => {
                out.push_str(r"[\x00-\x09\x0B-\x7F]");
                1
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

fn last_line(text: &str) -> String {
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::whole;

    fn matches(pattern: &str, text: &str) -> bool {
        whole(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
    }

    #[test]
    fn patterns_mean_the_whole_value_in_ascii() {
        for (pattern, yes, no) in [
            ("a|b", "b", "ab"),
            (r"/v\d+", "/v12", "/v"),
            (r"/[\w-]+", "/a_b-c", "/ä"),
            (r"\D+", "aß", "a1"),
            (r"[^\d/]+", "ab", "a/"),
            (r".*\bend", "the end", "friend"),
            ("[]a]+", "]a]", "b"),
            ("[^]a]", "ß", "]"),
            ("[[:alpha:]]+", "abc", "a1"),
            (r"a\.b", "a.b", "axb"),
            (".", "ß", "ss"),
            ("(?x) /a  # a comment", "/a", "/a  "),
            ("", "", "a"),
        ] {
            assert!(matches(pattern, yes), "{pattern} does not match {yes}");
            assert!(!matches(pattern, no), "{pattern} matches {no}");
        }
    }

    #[test]
    fn case_may_be_ignored() {
        for (pattern, yes, no) in [
            ("(?i)/abc", "/aBC", "/abd"),
            ("(?i:a)b", "Ab", "AB"),
            ("(?i)[^a-c]+", "dEf", "dB"),
            (r"(?i)/.+\.(png|jpg)", "/X.Png", "/X.gif"),
            ("(?i)[^]x]", "y", "X"),
            (r"(?i)\W[[:alpha:]-]", "/-", "a-"),
            ("(?i)/straße", "/STRAße", "/strasse"),
        ] {
            assert!(matches(pattern, yes), "{pattern} does not match {yes}");
            assert!(!matches(pattern, no), "{pattern} matches {no}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_reason() {
        for (pattern, reason) in [
            ("/v(1", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("[a", "unclosed character class"),
            (r"a\", "incomplete escape sequence, reached end of pattern prematurely"),
            (r"\p{L}", "Unicode property not found"),
            ("(a{1000}){1000}", "Compiled regex exceeds size limit of 10485760 bytes"),
        ] {
            let error = whole(pattern).err().unwrap_or_else(|| panic!("{pattern} is refused"));
            assert_eq!(super::last_line(&error.to_string()), reason, "{pattern}");
        }
    }
}
