//! Modules at `oci://`: images in the layouts of other hosts, from a registry that wants a token.

use harness::signer::sha256;
use harness::{Edge, Origin, Registry, Setup, Signer, module, registry};
use serde_json::json;

use crate::sources::{Scene, region, source, version_of, wait_for_source, wait_for_version};

impl Scene {
    fn registry(&self) -> Registry {
        Registry::start(&self.certificate)
    }

    fn image(&self, registry: &Registry, digest: &str, more: &str) -> Setup {
        let keys =
            format!("    wasm: {}\n    fetch: {{ca: {}{more}}}\n", registry.reference(digest), self.ca().display());
        self.setup(format!("secrets: [{{name: pulls, file: password}}]\n{}", region(&keys)))
            .file("password", "pa55word\n")
    }
}

#[track_caller]
fn refused(setup: Setup, what: &str) -> Edge {
    let edge = setup.start();
    let failed = wait_for_source(&edge, "failed", |source| source["state"] == "failed");
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains(what)), "{what}: {failed:#}");
    assert_eq!(edge.get("/").status, 503);
    edge
}

#[test]
fn an_image_is_taken_in_both_layouts_with_a_token_for_anybody() {
    let scene = Scene::new();
    let registry = scene.registry();
    for (version, compat) in [("artifact", false), ("compat", true)] {
        let module = module::version(version);
        let digest = if compat { registry.push_compat(&module) } else { registry.push_artifact(&module) };
        let edge = scene.image(&registry, &digest, "").start();
        assert_eq!(version_of(&edge).as_deref(), Some(version));
        let source = source(&edge);
        assert_eq!((source["state"].as_str(), source["sha256"].as_str()), (Some("ready"), Some(&*digest)));
        let seen = registry.origin.seen();
        assert!(seen.iter().all(|head| head.headers.get("authorization").is_none_or(|a| a.starts_with("Bearer "))));
    }
}

#[test]
fn an_edge_starts_without_its_registry_from_what_it_kept() {
    let scene = Scene::new();
    let (registry, signer) = (scene.registry(), Signer::p256());
    let digest = registry.push_compat(&module::version("one"));
    registry.sign(&digest, &digest, &signer);
    let start =
        || scene.image(&registry, &digest, ", wait: 0s, public_key: key.pem").file("key.pem", &signer.pem).start();
    wait_for_version(&start(), "one");
    registry.origin.stop();
    let edge = start();
    assert_eq!(version_of(&edge).as_deref(), Some("one"));
    assert_eq!(source(&edge)["from_disk"], true);
    drop(edge);
    // Any of the files may be damaged: each is held against what the one before it says.
    let folder = scene.folder.path().join("cache/forebay/modules");
    let files: Vec<_> = std::fs::read_dir(&folder).expect("it is there").flatten().map(|file| file.path()).collect();
    assert_eq!(files.len(), 3, "a manifest, a layer and a signature: {files:?}");
    for file in files {
        let good = std::fs::read(&file).expect("it is there");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&file, bad).expect("it is ours");
        assert_eq!(start().get("/").status, 503, "{}", file.display());
        std::fs::write(&file, good).expect("it is ours");
    }
    assert_eq!(version_of(&start()).as_deref(), Some("one"));
}

#[test]
fn a_private_image_takes_user_and_password_which_no_one_else_is_told() {
    let scene = Scene::new();
    let (registry, module) = (scene.registry(), module::version("one"));
    registry.login("robot", "pa55word");
    let digest = registry.push_artifact(&module);
    drop(refused(scene.image(&registry, &digest, ", wait: 0s"), "401"));
    // Blobs are elsewhere, as those of large registries are.
    let storage = Origin::serve_tls(&scene.certificate, move |exchange| exchange.respond(200, &[], &module));
    registry.blobs_at(&storage.address.to_string());
    let edge = scene.image(&registry, &digest, ", username: robot, password: pulls").start();
    assert_eq!(version_of(&edge).as_deref(), Some("one"));
    assert_eq!((storage.requests(), storage.last().headers.get("authorization")), (1, None));
    let basic = registry::basic("robot", "pa55word");
    let told = registry.origin.seen().into_iter().filter(|head| head.headers.get("authorization") == Some(&basic));
    assert_eq!(
        told.map(|head| head.target().split('?').next().unwrap_or_default().to_owned()).collect::<Vec<_>>(),
        ["/token"]
    );
    for view in ["/config", "/plugins"].map(|path| edge.admin(path).text().to_owned()) {
        assert!(!view.contains("pa55word") && !view.contains("t0ken-of"), "{view}");
    }
    assert!(!edge.process.log_has("pa55word") && !edge.process.log_has("t0ken-of"));
}

