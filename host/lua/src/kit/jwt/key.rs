//! Keys that verify tokens: a shared secret, a public key in PEM, a set of JSON Web Keys (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::alg_id;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer};

/// Of one set: more are no key set but an attack.
const MAX_KEYS: usize = 64;

/// What a key can be used with. The token has no say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Family {
    fn of(algorithm: Algorithm) -> Family {
        use Algorithm::*;
        match algorithm {
            HS256 | HS384 | HS512 => Family::Secret,
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => Family::Rsa,
            ES256 => Family::P256,
            ES384 => Family::P384,
            EdDSA => Family::Ed25519,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Family::Secret => "a secret",
            Family::Rsa => "an RSA key",
            Family::P256 => "a P-256 key",
            Family::P384 => "a P-384 key",
            Family::Ed25519 => "an Ed25519 key",
        }
    }
}

pub struct Key {
    family: Family,
    id: Option<String>,
    /// The one algorithm that its owner gave it.
    algorithm: Option<String>,
    key: DecodingKey,
}

/// What a token is verified with.
pub enum Keys {
    Here(Vec<Key>),
    /// A secret that the host keeps, by its name.
    Held(String),
}

impl Keys {
    pub fn secret(secret: &[u8]) -> Result<Keys, String> {
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(Keys::one(Family::Secret, DecodingKey::from_secret(secret)))
    }

    pub fn held(name: &str) -> Keys {
        Keys::Held(name.to_owned())
    }

    fn one(family: Family, key: DecodingKey) -> Keys {
        Keys::Here(vec![Key { family, id: None, algorithm: None, key }])
    }

    pub fn pem(text: &[u8]) -> Result<Keys, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| {
            "public_key is no PEM of the form -----BEGIN PUBLIC KEY----- (openssl x509 -pubkey, openssl rsa -RSAPublicKey_in \
             -pubout make one of a certificate and of an RSA PUBLIC KEY)"
                .to_owned()
        })?;
        let broken = || "public_key is no SubjectPublicKeyInfo".to_owned();
        let (algorithm, key) = spki(&der).ok_or_else(broken)?;
        let is = |known: AlgorithmIdentifier| algorithm == known.as_ref();
        let keys = if is(alg_id::RSA_ENCRYPTION) {
            Keys::one(Family::Rsa, DecodingKey::from_rsa_der(key))
        } else if is(alg_id::ECDSA_P256) {
            Keys::one(Family::P256, DecodingKey::from_ec_der(key))
        } else if is(alg_id::ECDSA_P384) {
            Keys::one(Family::P384, DecodingKey::from_ec_der(key))
        } else if is(alg_id::ED25519) {
            Keys::one(Family::Ed25519, DecodingKey::from_ed_der(key))
        } else {
            return Err("public_key is of a kind that is not known; allowed: RSA, P-256, P-384, Ed25519".to_owned());
        };
        Ok(keys)
    }

    /// A set, or one key alone. Keys for other ends than signatures, or of kinds that are not known,
    /// are passed over, as the RFC asks.
    pub fn jwks(text: &[u8]) -> Result<Keys, String> {
        let all: Vec<Jwk> = match serde_json::from_slice::<JwkSet>(text) {
            Ok(set) => set.keys,
            Err(_) => match serde_json::from_slice::<serde_json::Value>(text) {
                Ok(mut value) => match value.get_mut("keys").map(serde_json::Value::take) {
                    Some(serde_json::Value::Array(keys)) => {
                        keys.into_iter().filter_map(|k| serde_json::from_value(k).ok()).collect()
                    }
                    _ => vec![
                        serde_json::from_value(value).map_err(|error| format!("jwks is no set of keys: {error}"))?,
                    ],
                },
                Err(error) => return Err(format!("jwks is no JSON: {error}")),
            },
        };
        if all.len() > MAX_KEYS {
            return Err(format!("jwks has {} keys, it may have {MAX_KEYS}", all.len()));
        }
        let keys: Vec<Key> = all.iter().filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("jwks has no key that verifies (RSA, P-256, P-384, Ed25519 or oct)".to_owned());
        }
        Ok(Keys::Here(keys))
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Key> {
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Family::Rsa,
            AlgorithmParameters::OctetKey(_) => Family::Secret,
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => Family::P256,
                EllipticCurve::P384 => Family::P384,
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Family::Ed25519,
            AlgorithmParameters::OctetKeyPair(_) => return None,
        };
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
        Some(Key { family, id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
    }
}

/// The key for a token's algorithm: that of its `kid`, or the only one that fits.
pub fn find<'a>(keys: &'a [Key], algorithm: Algorithm, id: Option<&str>) -> Result<&'a DecodingKey, String> {
    let family = Family::of(algorithm);
    let name = format!("{algorithm:?}");
    let fits = |key: &&Key| key.family == family && key.algorithm.as_ref().is_none_or(|own| *own == name);
    let named = |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
    let mut fitting = keys.iter().filter(fits).filter(named);
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(&key.key),
        // One that has the very name wins over those that have none.
        (Some(_), Some(_)) => {
            let exact = keys.iter().filter(fits).find(|key| id.is_some() && key.id.as_deref() == id);
            exact
                .map(|key| &key.key)
                .ok_or_else(|| format!("several keys fit {name}, and the token names none by `kid`"))
        }
        (None, _) => {
            let have: Vec<_> = keys.iter().map(|key| key.family.name()).collect();
            let wanted = id.map(|id| format!(" named \"{id}\"")).unwrap_or_default();
            Err(format!("{name} takes {}{wanted}; there is {}", family.name(), have.join(", ")))
        }
    }
}

/// The algorithm's identifier and the key of a SubjectPublicKeyInfo (RFC 5280, 4.1): a sequence of a
/// sequence and a bit string.
fn spki(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (all, _) = element(der, SEQUENCE)?;
    let (algorithm, rest) = element(all, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // No unused bits at the end.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    Some((algorithm, key))
}

/// The content of the element that `der` begins with, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 | 0x82 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(len)).flatten()
}
