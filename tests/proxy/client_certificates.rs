//! Clients that show a certificate, and those that cannot: who is let in, and what plugins are told of them.

use std::sync::Arc;

use harness::client_http2::Ask;
use harness::process::run;
use harness::{
    Authority, Certificate, Client, Edge, Headers, Http2, Identity, Origin, PATIENCE, Setup, list, wait_until,
};

/// Each header and the property that it is told of; those of the engines begin with `x-lua-` and `x-wasm-`.
const FACTS: &[(&str, &str)] = &[
    ("subject", "connection.subject_peer_certificate"),
    ("dns", "connection.dns_san_peer_certificate"),
    ("uri", "connection.uri_san_peer_certificate"),
    ("digest", "connection.sha256_peer_certificate_digest"),
    ("mtls", "connection.mtls"),
    ("sni", "connection.requested_server_name"),
    ("tls", "connection.tls_version"),
];

fn lua() -> String {
    let tells = FACTS.iter().map(|(name, path)| {
        format!("forebay.request.headers.set(\"x-lua-{name}\", tostring((forebay.property.get(\"{path}\"))))\n")
    });
    format!(
        "local plugin = {{}}\nfunction plugin.on_request_headers()\n{}end\nreturn plugin\n",
        tells.collect::<String>()
    )
}

/// Sets each header to what its property is, if it is there.
fn wasm() -> Vec<u8> {
    let (mut data, mut tells, mut at) = (String::new(), String::new(), 1024);
    for (name, path) in FACTS {
        let (header, path) = (format!("x-wasm-{name}"), path.replace('.', "\\00"));
        let (header_len, path_len) = (header.len(), path.len() - 2);
        data.push_str(&format!("(data (i32.const {at}) \"{header}{path}\")"));
        tells.push_str(&format!(
            "(if (i32.eqz (call $get (i32.const {}) (i32.const {path_len}) (i32.const 16) (i32.const 20)))
               (then (drop (call $set (i32.const 0) (i32.const {at}) (i32.const {header_len})
                 (i32.load (i32.const 16)) (i32.load (i32.const 20))))))",
            at + header_len
        ));
        at += header_len + path_len;
    }
    let text = format!(
        r#"(module
          (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) {data}
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {tells} (i32.const 0)))"#
    );
    wat::parse_str(text).expect("the text of the module is right")
}

fn region(origin: &Origin) -> String {
    format!(
        "plugins:\n  - {{name: first, lua: first.lua}}\n  - {{name: second, wasm: second.wasm}}\n\
         routes:\n  - name: all\n    plugins: [first, second]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n",
        list(&[origin.address])
    )
}

/// An edge whose clients `authority` certifies; `more` goes into `tls.clients`.
fn start(origin: &Origin, authority: &Authority, more: &str) -> (Edge, Certificate) {
    let setup = Setup::new(region(origin));
    let certificate = Certificate::write(setup.folder());
    let keys =
        format!("      tls: {{certificate: certificate.pem, key: key.pem, clients: {{roots: clients.pem{more}}}}}");
    let setup = setup.file("clients.pem", &authority.pem).file("first.lua", lua()).file("second.wasm", wasm());
    (setup.listener(&keys).start(), certificate)
}

fn connect(edge: &Edge, trusted: &Certificate, identity: Option<&Identity>) -> std::io::Result<Client> {
    Client::connect_tls_with(edge.address, trusted.client_as(&["http/1.1"], identity))
}

/// That there is no answer: in TLS 1.3 a client hears of it after its own part of the handshake.
#[track_caller]
fn refused(edge: &Edge, trusted: &Certificate, identity: Option<&Identity>) {
    let Ok(mut client) = connect(edge, trusted, identity) else { return };
    let answered =
        client.messages.write(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").and_then(|()| client.try_response());
    let error = answered.map(|response| panic!("answered {}", response.status)).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("timed out") && !text.contains("temporarily"), "no refusal, but silence: {text}");
}

