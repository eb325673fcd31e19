//! Secrets, as one plugin may use them: in the header values of its callouts, and as keys of an
//! HMAC. Nothing here gives one to a plugin.
//!
//! A plugin holds a **mark** in place of a secret: a random text that this file puts the value in
//! the place of, and only in the callouts of the plugin that it was made for. To anybody else it is
//! a text like another, and a client cannot guess it, so nothing that a plugin passes on becomes a
//! secret by accident.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::capability::Named;
use abi::{Algorithm, Answer, Capabilities, Refusal, Status};
use arc_swap::ArcSwapOption;
use http::header::HeaderValue;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// How marks begin: nothing else is looked for in the values of headers.
const MARK: &[u8] = b"forebay-secret-";
/// Random bytes of a mark; in it stand twice as many digits.
const RANDOM: usize = 16;
/// Bytes of what is signed at once: SHA-512 takes 3 ms for them, in which nothing looks at the plugin's limit.
const MOST_HMAC: usize = 1 << 20;

/// The secrets that one bound plugin was granted.
#[derive(Default)]
pub struct Secrets {
    granted: Vec<Granted>,
    changes: AtomicU32,
}

struct Granted {
    name: String,
    /// None any more if the region no longer has it.
    secret: ArcSwapOption<config::Secret>,
    mark: Arc<str>,
}

impl Secrets {
    /// Those of the region that `capabilities` name.
    pub fn of(region: &config::Region, capabilities: &Capabilities) -> Secrets {
        let granted = capabilities.granted(Named::Secret).filter_map(|name| region.secrets.get(name));
        Secrets { granted: granted.map(Granted::new).collect(), changes: AtomicU32::new(0) }
    }

