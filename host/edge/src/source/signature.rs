//! Signatures of modules, by a public key that the region file names.
//!
//! A module at https:// has a detached one: the bytes of it (`openssl pkeyutl -sign`) or those in base64
//! (`cosign sign-blob`). An image has cosign's: a small text that names the digest of the image's manifest
//! (**simple signing**), and a signature of that text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// What stands before the key itself in the two kinds of SubjectPublicKeyInfo that are taken.
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const TYPE: &str = "cosign container image signature";

/// A public key.
pub struct Key {
    kind: Kind,
    /// As `ring` takes it.
    point: Vec<u8>,
}

enum Kind {
    Ed25519,
    P256,
}

impl Key {
    pub fn parse(pem: &[u8]) -> Result<Key, String> {
        const ALLOWED: &str = "allowed: ed25519 and ECDSA P-256, as PEM that begins with -----BEGIN PUBLIC KEY-----";
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|error| format!("{error}; {ALLOWED}"))?;
        let info: &[u8] = info.as_ref();
        let of = |prefix: &[u8], length| info.strip_prefix(prefix).filter(|point| point.len() == length);
        let (kind, point) = match (of(&ED25519_INFO, 32), of(&P256_INFO, 65)) {
            (Some(point), _) => (Kind::Ed25519, point),
            // 4: both coordinates.
            (None, Some(point)) if point[0] == 4 => (Kind::P256, point),
            _ => return Err(format!("a key of another kind; {ALLOWED}")),
        };
        Ok(Key { kind, point: point.to_vec() })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self.kind {
            Kind::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.point).verify(message, signature),
            Kind::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature),
        };
        verified.is_ok()
    }

    /// Holds a file against its detached signature.
    pub fn verify_detached(&self, file: &[u8], signature: &[u8]) -> Result<(), String> {
        let decoded = BASE64.decode(signature.trim_ascii());
        if self.verifies(file, signature) || decoded.is_ok_and(|decoded| self.verifies(file, &decoded)) {
            return Ok(());
        }
        Err("the signature is not one of this module by the public key".to_owned())
    }

    /// Holds an image, by the digest of its manifest, against cosign's signature of it.
    pub fn verify_image(&self, sha256: &str, signed: &Signed) -> Result<(), String> {
        let decoded = BASE64.decode(signed.signature.trim()).unwrap_or_default();
        if !self.verifies(&signed.payload, &decoded) {
            return Err("the signature of the image is not one by the public key".to_owned());
        }
        let payload: Value = serde_json::from_slice(&signed.payload)
            .map_err(|error| format!("what is signed is no simple signing: {error}"))?;
        let critical = &payload["critical"];
        if critical["type"] != TYPE {
            return Err(format!("what is signed is of type {}, not {TYPE:?}", critical["type"]));
        }
        let digest = &critical["image"]["docker-manifest-digest"];
        if *digest != format!("sha256:{sha256}") {
            return Err(format!("what is signed is another image, {digest}"));
        }
        Ok(())
    }
}

/// A text, and its signature in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub payload: Vec<u8>,
    pub signature: String,
}

impl Signed {
    /// For the disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        json!({ "payload": BASE64.encode(&self.payload), "signature": self.signature }).to_string().into_bytes()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Signed> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let payload = BASE64.decode(value["payload"].as_str()?).ok()?;
        Some(Signed { payload, signature: value["signature"].as_str()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

    fn pem(info: &[u8], point: &[u8]) -> Vec<u8> {
        let text = BASE64.encode([info, point].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
    }

    type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

    /// A key of each kind, and what signs by it.
    fn keys() -> Vec<(Key, Sign)> {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(kind, p256.as_ref(), &random).unwrap();
        let ed_key = Key::parse(&pem(&ED25519_INFO, ed.public_key().as_ref())).unwrap();
        let p256_key = Key::parse(&pem(&P256_INFO, p256.public_key().as_ref())).unwrap();
        vec![
            (ed_key, Box::new(move |message| ed.sign(message).as_ref().to_vec())),
            (p256_key, Box::new(move |message| p256.sign(&random, message).unwrap().as_ref().to_vec())),
        ]
    }

    #[test]
    fn a_detached_signature_is_of_these_bytes_or_of_none() {
        for (key, sign) in keys() {
            let signature = sign(b"module");
            key.verify_detached(b"module", &signature).unwrap();
            let text = BASE64.encode(&signature) + "\n";
            key.verify_detached(b"module", text.as_bytes()).unwrap();
            assert!(key.verify_detached(b"modulf", &signature).is_err());
            assert!(key.verify_detached(b"module", &signature[1..]).is_err());
            assert!(key.verify_detached(b"module", b"").is_err());
        }
        let two = keys();
        assert!(two[0].0.verify_detached(b"module", &two[1].1(b"module")).is_err(), "another's");
    }

    #[test]
    fn an_image_is_the_one_that_the_signed_text_names() {
        let sha256 = "ab".repeat(32);
        let payload = |kind: &str, digest: &str| {
            json!({ "critical": { "identity": { "docker-reference": "" }, "type": kind,
                "image": { "docker-manifest-digest": digest } }, "optional": null })
            .to_string()
            .into_bytes()
        };
        for (key, sign) in keys() {
            let verify = |payload: Vec<u8>| {
                let signed = Signed { signature: BASE64.encode(sign(&payload)), payload };
                assert_eq!(Signed::from_bytes(&signed.to_bytes()), Some(signed.clone()));
                key.verify_image(&sha256, &signed)
            };
            verify(payload(TYPE, &format!("sha256:{sha256}"))).unwrap();
            assert!(verify(payload(TYPE, &format!("sha256:{}", "cd".repeat(32)))).is_err());
            assert!(verify(payload(TYPE, &sha256)).is_err());
            assert!(verify(payload("atomic container signature", &format!("sha256:{sha256}"))).is_err());
            assert!(verify(b"{}".to_vec()).is_err());
            assert!(verify(b"no JSON".to_vec()).is_err());
            let foreign = Signed { payload: payload(TYPE, &format!("sha256:{sha256}")), signature: "AAAA".to_owned() };
            assert!(key.verify_image(&sha256, &foreign).is_err());
        }
    }

    #[test]
    fn other_keys_are_refused_with_what_is_allowed() {
        let mut compressed = vec![2];
        compressed.extend([0; 64]);
        for bad in [pem(&[0x30, 0x0d], &[0; 16]), pem(&P256_INFO, &compressed), b"no PEM".to_vec(), Vec::new()] {
            let error = Key::parse(&bad).err().unwrap();
            assert!(error.contains("allowed: ed25519 and ECDSA P-256"), "{error}");
        }
    }
}
