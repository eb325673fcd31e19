//! Modules that are fetched: what is written must say what they are to be, and nothing else is looked
//! at here. No module is fetched to check a file.

use super::files::Folder;
use super::plugin::Reach;
use crate::error::{Errors, Place, Problem};
use crate::raw::form::ModuleAt;
use crate::raw::plugin::Fetch;
use crate::region::{Login, PublicKey, Remote, RemoteAt};

/// `place` is that of `wasm`.
pub fn remote(
    at: &ModuleAt,
    place: &Place,
    fetch: Option<&Fetch>,
    reach: &Reach<'_>,
    folder: &Folder,
    errors: &mut Errors,
) -> Option<Remote> {
    let sha256 = fetch.and_then(|fetch| fetch.sha256.as_ref());
    let signature = fetch.and_then(|fetch| fetch.signature.as_ref());
    let at = match at {
        ModuleAt::File(_) => return None,
        ModuleAt::Https(url) => {
            if sha256.is_none() && !fetch.is_some_and(|fetch| errors.has_under(&fetch.place)) {
                let problem = Problem::found("a module at https:// without its SHA-256");
                errors.add(
                    place,
                    problem.allowed("needed beside it: fetch: {sha256: <64 digits>}; `sha256sum` tells it"),
                );
            }
            let signature = signature.map_or_else(|| beside(url), |signature| signature.0.clone());
            RemoteAt::Https { url: url.clone(), sha256: sha256?.0.clone(), signature }
        }
        ModuleAt::Oci { registry, repository, sha256: digest } => {
            for (key, place) in [("sha256", sha256.map(|at| &at.place)), ("signature", signature.map(|at| &at.place))] {
                if let Some(place) = place {
                    let problem = Problem::found(format!("\"{key}\" beside an image"));
                    errors.add(
                        place,
                        problem.allowed("allowed: with https://; an image has its digest and its signatures"),
                    );
                }
            }
            RemoteAt::Oci { registry: registry.clone(), repository: repository.clone(), sha256: digest.clone() }
        }
    };
    let public_key = fetch.and_then(|fetch| fetch.public_key.as_ref()).map(|path| {
        folder.pem(path, "PUBLIC KEY", errors)?;
        let (path, pem) = folder.bytes(path, errors)?;
        Some(PublicKey { path, pem })
    });
    if let (Some(signature), None) = (signature, &public_key) {
        let problem = Problem::found("a signature that nothing is held against");
        errors.add(&signature.place, problem.allowed("needed beside it: public_key"));
    }
    let ca = fetch.and_then(|fetch| fetch.ca.as_ref()).map(|ca| folder.pem(ca, "CERTIFICATE", errors));
    let login = fetch.map(|fetch| login(fetch, reach, errors));
    let token_host = fetch.and_then(|fetch| fetch.token_host.as_ref());
    if let (Some(host), Some(Some(None))) = (token_host, &login) {
        let problem = Problem::found("a host to be told a password, and there is none");
        errors.add(&host.place, problem.allowed("allowed: beside \"username\" and \"password\""));
    }
    Some(Remote {
        at,
        public_key: super::transpose(public_key)?,
        ca: super::transpose(ca)?,
        login: login.unwrap_or(Some(None))?,
        token_host: token_host.map(|host| host.0.clone()),
        timeout: fetch.map_or(Remote::TIMEOUT, |fetch| fetch.timeout.0),
        wait: fetch.map_or(Remote::WAIT, |fetch| fetch.wait.0),
    })
}

/// Where a signature is that nobody says the place of.
fn beside(url: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{path}.sig?{query}"),
        None => format!("{url}.sig"),
    }
}

/// `Some(None)`: there is none.
fn login(fetch: &Fetch, reach: &Reach<'_>, errors: &mut Errors) -> Option<Option<Login>> {
    let (username, password) = match (&fetch.username, &fetch.password) {
        (None, None) => return Some(None),
        (Some(username), Some(password)) => (username, password),
        (Some(alone), None) => {
            let problem = Problem::found("a user without a password");
            errors.add(&alone.place, problem.allowed("needed beside it: password, the name of a secret"));
            return None;
        }
        (None, Some(alone)) => {
            let problem = Problem::found("a password without a user");
            errors.add(&alone.place, problem.allowed("needed beside it: username"));
            return None;
        }
    };
    if username.0.contains(':') || username.0.chars().any(char::is_control) {
        let problem = Problem::found(format!("found \"{}\"", username.0.escape_debug()));
        errors.add(&username.place, problem.allowed("allowed: a user without ':' and control characters"));
        return None;
    }
    reach.secrets.resolve(&password.0, &password.place, errors)?;
    // One that could not be read has an error of its own.
    let secret = reach.secret_values.iter().flatten().find(|secret| secret.name == password.0)?;
    Some(Some(Login { username: username.0.clone(), password: secret.value.clone() }))
}