#[test]
fn a_password_goes_to_another_host_for_a_token_only_where_the_region_allows_it() {
    let scene = Scene::new();
    let (registry, tokens) = (scene.registry(), scene.registry());
    tokens.login("robot", "pa55word");
    registry.tokens_at(&tokens.host());
    let digest = registry.push_artifact(&module::version("one"));
    let login = ", wait: 0s, username: robot, password: pulls";
    let what = format!("`token_host: {}` allows it", tokens.host());
    drop(refused(scene.image(&registry, &digest, login), &what));
    assert_eq!(tokens.origin.connections(), 0);
    let edge = scene.image(&registry, &digest, &format!("{login}, token_host: \"{}\"", tokens.host())).start();
    wait_for_version(&edge, "one");
    assert_eq!(tokens.origin.requests(), 1);
}

#[test]
fn what_a_registry_gives_is_held_against_its_digests() {
    let good = module::version("one");
    {
        let (scene, other) = (Scene::new(), b"{\"layers\": []}");
        let registry = scene.registry();
        let digest = registry.push_artifact(&good);
        registry.put_manifest(&format!("sha256:{digest}"), other);
        let what = format!("the manifest has the SHA-256 {}, and {digest} is wanted", sha256(other));
        drop(refused(scene.image(&registry, &digest, ", wait: 0s"), &what));
    }
    {
        let scene = Scene::new();
        let registry = scene.registry();
        let digest = registry.push_compat(&good);
        registry.spoil_blobs();
        drop(refused(scene.image(&registry, &digest, ", wait: 0s"), "the layer has the SHA-256"));
    }
    {
        let scene = Scene::new();
        let registry = scene.registry();
        let index = json!({ "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{ "digest": "sha256:1234" }] });
        let index = index.to_string();
        let digest = sha256(index.as_bytes());
        registry.put_manifest(&format!("sha256:{digest}"), index.as_bytes());
        drop(refused(scene.image(&registry, &digest, ", wait: 0s"), "pin one of them: sha256:1234"));
    }
    {
        let scene = Scene::new();
        let registry = scene.registry();
        let digest = sha256(b"nothing");
        drop(refused(scene.image(&registry, &digest, ", wait: 0s"), "404"));
        registry.origin.stop();
    }
}

#[test]
fn an_image_must_be_signed_by_the_key_that_the_region_names() {
    let (signer, other) = (Signer::ed25519(), Signer::p256());
    let key = ", wait: 0s, public_key: key.pem";
    let scene = || {
        let scene = Scene::new();
        let registry = scene.registry();
        let digest = registry.push_artifact(&module::version("one"));
        (scene, registry, digest)
    };
    let start = |(scene, registry, digest): &(Scene, Registry, String)| {
        scene.image(registry, digest, key).file("key.pem", &signer.pem)
    };
    let unsigned = scene();
    let edge = refused(start(&unsigned), "the signature of the image: ");
    // What is not signed is not even fetched.
    assert!(unsigned.1.origin.seen().iter().all(|head| !head.target().contains("/blobs/")));
    // Signed by then, it serves, and nobody had to say so.
    unsigned.1.sign(&unsigned.2, &unsigned.2, &signer);
    wait_for_version(&edge, "one");
    drop(edge);
    let foreign = scene();
    foreign.1.sign(&foreign.2, &foreign.2, &other);
    drop(refused(start(&foreign), "not one by the public key"));
    let another = scene();
    another.1.sign(&another.2, &sha256(b"another image"), &signer);
    drop(refused(start(&another), "what is signed is another image"));
}

#[test]
fn a_layer_that_unpacks_without_end_costs_no_more_than_its_bound() {
    let scene = Scene::new();
    let registry = scene.registry();
    // Compresses a thousand to one; the edge stops at the bound of a module.
    let digest = registry.push_compat(&vec![0; (64 << 20) + 1]);
    drop(refused(scene.image(&registry, &digest, ", wait: 0s"), "plugin.wasm has more than 67108864 bytes"));
}
