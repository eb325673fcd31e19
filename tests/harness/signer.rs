//! A key pair, its public half as PEM, and signatures by it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

pub struct Signer {
    /// The public key.
    pub pem: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    pub fn ed25519() -> Signer {
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key can be made");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&made.serialize_der()).expect("it was just made");
        Signer { pem: made.public_key_pem(), pair: Pair::Ed25519(pair) }
    }

    pub fn p256() -> Signer {
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key can be made");
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(kind, &made.serialize_der(), &SystemRandom::new());
        Signer { pem: made.public_key_pem(), pair: Pair::P256(pair.expect("it was just made")) }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).expect("it signs").as_ref().to_vec(),
        }
    }

    /// The same in base64.
    pub fn sign_text(&self, message: &[u8]) -> String {
        BASE64.encode(self.sign(message))
    }
}

/// 64 digits in lower case.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
