//! The section `secrets`. The value is read here and nowhere else; no error shows any of it.

use super::files::Folder;
use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::secret as raw;
use crate::raw::value::At;
use crate::region::{Secret, SecretSource, SecretValue};

/// Bytes of a value. Longer ones are no secrets but a wrong file.
const LONGEST: usize = 64 << 10;

pub fn secret(
    raw: &At<raw::Secret>,
    callees: (&Names, &Names),
    folder: &Folder,
    errors: &mut Errors,
) -> Option<Secret> {
    super::one_of(
        &raw.place,
        &[("file", super::place(&raw.file)), ("env", super::place(&raw.env))],
        !errors.has_under(&raw.place),
        errors,
    );
    let targets: Vec<_> = raw
        .targets
        .iter()
        .map(|target| callees.0.resolve_or(callees.1, &target.value.0, &target.place, errors))
        .collect();
    let (source, place, bytes) = match (&raw.file, &raw.env) {
        (Some(file), _) => {
            let (path, bytes) = folder.bytes(file, errors)?;
            (SecretSource::File(path), &file.place, bytes)
        }
        (None, Some(env)) => match std::env::var_os(&env.0) {
            Some(value) => (SecretSource::Env(env.0.clone()), &env.place, value.into_encoded_bytes()),
            None => {
                let found = format!("there is no environment variable \"{}\"", env.0);
                errors.add(&env.place, Problem::found(found).allowed("needed: one that is set"));
                return None;
            }
        },
        (None, None) => return None,
    };
    let value = without_line_end(bytes);
    if value.is_empty() || value.len() > LONGEST {
        let problem = Problem::found(format!("a value of {} bytes", value.len()));
        errors.add(place, problem.allowed(format!("allowed: 1 to {LONGEST} bytes")));
        return None;
    }
    Some(Secret {
        name: raw.name.as_ref()?.0.clone(),
        source,
        targets: targets.into_iter().collect::<Option<_>>()?,
        value: SecretValue::new(value),
    })
}

/// Editors and `echo` leave one behind the value, which is none of it.
fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}
