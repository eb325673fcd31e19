//! The files of a journal: the one that is written, and full ones beside it with a number behind
//! the name, the oldest with the smallest. Read from the end, since what is asked for is recent.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use scaler::{Decision, OriginView};

use super::Record;

const CHUNK: usize = 256 << 10;
/// No line is longer: what is was never written here (a disk that lost what it was told leaves files of zeros), and is
/// passed over in pieces.
const LONGEST_LINE: usize = 8 << 20;

/// A decision as it stands in a journal.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub decision: Decision,
    /// What ran when it was made.
    pub origins: Vec<OriginView>,
    /// `leader`, or `standby`: then nothing followed from it.
    pub role: String,
    pub token: Option<u64>,
}

/// What a journal holds.
#[derive(Clone, Debug)]
pub struct Kept {
    pub pools: BTreeSet<String>,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Full files with their numbers, oldest first.
pub fn full(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else { return Ok(Vec::new()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|other| {
            let number = other.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
            let digits = number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| number.parse().ok()).flatten()
        });
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// The name of a full file.
pub fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{number:06}"));
    path.with_file_name(name)
}

/// All, newest first. An error if there is none.
fn newest_first(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = full(path)?.into_iter().map(|(_, path)| path).collect();
    if path.try_exists()? {
        files.push(path.to_path_buf());
    }
    files.reverse();
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
    }
    Ok(files)
}

/// Visits lines of all files, newest first, until told to stop. A file of which `skip` says so is
/// passed over.
pub fn visit(
    path: &Path,
    mut skip: impl FnMut(&Path) -> bool,
    mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    for file in newest_first(path)? {
        if skip(&file) {
            continue;
        }
        match lines(&file, &mut visit) {
            // It was the oldest, and another process has removed it since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(ControlFlow::Break(())) => break,
            other => _ = other?,
        }
    }
    Ok(())
}

fn lines(path: &Path, visit: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
    let mut file = File::open(path)?;
    let mut at = file.metadata()?.len();
    // The end of a line of which the begin was not read yet.
    let mut rest = Vec::new();
    while at > 0 {
        let part = at.min(CHUNK as u64);
        at -= part;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; part as usize];
        file.read_exact(&mut bytes)?;
        bytes.append(&mut rest);
        let whole = match bytes.iter().position(|byte| *byte == b'\n') {
            _ if at == 0 => 0,
            Some(first) => first + 1,
            None => bytes.len(),
        };
        for line in bytes[whole..].rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if visit(line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        bytes.truncate(whole);
        rest = bytes;
        if rest.len() > LONGEST_LINE {
            rest = Vec::new();
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// When the first decision of a file was made.
fn begins(path: &Path) -> Option<Timestamp> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(CHUNK as u64).read_to_end(&mut start).ok()?;
    let decisions = start.split(|byte| *byte == b'\n').find_map(decision);
    decisions.map(|recorded| recorded.decision.at)
}

fn decision(line: &[u8]) -> Option<Recorded> {
    match serde_json::from_slice(line) {
        Ok(Record::Decision { decision, origins, role, token, .. }) => {
            Some(Recorded { decision: *decision, origins, role, token })
        }
        _ => None,
    }
}

/// The latest `limit` decisions of `from..=to`, oldest first.
pub fn decisions(
    path: &Path,
    pool: Option<&str>,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> io::Result<Vec<Recorded>> {
    let mut found = Vec::new();
    let later = |file: &Path| begins(file).is_some_and(|begin| begin > to);
    visit(path, later, |line| {
        let Some(recorded) = decision(line) else { return ControlFlow::Continue(()) };
        if recorded.decision.at < from || found.len() >= limit {
            return ControlFlow::Break(());
        }
        if recorded.decision.at <= to && pool.is_none_or(|pool| recorded.decision.pool == pool) {
            found.push(recorded);
        }
        ControlFlow::Continue(())
    })?;
    found.reverse();
    Ok(found)
}

/// The decision on `pool` that stood at an instant.
pub fn at(path: &Path, pool: &str, at: Timestamp) -> io::Result<Option<Recorded>> {
    Ok(decisions(path, Some(pool), Timestamp::MIN, at, 1)?.pop())
}

/// When the first and the last decision on a pool were made, without reading all that lies between; `None`: there is
/// none.
pub fn span(path: &Path, pool: &str) -> io::Result<Option<(Timestamp, Timestamp)>> {
    let Some(last) = at(path, pool, Timestamp::MAX)? else { return Ok(None) };
    let mut oldest_first = newest_first(path)?;
    oldest_first.reverse();
    for file in oldest_first {
        match first(&file, pool) {
            Ok(Some(first)) => return Ok(Some((first, last.decision.at))),
            // It was the oldest, and another process has removed it since.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(Some((last.decision.at, last.decision.at)))
}

/// When the first decision on a pool in one file was made.
fn first(path: &Path, pool: &str) -> io::Result<Option<Timestamp>> {
    let mut file = BufReader::with_capacity(CHUNK, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if let Some(recorded) = decision(&line).filter(|recorded| recorded.decision.pool == pool) {
            return Ok(Some(recorded.decision.at));
        }
    }
}

/// Reads all of it. `None`: no decision is in it.
pub fn kept(path: &Path, pool: Option<&str>) -> io::Result<Option<Kept>> {
    let mut kept: Option<Kept> = None;
    visit(
        path,
        |_| false,
        |line| {
            if let Some(Recorded { decision, .. }) = decision(line)
                && pool.is_none_or(|pool| decision.pool == pool)
            {
                let kept =
                    kept.get_or_insert_with(|| Kept { pools: BTreeSet::new(), from: decision.at, to: decision.at });
                kept.pools.insert(decision.pool);
                (kept.from, kept.to) = (kept.from.min(decision.at), kept.to.max(decision.at));
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(kept)
}