fn told<'a>(headers: &'a Headers, name: &str) -> [Option<&'a str>; 2] {
    ["lua", "wasm"].map(|engine| headers.get(&format!("x-{engine}-{name}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// That both engines were told of `shopper`, by whom `identity` was made.
#[track_caller]
fn are_of(headers: &Headers, name: &str, identity: &Identity) {
    let digest = hex(ring::digest::digest(&ring::digest::SHA256, &identity.certificate).as_ref());
    let subject = format!("CN={name},O=Tests\\, all of them");
    let expected = [
        ("subject", subject),
        ("dns", format!("{name}.clients.test")),
        ("uri", format!("spiffe://test/{name}")),
        ("digest", digest),
        ("sni", "localhost".to_owned()),
        ("tls", "TLSv1.3".to_owned()),
    ];
    for (fact, value) in expected {
        assert_eq!(told(headers, fact), [Some(&*value); 2], "{fact}");
    }
    // One byte in proxy-wasm, which the header says as it is.
    assert_eq!(told(headers, "mtls")[0], Some("true"));
}

#[test]
fn both_engines_are_told_who_the_client_is_and_tell_the_origin() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    let (edge, trusted) = start(&origin, &authority, "");
    let shopper = authority.client("shopper");
    let mut client = connect(&edge, &trusted, Some(&shopper)).expect("a handshake");
    // What a client says of itself is replaced by what is so.
    client.request(
        "GET",
        "/",
        &[("Host", "shop.test"), ("x-lua-subject", "CN=root"), ("x-wasm-subject", "CN=root")],
        b"",
    );
    assert_eq!(client.response().status, 200);
    are_of(&origin.last().headers, "shopper", &shopper);
    let other = authority.client("other");
    let mut client = connect(&edge, &trusted, Some(&other)).expect("a handshake");
    assert_eq!(client.get("/").status, 200);
    are_of(&origin.last().headers, "other", &other);
}

#[test]
fn streams_of_http_2_are_of_the_client_that_has_opened_the_connection() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    let (edge, trusted) = start(&origin, &authority, "");
    let shopper = authority.client("shopper");
    let mut client = Http2::connect_tls(edge.address, trusted.client_as(&["h2"], Some(&shopper)));
    for answer in client.ask_all((0..8).map(|n| Ask::get(&format!("/{n}"))).collect()) {
        assert_eq!(answer.expect("an answer").status, 200);
    }
    assert_eq!(origin.requests(), 8);
    are_of(&origin.last().headers, "shopper", &shopper);
}

#[test]
fn without_a_certificate_that_is_required_there_is_no_connection_and_nobody_else_is_harmed() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    let (edge, trusted) = start(&origin, &authority, "");
    let shopper = authority.client("shopper");
    let mut before = connect(&edge, &trusted, Some(&shopper)).expect("a handshake");
    assert_eq!(before.get("/").status, 200);
    for _ in 0..8 {
        refused(&edge, &trusted, None);
    }
    assert_eq!(before.get("/").status, 200);
    let mut after = connect(&edge, &trusted, Some(&shopper)).expect("a handshake");
    assert_eq!(after.get("/").status, 200);
    assert_eq!(origin.requests(), 3);
}

#[test]
fn what_no_root_leads_to_and_what_has_expired_is_refused_also_where_none_is_needed() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    for more in ["", ", certificate: optional"] {
        let (edge, trusted) = start(&origin, &authority, more);
        // Of the same name, but not the same.
        refused(&edge, &trusted, Some(&Authority::new("root of the clients").client("shopper")));
        refused(&edge, &trusted, Some(&Authority::new("another root").client("shopper")));
        refused(&edge, &trusted, Some(&authority.expired_client("shopper")));
        assert_eq!(origin.requests(), 0);
    }
}

#[test]
fn a_client_without_an_optional_certificate_is_served_and_nothing_is_said_of_it() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    let (edge, trusted) = start(&origin, &authority, ", certificate: optional");
    let mut client = connect(&edge, &trusted, None).expect("a handshake");
    assert_eq!(client.get("/").status, 200);
    let headers = origin.last().headers;
    for fact in ["subject", "dns", "uri", "digest"] {
        assert_eq!(told(&headers, fact), [Some("nil"), None], "{fact}");
    }
    assert_eq!(told(&headers, "mtls")[0], Some("false"));
    let shopper = authority.client("shopper");
    let mut client = connect(&edge, &trusted, Some(&shopper)).expect("a handshake");
    assert_eq!(client.get("/").status, 200);
    are_of(&origin.last().headers, "shopper", &shopper);
}

