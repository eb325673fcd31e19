//! What a module was made of when it came, which is enough to hold it against the region file again:
//! after a fetch, and each time that it is read from disk.

use bytes::Bytes;
use config::{Remote, RemoteAt};
use ring::digest::{SHA256, digest};

use super::image;
use super::signature::{Key, Signed};

pub struct Parts {
    /// Of an image.
    pub manifest: Option<Bytes>,
    /// The module itself, or the layer of the image.
    pub blob: Bytes,
    /// Where a key is named: the detached signature, or what [`Signed`] makes of that of an image.
    pub signature: Option<Vec<u8>>,
}

/// In lower case.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether these are the bytes; `what` is for the error.
pub fn hold(what: &str, bytes: &[u8], wanted: &str) -> Result<(), String> {
    let found = sha256(bytes);
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what} has the SHA-256 {found}, and {wanted} is wanted"))
}

impl Parts {
    /// The module, if everything is as the region file says.
    pub fn module(&self, remote: &Remote, key: Option<&Key>) -> Result<Bytes, String> {
        let unsigned = || "there is no signature".to_owned();
        let module = match (&remote.at, &self.manifest) {
            (RemoteAt::Https { sha256, .. }, None) => {
                hold("the module", &self.blob, sha256)?;
                self.blob.clone()
            }
            (RemoteAt::Oci { sha256, .. }, Some(manifest)) => {
                hold("the manifest", manifest, sha256)?;
                let layer = image::layer(manifest)?;
                hold("the layer", &self.blob, &layer.blob.sha256)?;
                image::module(&layer, self.blob.to_vec())?.into()
            }
            _ => return Err("parts of something else".to_owned()),
        };
        if let Some(key) = key {
            let signature = self.signature.as_deref().ok_or_else(unsigned)?;
            match &remote.at {
                RemoteAt::Https { .. } => key.verify_detached(&module, signature)?,
                RemoteAt::Oci { sha256, .. } => {
                    key.verify_image(sha256, &Signed::from_bytes(signature).ok_or_else(unsigned)?)?;
                }
            }
        }
        Ok(module)
    }
}
