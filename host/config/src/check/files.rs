//! Paths of a file: relative to its folder, readable, and what they should be.

use std::path::{Path, PathBuf};

use crate::error::{Errors, Problem, near_miss};
use crate::raw::form::FilePath;
use crate::raw::value::At;

/// What relative paths are relative to.
pub struct Folder {
    base: PathBuf,
}

impl Folder {
    pub fn new(base: &Path) -> Folder {
        // Without a current folder a relative path stays as it is: there is nothing better.
        Folder { base: std::path::absolute(base).unwrap_or_else(|_| base.to_owned()) }
    }

    pub fn path(&self, written: &FilePath) -> PathBuf {
        let path = self.base.join(&written.0);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// A file that can be read, or the file `of` in a folder that is given in its place.
    pub fn code(
        &self,
        written: &At<FilePath>,
        of: impl Fn(&Path) -> Result<PathBuf, Problem>,
        errors: &mut Errors,
    ) -> Option<PathBuf> {
        let mut path = self.path(written);
        if path.is_dir() {
            match of(&path) {
                Ok(inside) => path = inside,
                Err(problem) => {
                    errors.add(&written.place, problem);
                    return None;
                }
            }
        }
        // Whoever wrote the code may be a stranger, and a pipe would hold whoever reads it.
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            let problem = Problem::found(format!("{} is no file", path.display())).allowed("a plugin is made of files");
            errors.add(&written.place, problem);
            return None;
        }
        self.read(written, &path, errors)?;
        Some(path)
    }

    /// A PEM file with at least one block whose label ends in `label`.
    pub fn pem(&self, written: &At<FilePath>, label: &str, errors: &mut Errors) -> Option<PathBuf> {
        let path = self.path(written);
        let bytes = self.read(written, &path, errors)?;
        match pem_labels(&String::from_utf8_lossy(&bytes)) {
            Ok(labels) if labels.iter().any(|found| found.ends_with(label)) => return Some(path),
            Ok(labels) if labels.is_empty() => {
                errors.add(
                    &written.place,
                    Problem::found(format!("no PEM block in {}", path.display())).allowed(needed(label)),
                );
            }
            Ok(labels) => {
                let problem = Problem::found(format!("PEM of {} in {}", labels.join(", "), path.display()));
                errors.add(&written.place, problem.allowed(needed(label)));
            }
            Err(why) => {
                errors.add(&written.place, Problem::found(format!("broken PEM in {}: {why}", path.display())));
            }
        }
        None
    }

    /// What a file holds that may be a stranger's: no pipe or device, and no more than `largest` bytes.
    pub fn plain_file(&self, written: &At<FilePath>, largest: u64, errors: &mut Errors) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(written);
        let refused = match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() => Some(Problem::found(format!("{} is no file", path.display()))),
            Ok(found) if found.len() > largest => {
                let problem = Problem::found(format!("{} has {} bytes", path.display(), found.len()));
                Some(problem.allowed(format!("allowed: up to {largest}")))
            }
            _ => None,
        };
        if let Some(problem) = refused {
            errors.add(&written.place, problem);
            return None;
        }
        let bytes = self.read(written, &path, errors)?;
        Some((path, bytes))
    }

    /// What a file holds.
    pub fn bytes(&self, written: &At<FilePath>, errors: &mut Errors) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(written);
        let bytes = self.read(written, &path, errors)?;
        Some((path, bytes))
    }

    fn read(&self, written: &At<FilePath>, path: &Path, errors: &mut Errors) -> Option<Vec<u8>> {
        if path.is_dir() {
            errors.add(
                &written.place,
                Problem::found(format!("{} is a folder", path.display())).allowed("needed: a file"),
            );
            return None;
        }
        match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    _ => error.to_string(),
                };
                let problem = Problem::found(format!("cannot read {}: {why}", path.display()));
                errors.add(&written.place, problem.near(near_file(&written.0, path)));
                None
            }
        }
    }
}

fn needed(label: &str) -> String {
    format!("needed: -----BEGIN {label}-----")
}

/// A file of the same folder with nearly this name, as it would be written.
fn near_file(written: &str, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let beside: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let near = near_miss(name, beside.iter().map(String::as_str))?;
    Some(Path::new(written).with_file_name(near).to_str()?.to_owned())
}

/// The labels of the blocks of a PEM text. That keys fit certificates is the edge's to find: it
/// has the TLS library.
fn pem_labels(text: &str) -> Result<Vec<String>, String> {
    let mut labels = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    for (i, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), i + 1);
        let label = |prefix: &str| line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("-----"));
        match (open, label("-----BEGIN "), label("-----END ")) {
            (None, Some(begun), _) => open = Some((begun, 0)),
            (Some((begun, 0)), _, Some(_)) => return Err(format!("the block {begun} is empty, line {number}")),
            (Some((begun, _)), _, Some(ended)) if begun == ended => {
                labels.push(begun.to_owned());
                open = None;
            }
            (Some((begun, _)), _, Some(_)) | (Some((begun, _)), Some(_), _) => {
                return Err(format!("the block {begun} does not end before line {number}"));
            }
            (Some((begun, lines)), None, None) => {
                // Old private keys carry headers such as `Proc-Type: 4,ENCRYPTED`.
                let base64 = line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                if !base64 && !line.contains(": ") {
                    return Err(format!("line {number} is not base64"));
                }
                open = Some((begun, lines + usize::from(!line.is_empty())));
            }
            (None, None, _) => {}
        }
    }
    match open {
        Some((begun, _)) => Err(format!("the block {begun} does not end")),
        None => Ok(labels),
    }
}