#[test]
fn a_reload_takes_changed_roots_and_refuses_broken_ones() {
    let origin = Origin::saying("ok");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (mut edge, trusted) = start(&origin, &old, "");
    let (of_old, of_new) = (old.client("shopper"), new.client("shopper"));
    let mut open = connect(&edge, &trusted, Some(&of_old)).expect("a handshake");
    assert_eq!(open.get("/").status, 200);
    refused(&edge, &trusted, Some(&of_new));
    edge.process.expect_error("clients.pem");
    edge.folder().write("clients.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    edge.reload(&region(&origin));
    edge.process.wait_for_log(&["reload refused", "clients.pem: certificate 1 cannot be a root of clients"]);
    assert_eq!(connect(&edge, &trusted, Some(&of_old)).expect("a handshake").get("/").status, 200);
    edge.folder().write("clients.pem", &new.pem);
    edge.reload(&region(&origin));
    wait_until("the new root to hold", PATIENCE, || {
        let mut client = connect(&edge, &trusted, Some(&of_new)).ok()?;
        client.messages.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").and_then(|()| client.try_response()).ok()
    });
    refused(&edge, &trusted, Some(&of_old));
    assert_eq!(open.get("/").status, 200, "who is in stays in");
}

/// A session that is resumed is not verified again.
#[test]
fn a_certificate_is_verified_on_each_connection() {
    let origin = Origin::saying("ok");
    let authority = Authority::new("root of the clients");
    let (edge, trusted) = start(&origin, &authority, ", certificate: optional");
    let plain = Setup::new(region(&origin));
    let of_plain = Certificate::write(plain.folder());
    let plain = plain.file("first.lua", lua()).file("second.wasm", wasm());
    let plain = plain.listener("      tls: {certificate: certificate.pem, key: key.pem}").start();
    let shopper = authority.client("shopper");
    for (edge, trusted, resumed) in [(&plain, &of_plain, true), (&edge, &trusted, false)] {
        let config = Arc::new(trusted.client_as(&["http/1.1"], Some(&shopper)));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut client = Client::connect_tls_with(edge.address, config.clone()).expect("a handshake");
            assert_eq!(client.get("/").status, 200);
            kinds.push(client.resumed);
        }
        assert_eq!(kinds, [false, resumed, resumed]);
    }
}

#[test]
fn check_says_which_root_is_none_and_that_a_key_is_of_another_certificate() {
    let setup = Setup::new("");
    let folder = setup.folder();
    Certificate::write(folder);
    let good = Authority::new("good").pem;
    let bad = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let file = folder.join("checked.yaml");
    let tls = "{certificate: certificate.pem, key: key.pem, clients: {roots: clients.pem}}";
    std::fs::write(&file, format!("edge:\n  listeners: [{{address: \"127.0.0.1:0\", tls: {tls}}}]\n")).expect("a file");
    let checked = || run(&["check", file.to_str().expect("a path in text")]);
    for (roots, said) in [
        (good.clone(), None),
        (format!("{good}{bad}"), Some("clients.pem: certificate 2 cannot be a root of clients: ")),
    ] {
        std::fs::write(folder.join("clients.pem"), roots).expect("a file");
        let output = checked();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code == Some(0), said.is_none(), "{text}");
        assert!(text.contains(said.unwrap_or_default()), "{text}");
    }
    std::fs::write(folder.join("clients.pem"), &good).expect("a file");
    assert_eq!(checked().code, Some(0));
    let another = Setup::new("");
    std::fs::copy(Certificate::write(another.folder()).key, folder.join("key.pem")).expect("a file");
    let output = checked();
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("certificate.pem: keys may not be consistent"), "{}", output.stderr);
}
