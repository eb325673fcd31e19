//! What an image is made of, in the layouts of other hosts:
//!
//! - the **compat** layout, which Istio and Envoy take: the last layer is a tar.gz with a `plugin.wasm`;
//! - the **artifact**: one layer is the module itself.
//!
//! All of it comes from a registry, so nothing is believed: every size is bounded, and whoever asks
//! holds the digests against what was fetched.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// Bytes of a manifest; what registries must take.
pub const MOST_MANIFEST: u64 = 4 << 20;
/// Entries of a layer.
const MOST_ENTRIES: usize = 1024;
/// Bytes of a layer, unpacked: of the module, and of what lies beside it.
const MOST_UNPACKED: u64 = 2 * wasm::MAX_MODULE;
/// Signatures of one image that are looked at.
const MOST_SIGNATURES: usize = 16;

/// How manifests are asked for.
pub const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                             application/vnd.docker.distribution.manifest.v2+json";

const PLAIN: [&str; 2] = ["application/vnd.module.wasm.content.layer.v1+wasm", "application/wasm"];
const PACKED: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"];
const INDEX: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const FILE: &str = "plugin.wasm";

/// The layer that holds the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub blob: Blob,
    packed: bool,
}

/// By its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub sha256: String,
    pub size: u64,
}

/// The layer of a manifest.
pub fn layer(manifest: &[u8]) -> Result<Layer, String> {
    let manifest = parse(manifest)?;
    let layers = layers(&manifest)?;
    let kind = |layer: &&Value| layer["mediaType"].as_str().unwrap_or_default().to_owned();
    let mut plain = layers.iter().filter(|layer| PLAIN.contains(&&*kind(layer)));
    let (layer, packed) = match (plain.next(), plain.next(), layers.last()) {
        (Some(layer), None, _) => (layer, false),
        (Some(_), Some(_), _) => return Err("the image has more than one layer that is a module".to_owned()),
        (None, _, Some(layer)) if PACKED.contains(&&*kind(&layer)) => (layer, true),
        _ => {
            let found: Vec<_> = layers.iter().map(|layer| kind(&layer)).collect();
            return Err(format!(
                "no layer of the image holds a module: found {:?}; allowed: one of {}, or as the last {}",
                found,
                PLAIN.join(", "),
                PACKED.join(", ")
            ));
        }
    };
    Ok(Layer { blob: blob(layer, wasm::MAX_MODULE)?, packed })
}

/// The module in a layer that was held against its digest.
pub fn module(layer: &Layer, blob: Vec<u8>) -> Result<Vec<u8>, String> {
    if layer.packed { unpack(&blob) } else { Ok(blob) }
}

/// The texts that are signed, each with its signature in base64.
pub fn signatures(manifest: &[u8], most: u64) -> Result<Vec<(Blob, String)>, String> {
    let manifest = parse(manifest)?;
    let signed = layers(&manifest)?.iter().filter(|layer| layer["mediaType"] == SIMPLE_SIGNING);
    let found = signed.take(MOST_SIGNATURES).filter_map(|layer| {
        let signature = layer["annotations"][SIGNATURE].as_str()?;
        Some(blob(layer, most).map(|blob| (blob, signature.to_owned())))
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(format!("no layer of {SIMPLE_SIGNING} with a signature")) } else { Ok(found) }
}

fn parse(manifest: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(manifest).map_err(|error| format!("the manifest is no JSON: {error}"))?;
    let kind = value["mediaType"].as_str().unwrap_or_default();
    if INDEX.contains(&kind) || value["manifests"].is_array() {
        let of = |one: &Value| Some(one["digest"].as_str()?.chars().take(80).collect::<String>());
        let listed: Vec<_> = value["manifests"].as_array().into_iter().flatten().filter_map(of).take(8).collect();
        return Err(format!("the digest is that of an index of images: pin one of them: {}", listed.join(", ")));
    }
    Ok(value)
}

fn layers(manifest: &Value) -> Result<&Vec<Value>, String> {
    manifest["layers"].as_array().ok_or_else(|| "the manifest has no layers".to_owned())
}

fn blob(layer: &Value, most: u64) -> Result<Blob, String> {
    let digest = layer["digest"].as_str().unwrap_or_default();
    let sha256 = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    let sha256 = sha256.ok_or_else(|| format!("a layer has the digest {:?}, no sha256", digest))?.to_owned();
    let size = layer["size"].as_u64().ok_or("a layer has no size")?;
    if size > most {
        return Err(format!("a layer has {size} bytes; at most {most} are taken"));
    }
    Ok(Blob { sha256, size })
}

fn unpack(blob: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |error: std::io::Error| format!("the layer is no tar.gz that can be read: {error}");
    let mut archive = tar::Archive::new(Bounded { inner: MultiGzDecoder::new(blob), left: MOST_UNPACKED });
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count == MOST_ENTRIES {
            return Err(format!("the layer has more than {MOST_ENTRIES} entries"));
        }
        let entry = entry.map_err(broken)?;
        let named = entry.path().map_err(broken)?.file_name().is_some_and(|name| name == FILE);
        if !named || !entry.header().entry_type().is_file() {
            continue;
        }
        // Also where the header says less: it may tell of a sparse file.
        let mut module = Vec::new();
        entry.take(wasm::MAX_MODULE + 1).read_to_end(&mut module).map_err(broken)?;
        if module.len() as u64 > wasm::MAX_MODULE {
            return Err(format!("{FILE} has more than {} bytes", wasm::MAX_MODULE));
        }
        return Ok(module);
    }
    Err(format!("the layer has no file {FILE}"))
}

