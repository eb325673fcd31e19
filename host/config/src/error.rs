//! What is wrong with a file: all of it at once, each with its place, what was found, what is
//! allowed and the near miss.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where in the file a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1; 0 if the error is about the file as a whole.
    pub line: u32,
    /// From 1, in characters; 0 if the error is about the file as a whole.
    pub column: u32,
    /// Such as `routes[1].plugins[0].name`; empty for the file itself.
    pub path: Arc<str>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub file: PathBuf,
    pub place: Place,
    pub problem: Problem,
}

/// What was found, what is allowed, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub found: String,
    pub allowed: Option<String>,
    pub near: Option<String>,
}

/// Everything that is wrong with one file, in the order of its lines. Displays one error a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    file: PathBuf,
    list: Vec<Error>,
}

/// How many words a message lists.
const LISTED: usize = 20;

impl Place {
    pub(crate) fn root() -> Place {
        Place { line: 0, column: 0, path: Arc::from("") }
    }

    /// The place of a key that is not written: its section's line.
    pub(crate) fn key(&self, key: &str) -> Place {
        let path = if self.path.is_empty() { Arc::from(key) } else { Arc::from(format!("{}.{key}", self.path)) };
        Place { path, ..*self }
    }

    pub(crate) fn index(&self, index: usize) -> Place {
        Place { path: Arc::from(format!("{}[{index}]", self.path)), ..*self }
    }

    pub(crate) fn at(self, line: u32, column: u32) -> Place {
        Place { line, column, ..self }
    }
}

impl Problem {
    pub(crate) fn found(found: impl Into<String>) -> Problem {
        Problem { found: found.into(), allowed: None, near: None }
    }

    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Problem {
        self.allowed = Some(allowed.into());
        self
    }

    pub(crate) fn near(mut self, near: Option<String>) -> Problem {
        self.near = near;
        self
    }

    /// `found` is none of `words`; `all` names what they are, such as `pools are`.
    pub(crate) fn none_of<'a>(
        found: String,
        all: &str,
        word: &str,
        words: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Problem {
        let mut list: Vec<&str> = words.clone().into_iter().collect();
        // A region may have hundreds of pools, and as many errors that would list them all.
        let more = list.len().saturating_sub(LISTED);
        list.truncate(LISTED);
        let mut list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        if more > 0 {
            list += &format!(" and {more} more");
        }
        let near = near_miss(word, words.clone()).or_else(|| named_elsewhere(word, words));
        Problem::found(found).allowed(format!("{all}: {list}")).near(near)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; {allowed}")?;
        }
        match &self.near {
            Some(near) => write!(f, "; did you mean \"{near}\"?"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.place.line > 0 {
            write!(f, "{}:", self.place.line)?;
        }
        if !self.place.path.is_empty() {
            write!(f, " {}:", self.place.path)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for Error {}

impl Errors {
    pub(crate) fn new(file: &Path) -> Errors {
        Errors { file: file.to_owned(), list: Vec::new() }
    }

    pub(crate) fn add(&mut self, place: &Place, problem: Problem) {
        self.list.push(Error { file: self.file.clone(), place: place.clone(), problem });
    }

    /// Whether something at or below this place is wrong already: a key that could not be read is
    /// not one that is missing.
    pub(crate) fn has_under(&self, place: &Place) -> bool {
        let below =
            |path: &str| path.strip_prefix(&*place.path).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']));
        self.list.iter().any(|error| below(&error.place.path))
    }

    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|error| (error.place.line, error.place.column));
    }

    /// The file that was read.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.list.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// The word that `word` is a slip of, if one is close: a third of its letters may differ.
pub fn near_miss<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    // A distance is quadratic in the length: what is this long is no slip of the finger.
    if lower.chars().count() > 80 {
        return None;
    }
    let reach = (lower.chars().count() / 3).clamp(1, 4);
    words
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= reach)
        // Of two that are as close, the one that begins alike: `sonday` is a Sunday and no Monday.
        .min_by_key(|(distance, candidate)| {
            (*distance, !candidate.to_lowercase().starts_with(lower.chars().next().unwrap_or_default()))
        })
        .map(|(_, candidate)| candidate.to_owned())
}

/// What the HPA, KEDA, AWS and Envoy call what is here called otherwise.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("floor", &["min", "minimum", "minreplicas", "minreplicacount", "minsize", "mincapacity", "minscale"]),
    ("ceiling", &["max", "maximum", "maxreplicas", "maxreplicacount", "maxsize", "maxcapacity", "maxscale"]),
    ("exact", &["desiredreplicas", "desiredcapacity", "replicas", "count"]),
    ("stabilisation", &["stabilizationwindowseconds", "cooldown", "cooldownperiod", "scaleincooldown"]),
    ("per_origin", &["averagevalue", "averageutilization", "targetvalue", "threshold"]),
    ("requests_per_origin", &["averagevalue", "averageutilization", "targetvalue", "target"]),
    ("zone", &["timezone", "tz"]),
    ("cron", &["start", "schedule", "recurrence"]),
    ("duration", &["end", "until"]),
    ("lead", &["schedulingbuffertime", "instancewarmup", "initialdelayseconds"]),
    ("slow_start", &["slowstartconfig", "slowstartwindow"]),
];

/// The word that stands here for a name from elsewhere, however that is written.
fn named_elsewhere<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let plain: String = word.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let here = |candidate: &&str| ELSEWHERE.iter().any(|(ours, theirs)| ours == candidate && theirs.contains(&&*plain));
    words.into_iter().find(here).map(str::to_owned)
}
