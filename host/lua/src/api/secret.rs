//! `forebay.secret`. The handles are made in the prelude; a secret itself never enters a VM.

use abi::Algorithm;

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "secret" mark;
    "secret:hmac" hmac;
};

/// `secret(name)`: what stands for it in a callout's headers.
fn mark(asked: Asked) -> Reply {
    let name = asked.name(1, "secret", "name")?;
    match asked.vm.host().secret(name) {
        Ok(mark) => {
            asked.state.push_bytes(mark.as_bytes());
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `hmac(name, algorithm, data)`
fn hmac(asked: Asked) -> Reply {
    let name = asked.name(1, "secret:hmac", "name")?;
    let algorithm = asked.name(2, "secret:hmac", "algorithm")?;
    let data = asked.text(3, "secret:hmac", "data")?;
    let digest =
        Algorithm::from_name(algorithm).and_then(|algorithm| asked.vm.host().secret_hmac(name, algorithm, data));
    match digest {
        Ok(digest) => {
            asked.state.push_bytes(&digest);
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}
