//! Recorded demand as a file: `t_seconds,value`, a row a minute, as text or gzip.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const HEADER: &str = "t_seconds,value";
const STEP: f64 = 60.0;
/// Unpacked: ten years by the minute are some 100 MB.
const MOST_BYTES: u64 = 256 << 20;

/// The counts, or what is wrong with the file.
pub fn read(file: &Path) -> Result<Vec<f64>, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&bytes).map_err(|(line, problem)| match line {
        Some(line) => format!("{}:{line}: {problem}", file.display()),
        None => format!("{}: {problem}", file.display()),
    })
}

type Problem = (Option<usize>, String);

fn parse(bytes: &[u8]) -> Result<Vec<f64>, Problem> {
    let text = if bytes.starts_with(&GZIP) {
        let mut text = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(MOST_BYTES + 1).read_to_end(&mut text);
        read.map_err(|error| (None, format!("looks like gzip, but: {error}")))?;
        text
    } else {
        bytes.to_vec()
    };
    if text.len() as u64 > MOST_BYTES {
        return Err((None, format!("more than {} MiB of text", MOST_BYTES >> 20)));
    }
    let text = String::from_utf8(text).map_err(|_| (None, "neither text nor gzip".to_string()))?;
    let mut lines = text.lines().enumerate();
    match lines.next() {
        Some((_, header)) if header.trim_end() == HEADER => {}
        Some((_, other)) => return Err((Some(1), format!("the first line is `{HEADER}`, not `{}`", short(other)))),
        None => return Err((None, format!("is empty: a line `{HEADER}` comes first"))),
    }
    let mut counts = Vec::new();
    let mut before = None;
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let (time, count) = row(line).map_err(|problem| (Some(at + 1), problem))?;
        if let Some(before) = before
            && time - before != STEP
        {
            let problem = format!("a row each {STEP} s: {time} does not follow {before}");
            return Err((Some(at + 1), problem));
        }
        before = Some(time);
        counts.push(count);
    }
    if counts.iter().sum::<f64>() <= 0.0 {
        return Err((None, "no demand at all: every value is 0 or missing".to_string()));
    }
    Ok(counts)
}

fn row(line: &str) -> Result<(f64, f64), String> {
    let problem = || format!("two numbers, seconds and a count not under 0, not `{}`", short(line));
    let (time, count) = line.trim_end().split_once(',').ok_or_else(problem)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number(time).zip(number(count)).ok_or_else(problem)
}

fn short(line: &str) -> String {
    line.chars().take(60).collect()
}