/// What unpacks to more than it may is an error, not an end.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| std::io::Error::other(format!("it unpacks to more than {MOST_UNPACKED} bytes")))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;
    use std::io::Write;

    fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn manifest(layers: Value) -> Vec<u8> {
        json!({ "schemaVersion": 2, "layers": layers }).to_string().into_bytes()
    }

    fn layer_of(kind: &str, size: u64) -> Value {
        json!({ "mediaType": kind, "digest": format!("sha256:{}", "ab".repeat(32)), "size": size })
    }

    #[test]
    fn a_module_is_found_in_the_layouts_of_other_hosts() {
        let config = layer_of("application/vnd.module.wasm.config.v1+json", 2);
        for (kinds, packed) in [
            (json!([config, layer_of(PLAIN[0], 4)]), false),
            (json!([layer_of(PLAIN[1], 4)]), false),
            (json!([layer_of(PACKED[0], 9), layer_of(PACKED[0], 4)]), true),
            (json!([layer_of(PACKED[1], 4)]), true),
        ] {
            let found = layer(&manifest(kinds)).unwrap();
            assert_eq!((found.packed, found.blob.size), (packed, 4));
        }
        let packed = Layer { blob: Blob { sha256: String::new(), size: 0 }, packed: true };
        for name in ["plugin.wasm", "./plugin.wasm"] {
            let layer = tar_gz(&[("runtime-config.json", b"{}"), (name, b"\0asm")]);
            assert_eq!(module(&packed, layer).unwrap(), b"\0asm");
        }
        assert_eq!(module(&Layer { packed: false, ..packed }, b"\0asm".to_vec()).unwrap(), b"\0asm");
    }

    #[test]
    fn a_manifest_without_a_module_says_what_it_has() {
        let refused = |layers: Value| layer(&manifest(layers)).unwrap_err();
        assert!(refused(json!([layer_of("text/plain", 1)])).contains("text/plain"));
        assert!(refused(json!([])).contains("no layer"));
        assert!(refused(json!([layer_of(PLAIN[0], 1), layer_of(PLAIN[1], 1)])).contains("more than one"));
        assert!(refused(json!([layer_of(PLAIN[0], u64::MAX)])).contains("at most"));
        assert!(refused(json!([{ "mediaType": PLAIN[0], "digest": "sha256:../../x", "size": 1 }])).contains("digest"));
        assert!(layer(b"{}").unwrap_err().contains("no layers"));
        assert!(layer(b"<html>").unwrap_err().contains("no JSON"));
        let index = json!({ "mediaType": INDEX[0], "manifests": [{ "digest": "sha256:12" }] });
        assert!(layer(index.to_string().as_bytes()).unwrap_err().contains("pin one of them: sha256:12"));
    }

    #[test]
    fn an_archive_that_lies_costs_no_more_than_its_bounds() {
        let refused = |layer: Vec<u8>| unpack(&layer).unwrap_err();
        assert!(refused(tar_gz(&[("other.wasm", b"\0asm")])).contains("no file plugin.wasm"));
        let good = tar_gz(&[("plugin.wasm", &[7; 4000])]);
        assert!(refused(good[..good.len() / 2].to_vec()).contains("no tar.gz"));
        assert!(refused(b"\0asm".to_vec()).contains("no tar.gz"));
        let many: Vec<(String, &[u8])> = (0..=MOST_ENTRIES).map(|n| (format!("f{n}"), &b""[..])).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
        assert!(refused(tar_gz(&many)).contains("more than 1024 entries"));
        // Zeros, a thousand to one: first beside the module, then as it.
        for name in ["zeros", "plugin.wasm"] {
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_size(MOST_UNPACKED + 4096);
            header.set_cksum();
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(header.as_bytes()).unwrap();
            let zeros = vec![0; 1 << 20];
            (0..MOST_UNPACKED / (1 << 20) + 1).for_each(|_| gz.write_all(&zeros).unwrap());
            let error = refused(gz.finish().unwrap());
            assert!(error.contains("more than"), "{error}");
        }
        // A link is no file, wherever it leads.
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "plugin.wasm", "/etc/passwd").unwrap();
        assert!(refused(tar.into_inner().unwrap().finish().unwrap()).contains("no file plugin.wasm"));
    }

    #[test]
    fn signatures_are_those_of_simple_signing() {
        let signed = |kind: &str| {
            let mut layer = layer_of(kind, 9);
            layer["annotations"] = json!({ SIGNATURE: "c2ln" });
            signatures(&manifest(json!([layer])), 64)
        };
        assert_eq!(signed(SIMPLE_SIGNING).unwrap()[0].1, "c2ln");
        assert!(signed("text/plain").is_err());
        assert!(signatures(&manifest(json!([layer_of(SIMPLE_SIGNING, 9)])), 64).is_err());
        assert!(signatures(&manifest(json!([])), 64).is_err());
    }
}