    /// Takes the values that a region has now: for a plugin that is bound no more and may still stand
    /// in for the one that is.
    pub fn renew(&self, region: &config::Region) {
        let mut changed = false;
        for granted in &self.granted {
            let now = region.secrets.get(&granted.name);
            if granted.secret.load().as_deref().map(facts) != now.map(|secret| facts(secret)) {
                granted.secret.store(now.cloned());
                changed = true;
            }
        }
        if changed {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that has brought others: an instance that began before may have made something of
    /// the old ones.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Whether these are the same secrets with the same values.
    pub fn same(&self, other: &Secrets) -> bool {
        let same = |(one, other): (&Granted, &Granted)| {
            let (one, other) = (one.secret.load(), other.secret.load());
            one.as_deref().map(facts) == other.as_deref().map(facts)
        };
        self.granted.len() == other.granted.len() && self.granted.iter().zip(&other.granted).all(same)
    }

    /// What stands for a secret.
    pub fn mark(&self, name: &str) -> Answer<Arc<str>> {
        Ok(self.find(name)?.0.mark.clone())
    }

    pub fn hmac(&self, name: &str, algorithm: Algorithm, data: &[u8]) -> Answer<Vec<u8>> {
        if data.len() > MOST_HMAC {
            let text = format!("secret.hmac: {} bytes, it takes {MOST_HMAC}", data.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let algorithm = match algorithm {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let key = hmac::Key::new(algorithm, self.find(name)?.1.value.bytes());
        Ok(hmac::sign(&key, data).as_ref().to_vec())
    }

    /// The value of a header of a callout to `target`, if it ends in one of our marks: with the
    /// secret in the mark's place. No error shows what would have been sent.
    pub fn reveal(&self, target: &str, value: &[u8]) -> Answer<Option<HeaderValue>> {
        let Some(at) = value.len().checked_sub(MARK.len() + 2 * RANDOM) else { return Ok(None) };
        if !value[at..].starts_with(MARK) {
            return Ok(None);
        }
        let Some(granted) = self.granted.iter().find(|known| known.mark.as_bytes() == &value[at..]) else {
            return Ok(None);
        };
        let (_, secret) = self.find(&granted.name)?;
        let config::Secret { name, targets, .. } = &*secret;
        if !targets.is_empty() && !targets.iter().any(|allowed| allowed == target) {
            let text = format!("http.call: secret {name:?} may not go to {target:?} (only to: {})", targets.join(", "));
            return Err(Refusal::new(Status::CapabilityDenied, text));
        }
        let whole = [&value[..at], secret.value.bytes()].concat();
        let mut value = HeaderValue::from_bytes(&whole).map_err(|_| not_a_value(name))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Who asks has been granted it, and it was in the file when that was checked.
    fn find(&self, name: &str) -> Answer<(&Granted, Arc<config::Secret>)> {
        let granted = self.granted.iter().find(|granted| granted.name == name);
        let found = granted.and_then(|granted| Some((granted, granted.secret.load_full()?)));
        found.ok_or_else(|| Refusal::new(Status::NotFound, format!("there is no secret {name:?}")))
    }
}

impl Granted {
    fn new(secret: &Arc<config::Secret>) -> Granted {
        Granted { name: secret.name.clone(), secret: ArcSwapOption::new(Some(secret.clone())), mark: mark() }
    }
}

/// What makes a secret another one; not where it comes from.
fn facts(secret: &config::Secret) -> (&String, &Vec<String>, &config::SecretValue) {
    let config::Secret { name, targets, value, source: _ } = secret;
    (name, targets, value)
}

#[cold]
fn not_a_value(name: &str) -> Refusal {
    let text = format!("http.call: secret {name:?} has bytes that no header may hold");
    Refusal::new(Status::BadArgument, text)
}

fn mark() -> Arc<str> {
    let mut random = [0; RANDOM];
    SystemRandom::new().fill(&mut random).expect("the system gives random bytes");
    let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| char::from_digit(digit.into(), 16).expect("a digit"));
    String::from_utf8_lossy(MARK).chars().chain(digits).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str, targets: &[&str]) -> Arc<config::Secret> {
        Arc::new(config::Secret {
            name: "key".to_owned(),
            source: config::SecretSource::Env("KEY".to_owned()),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            value: config::SecretValue::new(value.into()),
        })
    }

    fn secrets(value: &str, targets: &[&str]) -> Secrets {
        Secrets { granted: vec![Granted::new(&secret(value, targets))], changes: AtomicU32::new(0) }
    }

    #[test]
    fn a_mark_stands_for_the_value_that_the_region_has_now() {
        let file = "edge: {name: e, listeners: [{address: \"127.0.0.1:0\"}]}\nroutes: [{name: a, respond: {}}]\n";
        let mut region = config::parse(file, "region.yaml".as_ref(), "/".as_ref()).unwrap();
        let secrets = secrets("old", &[]);
        let mark = secrets.mark("key").unwrap();
        region.secrets.insert("key".to_owned(), secret("old", &[]));
        secrets.renew(&region);
        assert_eq!(secrets.changes(), 0, "nothing has changed");
        region.secrets.insert("key".to_owned(), secret("new", &[]));
        secrets.renew(&region);
        assert_eq!(secrets.changes(), 1);
        assert_eq!(secrets.mark("key").unwrap(), mark);
        assert_eq!(secrets.reveal("api", mark.as_bytes()).unwrap().unwrap(), "new");
        region.secrets.clear();
        secrets.renew(&region);
        assert_eq!(secrets.reveal("api", mark.as_bytes()).unwrap_err().status, Status::NotFound);
        let refused = secrets.hmac("key", Algorithm::Sha256, &vec![0; MOST_HMAC + 1]).unwrap_err();
        assert_eq!(refused.message, "secret.hmac: 1048577 bytes, it takes 1048576");
        assert_eq!(secrets.hmac("key", Algorithm::Sha256, b"").unwrap_err().status, Status::NotFound);
    }

    #[test]
    fn a_mark_means_something_to_its_own_plugin_alone() {
        let (mine, other) = (secrets("s3cr3t", &[]), secrets("0ther", &[]));
        let value = format!("Bearer {}", mine.mark("key").unwrap());
        assert_eq!(mine.reveal("api", value.as_bytes()).unwrap().unwrap(), "Bearer s3cr3t");
        assert_eq!(other.reveal("api", value.as_bytes()).unwrap(), None);
        let behind = format!("{value} and more");
        assert_eq!(mine.reveal("api", behind.as_bytes()).unwrap(), None, "only at the end");
        assert_eq!(mine.reveal("api", b"forebay-secret-").unwrap(), None);
        assert!(!format!("{:?}", mine.reveal("api", value.as_bytes())).contains("s3cr3t"), "marked as sensitive");
    }

    #[test]
    fn a_secret_goes_only_where_it_may() {
        let secrets = secrets("s3cr3t", &["api"]);
        let value = secrets.mark("key").unwrap();
        assert!(secrets.reveal("api", value.as_bytes()).unwrap().is_some());
        let refusal = secrets.reveal("echo", value.as_bytes()).unwrap_err();
        assert_eq!(refusal.status, Status::CapabilityDenied);
        assert_eq!(refusal.message, "http.call: secret \"key\" may not go to \"echo\" (only to: api)");
    }

    #[test]
    fn no_error_shows_a_value() {
        let secrets = secrets("two\nlines", &[]);
        let refusal = secrets.reveal("api", secrets.mark("key").unwrap().as_bytes()).unwrap_err();
        assert!(!refusal.message.contains("two") && refusal.message.contains("\"key\""), "{refusal}");
        assert_eq!(secrets.mark("kez").unwrap_err().status, Status::NotFound);
    }

    #[test]
    fn a_digest_is_that_of_rfc_4231() {
        let secrets = secrets("Jefe", &[]);
        let digest = secrets.hmac("key", Algorithm::Sha256, b"what do ya want for nothing?").unwrap();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
