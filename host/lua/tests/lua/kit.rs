//! Over 400 lines, as each module is a handful of tables of cases. The modules of sdk-lua that are native: what they give, refuse, and how long they may take.

use std::time::Duration;

use abi::{Limits, Verdict};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use crate::fake::*;

/// Made by openssl, as ring makes no RSA keys; expires at 100 s, issued by "us".
const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvXGiXKXFKRf70d78s4Op\nW/fgJZDV9zg6rQtx19ljE1RzPOIDAz1gW1Zp7QMiZu7cPXCQ6LMDFTe49N78RL5P\n4h7bk7pbi5Jnt33NNrNeoTDv3nzcvOWSpmEWNjovur+y7O+oIGefQX3Uo1554dXw\n1rAtEwOUxYFe5fHI+1JH4XWWP9Ew4olxKVVHzr7q/eRDki8vKuDxPwobyAtOYpql\nTLt5OFAuSl8SfGjgmZS0GDPxz3zmK9hqaMyBymyWJXxCL1plJOKegnZ5u7pC/8Ip\nC3SQLBVJ2NdXLbumrGmbf2Z9zc1JsqjK5nxs3FN/mTIw3/GtX9u8A90hG9i7WSLA\nWwIDAQAB\n-----END PUBLIC KEY-----";
const RSA_MODULUS: &str = "vXGiXKXFKRf70d78s4OpW_fgJZDV9zg6rQtx19ljE1RzPOIDAz1gW1Zp7QMiZu7cPXCQ6LMDFTe49N78RL5P4h7bk7pbi5Jnt33NNrNeoTDv3nzcvOWSpmEWNjovur-y7O-oIGefQX3Uo1554dXw1rAtEwOUxYFe5fHI-1JH4XWWP9Ew4olxKVVHzr7q_eRDki8vKuDxPwobyAtOYpqlTLt5OFAuSl8SfGjgmZS0GDPxz3zmK9hqaMyBymyWJXxCL1plJOKegnZ5u7pC_8IpC3SQLBVJ2NdXLbumrGmbf2Z9zc1JsqjK5nxs3FN_mTIw3_GtX9u8A90hG9i7WSLAWw";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIn0.eyJzdWIiOiJhbm4iLCJleHAiOjEwMCwiaXNzIjoidXMifQ.r28MdeiosfrvssHxRp4j4kzq5gipk1KO-wPuzqER6Nh_0a7eNJa2Z2zFQsT3TPHsD7ncwkdKDHoi5ajqPrUvOLiUUYnOMOP982f6pj1QqsQ2VRkofx0PJLlGADgZ_3EhkQUyoANgGZaI-C6bOPTCHOlRGTMRD96M0ujzrmPCeH9K147X6zquzHlVII2yErMskl0jhfu25ox9X4bxb7wU9Saq2EAXaEHZw7JVty1pzhCCM3uxsmFYjaRnVfVSTIuxJhB0rm17ZRyWY3FvYIn5k2DdLB0ShrtqXH8vjI6xQVGwKdccZizsHWA0OMeSX_dA35z1F5fZylCFGlNWJe7q-Q";
const PS256: &str = "eyJhbGciOiJQUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjEwMCwiaXNzIjoidXMifQ.kLbhMdq1MzGYkGI1z_XCmaVTmJIyaE8HBA8FTnYSnyKG1XlEdrAXQASYodXSRyJE389pd_l9ZXCy_ORvCTTDS4OVXaLPlUiF8ZzuEwESD8EC77ijmnARtPJlsRddq9u_t5xExjTLRM8NwJdEBVQUySPBmqiN1dWdQU5VHsXyotVh0U78Z1f0YlzEV5RYbSDgJeSopioap2FEEHsC6NSevDLrx58d1Ay0TP2wHfWeKpblhsI9QECBT_UfkpuDTrxiFHkJPp4IVfEax-3MSu_8ftoJjFSDdKY-wb00pMFjxqI6JwSmibLcx2d0XAlb3AxMaf3LVvJj68LWKAlcGVmyfQ";

#[test]
fn json_comes_back_as_it_was() {
    let texts = [
        "null",
        "true",
        "[]",
        "{}",
        "[1,2.5,-3e-7,\"a\\u0000\\\"\\\\\\n\u{e4}\"]",
        "[[],{},[null,false]]",
        "{\"a\":{\"b\":[{}]}}",
        "9007199254740992",
        "-0.5",
        "1e+300",
        "\"\\u001f\\t\"",
        "[null,1]",
    ];
    for text in texts {
        let lines = eval(&format!(
            "local json = require 'forebay.json' log(assert(json.encode(assert(json.decode([==[{text}]==])))))"
        ));
        let (there, back): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_str(&lines[0]).unwrap());
        let same = there == back || there.as_f64() == back.as_f64() && there.is_number();
        assert!(same, "{text} became {}", lines[0]);
    }
}

/// Random values, written by serde_json, read and written by Lua, read by serde_json.
#[test]
fn generated_json_comes_back_as_it_was() {
    fn value(random: &mut fastrand::Rng, depth: u32) -> serde_json::Value {
        let text = |random: &mut fastrand::Rng| {
            (0..random.usize(0..12)).map(|_| random.char('\0'..'\u{2fff}')).collect::<String>()
        };
        match random.u32(0..if depth == 0 { 5 } else { 7 }) {
            0 => serde_json::Value::Null,
            1 => random.bool().into(),
            2 => random.i32(..).into(),
            3 => (random.f64() * 10f64.powi(random.i32(-30..12)) + 0.1).into(),
            4 => text(random).into(),
            5 => (0..random.u32(0..6)).map(|_| value(random, depth - 1)).collect(),
            _ => serde_json::Value::Object(
                (0..random.u32(1..6)).map(|_| (text(random), value(random, depth - 1))).collect(),
            ),
        }
    }
    let mut random = fastrand::Rng::with_seed(7);
    let values: Vec<_> = (0..300).map(|_| value(&mut random, 4)).collect();
    on_worker(move || {
        let mut run = Run::new(
            "local json = require 'forebay.json'
            return { on_request_body = function()
                local value, why = json.decode(forebay.request.chunk())
                if why then error(why) end
                forebay.request.set_body(assert(json.encode(value)))
            end }",
        );
        for value in values {
            run.host.bodies.borrow_mut()[0] = serde_json::to_string(&value).unwrap().into();
            run.call(abi::Event::RequestBody { size: 1, end_of_stream: true })
                .unwrap_or_else(|e| panic!("{e}\n{value}"));
            let back: serde_json::Value = serde_json::from_slice(&run.host.bodies.borrow()[0]).unwrap();
            assert_eq!(back, value);
        }
    });
}

#[test]
fn json_that_is_wrong_is_refused_with_its_place() {
    let cases = [
        ("decode('[1,')", "PARSE_FAILURE: json.decode: EOF while parsing a value at line 1 column 3"),
        ("decode('{\"a\":1} x')", "PARSE_FAILURE: json.decode: trailing characters at line 1 column 9"),
        ("decode('')", "PARSE_FAILURE: json.decode: EOF while parsing a value at line 1 column 0"),
        ("decode('\"\\255\"')", "PARSE_FAILURE: json.decode: invalid unicode code point at line 1 column 2"),
        ("decode(('['):rep(200))", "PARSE_FAILURE: json.decode: recursion limit exceeded at line 1 column 128"),
        ("encode(0/0)", "BAD_ARGUMENT: json.encode: the number NaN has no form in JSON"),
        ("encode('\\255')", "BAD_ARGUMENT: json.encode: a string is no UTF-8, at byte 1"),
        (
            "encode({ 1, nil, 3, [9] = 1 })",
            "BAD_ARGUMENT: json.encode: a list of 3 has its last item at 9: it has gaps",
        ),
        ("encode({ 1, a = 2 })", "BAD_ARGUMENT: json.encode: a table has both numbers and texts as keys"),
        ("encode({ [true] = 2 })", "BAD_ARGUMENT: json.encode: a key is a boolean; allowed: texts, or 1, 2, 3 …"),
        ("encode({ [0.5] = 2 })", "BAD_ARGUMENT: json.encode: a key is the number 0.5; allowed: texts, or 1, 2, 3 …"),
        ("encode(print)", "BAD_ARGUMENT: json.encode: a function has no form in JSON"),
        ("encode(circle)", "BAD_ARGUMENT: json.encode: tables are nested more than 128 deep, or in themselves"),
    ];
    for (call, wanted) in cases {
        let lines = eval(&format!(
            "local json, circle = require 'forebay.json', {{}} circle[1] = circle
            local value, why = json.{call} log(tostring(value) .. ' ' .. tostring(why))"
        ));
        assert_eq!(lines, [format!("nil {wanted}")], "{call}");
    }
    let fault = fault("require('forebay.json').decode({})");
    assert!(
        fault.message.ends_with("main.lua:3: json.decode: argument 1 (text) is table; allowed: a string"),
        "{fault}"
    );
}

#[test]
fn json_knows_null_and_empty_arrays_and_sorts_when_asked() {
    let lines = eval(
        r#"
        local json = require "forebay.json"
        log(json.encode({ b = 1, a = json.null, c = json.array() }, { sorted = true }))
        log(json.encode(json.array { 1, 2 }) .. json.encode({}) .. json.encode(nil))
        local list = json.decode('{"list":[]}').list
        log(json.encode(list)) list[1] = "x" log(json.encode(list))
        log(tostring(json.decode("null") == json.null) .. tostring(json.decode("[null]")[1] == json.null))
        log(tostring(setmetatable({ 1 }, { __index = error, __len = error }) and json.encode(setmetatable({ 1 }, { __index = error }))))
    "#,
    );
    assert_eq!(lines, [r#"{"a":null,"b":1,"c":[]}"#, "[1,2]{}null", "[]", r#"["x"]"#, "truetrue", "[1]"]);
}

#[test]
fn base64_and_hex_are_those_of_the_rfc() {
    let lines = eval(
        r#"
        local base64, hex = require "forebay.base64", require "forebay.hex"
        for _, text in ipairs { "", "f", "fo", "foo", "foob", "fooba", "foobar" } do
            log(base64.encode(text) .. " " .. hex.encode(text))
            assert(base64.decode(base64.encode(text)) == text)
            assert(base64.decode(base64.encode(text, { url = true }), { url = true }) == text)
            assert(base64.decode((base64.encode(text):gsub("=", ""))) == text and hex.decode(hex.encode(text):upper()) == text)
        end
        log(base64.encode("\251\255", { url = true }) .. " " .. base64.encode("\251\255") .. " " .. base64.encode("a", { padding = false }))
        log(tostring(select(2, base64.decode("ab*d")))) log(tostring(select(2, base64.decode("abcde"))))
        log(tostring(select(2, hex.decode("abc")))) log(tostring(select(2, hex.decode("zz"))))
        log(tostring(select(2, base64.decode("-_8=")))) log(tostring(select(2, base64.decode("YQ=a"))))
        local long = ("\0\1\2\250"):rep(3000) .. "x"
        assert(base64.decode(base64.encode(long)) == long and hex.decode(hex.encode(long)) == long)
        log(tostring(select(2, base64.decode(base64.encode("x"):rep(3000)))))
    "#,
    );
    let wanted = [
        " ",
        "Zg== 66",
        "Zm8= 666f",
        "Zm9v 666f6f",
        "Zm9vYg== 666f6f62",
        "Zm9vYmE= 666f6f6261",
        "Zm9vYmFy 666f6f626172",
    ];
    assert_eq!(lines[..7], wanted);
    assert_eq!(lines[7], "-_8 +/8= YQ");
    assert_eq!(lines[8], "PARSE_FAILURE: base64.decode: byte 0x2a at 3 is not of the alphabet");
    assert_eq!(lines[9], "PARSE_FAILURE: base64.decode: the text ends in the middle of a group");
    assert_eq!(lines[10], "PARSE_FAILURE: hex.decode: 3 digits, an even number is wanted");
    assert_eq!(lines[11], "PARSE_FAILURE: hex.decode: byte 0x7a at 1 is no digit");
    assert_eq!(lines[12], "PARSE_FAILURE: base64.decode: byte 0x2d at 1 is not of the alphabet");
    assert!(lines[13].starts_with("PARSE_FAILURE: base64.decode: "), "{}", lines[13]);
    assert!(lines[14].starts_with("PARSE_FAILURE: base64.decode: byte 0x3d at "), "{}", lines[14]);
}

#[test]
fn hashes_are_those_of_the_standards() {
    let lines = eval(
        r#"
        local hash = require "forebay.hash"
        log(hash.sha1("abc")) log(hash.sha256("abc")) log(hash.sha384("abc"):sub(1, 16)) log(hash.sha512("abc"):sub(1, 16))
        log(hash.hmac("sha256", "Jefe", "what do ya want for nothing?"))
        log(#hash.sha256("abc", "raw") .. " " .. #hash.random(16) .. " " .. tostring(hash.random(16) == hash.random(16)))
        log(tostring(hash.equal("abc", "abc")) .. tostring(hash.equal("abc", "abd")) .. tostring(hash.equal("abc", "ab")))
        assert(hash.sha256(("a"):rep(1000000)) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    "#,
    );
    assert_eq!(
        lines,
        [
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8b",
            "ddaf35a193617aba",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "32 16 false",
            "truefalsefalse",
        ]
    );
    let fault = fault("require('forebay.hash').hmac('sha265', 'k', 'x')");
    let wanted =
        "hash.hmac: no algorithm \"sha265\" (did you mean \"sha256\"?); there are: sha1, sha256, sha384, sha512";
    assert!(fault.message.ends_with(wanted), "{fault}");
}

#[test]
fn times_are_read_and_written() {
    let lines = eval(
        r#"
        local time = require "forebay.time"
        log(time.http(784111777)) log(time.iso(784111777)) log(time.iso(0.25)) log(time.format(784111777, "%Y/%m/%d %H:%M", "Europe/Berlin"))
        for _, text in ipairs { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994" } do
            log(tostring(time.parse_http(text)))
        end
        log(time.parse_iso("1994-11-06T09:49:37.5+01:00"))
        log(tostring(select(2, time.parse_iso("1994-11-06T09:49:37"))):sub(1, 30))
        log(tostring(select(2, time.format(0, "%Y", "Europe/Atlantis"))))
    "#,
    );
    assert_eq!(
        lines[..4],
        ["Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z", "1970-01-01T00:00:00.25Z", "1994/11/06 09:49"]
    );
    assert_eq!(lines[4..8], ["784111777", "784111777", "784111777", "784111777.5"]);
    assert_eq!(lines[8], "PARSE_FAILURE: time.parse_iso:");
    assert_eq!(lines[9], "NOT_FOUND: time.format: no time zone \"Europe/Atlantis\"; allowed: IANA names");
    let fault = fault("require('forebay.time').http(1e300)");
    assert!(fault.message.contains("allowed: years -9999 to 9999"), "{fault}");
}

fn base64url(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

fn hs256(secret: &str, header: &str, claims: &str) -> String {
    let signed = unsigned(header, claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    format!("{signed}.{}", base64url(ring::hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// A public key in PEM: what stands before the key in a SubjectPublicKeyInfo of its kind.
fn pem(before: &[u8], key: &[u8]) -> String {
    let der = [before, key].concat();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    format!("-----BEGIN PUBLIC KEY-----\\n{text}\\n-----END PUBLIC KEY-----\\n")
}

const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// What `jwt.verify(token, options)` says: the subject, or the error.
fn verified(token: &str, options: &str) -> String {
    let lines = eval(&format!(
        "local claims, why = require('forebay.jwt').verify('{token}', {options}) log(claims and claims.sub or tostring(why))"
    ));
    lines[0].clone()
}

#[test]
fn tokens_of_every_family_are_verified() {
    let random = ring::rand::SystemRandom::new();
    let claims = r#"{"sub":"ann","exp":100}"#;
    let mut tokens = vec![
        (RS256.to_owned(), format!("{{ public_key = '{}' }}", RSA_PEM.replace('\n', "\\n"))),
        (PS256.to_owned(), format!("{{ public_key = '{}' }}", RSA_PEM.replace('\n', "\\n"))),
        (
            RS256.to_owned(),
            format!("{{ jwks = {{ keys = {{ {{ kty = 'RSA', kid = 'r1', n = '{RSA_MODULUS}', e = 'AQAB' }} }} }} }}"),
        ),
        (hs256("s3cret", r#"{"alg":"HS256"}"#, claims), "{ secret = 's3cret' }".to_owned()),
    ];
    for (algorithm, name, before) in
        [(&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256", P256), (&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384", P384)]
    {
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
        let signed = unsigned(&format!("{{\"alg\":\"{name}\"}}"), claims);
        let signature = base64url(key.sign(&random, signed.as_bytes()).unwrap().as_ref());
        let public = key.public_key().as_ref();
        tokens.push((format!("{signed}.{signature}"), format!("{{ public_key = '{}' }}", pem(before, public))));
        let half = (public.len() - 1) / 2;
        let (x, y) = (base64url(&public[1..=half]), base64url(&public[half + 1..]));
        let curve = if name == "ES256" { "P-256" } else { "P-384" };
        let jwks = format!("{{ jwks = '{{\"kty\":\"EC\",\"crv\":\"{curve}\",\"x\":\"{x}\",\"y\":\"{y}\"}}' }}");
        tokens.push((format!("{signed}.{signature}"), jwks));
    }
    let key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let signed = unsigned(r#"{"alg":"EdDSA"}"#, claims);
    let token = format!("{signed}.{}", base64url(key.sign(signed.as_bytes()).as_ref()));
    tokens.push((token, format!("{{ public_key = '{}' }}", pem(ED25519, key.public_key().as_ref()))));
    assert_eq!(tokens.len(), 9);
    for (token, options) in &tokens {
        assert_eq!(verified(token, options), "ann", "{options}");
        // One bit of the claims, one of the signature, another's key.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = format!("{header}.{}.{signature}", base64url(br#"{"sub":"eve","exp":100}"#));
        assert_eq!(verified(&other, options), "SIGNATURE: jwt.verify: the signature is not of this key", "{options}");
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let other = format!("{signed}.{first}{}", &signature[1..]);
        assert_eq!(verified(&other, options), "SIGNATURE: jwt.verify: the signature is not of this key", "{options}");
        assert!(verified(&format!("{signed}."), options).starts_with("SIGNATURE: "), "{options}");
    }
}

#[test]
fn a_token_cannot_choose_its_own_way_in() {
    let claims = r#"{"sub":"eve","exp":100}"#;
    let rsa = RSA_PEM.replace('\n', "\\n");
    // RFC 8725, 2.1: no signature; a public key taken for a secret.
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, "{}", r#"{"alg":7}"#] {
        let token = format!("{}.", unsigned(header, claims));
        assert!(verified(&token, &format!("{{ public_key = '{rsa}' }}")).starts_with("ALGORITHM: "), "{header}");
        assert!(verified(&token, "{ secret = 's' }").starts_with("ALGORITHM: "), "{header}");
    }
    let confused = hs256(RSA_PEM, r#"{"alg":"HS256"}"#, claims);
    let said = verified(&confused, &format!("{{ public_key = '{rsa}' }}"));
    assert_eq!(said, "KEY: jwt.verify: HS256 takes a secret; there is an RSA key");
    let critical = hs256("s", r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, claims);
    assert!(verified(&critical, "{ secret = 's' }").starts_with("ALGORITHM: "));
    let said = verified(RS256, &format!("{{ public_key = '{rsa}', algorithms = {{ 'RS512' }} }}"));
    assert_eq!(said, "ALGORITHM: jwt.verify: the token's algorithm is RS256; allowed: RS512");
    // A key that is for another algorithm, for encryption, or of another name.
    for more in ["alg = 'RS512'", "use = 'enc'", "kid = 'r2'"] {
        let key = format!("{{ jwks = {{ keys = {{ {{ kty = 'RSA', n = '{RSA_MODULUS}', e = 'AQAB', {more} }} }} }} }}");
        assert!(verified(RS256, &key).starts_with("KEY: "), "{more}: {}", verified(RS256, &key));
    }
    for malformed in ["", "a", "a.b", "a.b.c.d", "!.b.c", "e30.!.c", "' .. ('a'):rep(70000) .. '"] {
        let said = verified(malformed, "{ secret = 's' }");
        assert!(said.starts_with("MALFORMED: ") || said.starts_with("ALGORITHM: "), "{said}");
    }
}

/// The recording host's "key" signs as it does; a secret that was not granted, or is none, is refused.
#[test]
fn a_token_is_verified_by_a_secret_that_the_host_keeps() {
    let signed = unsigned(r#"{"alg":"HS256"}"#, r#"{"sub":"ann","exp":100}"#);
    let token = format!("{signed}.{}", base64url(format!("sha256 of {signed}").as_bytes()));
    let said = |name: &str, token: &str| {
        eval(&format!(
            "local key, why = forebay.secret('{name}')
            local claims, refused = require('forebay.jwt').verify('{token}', {{ secret = key or '' }})
            log(claims and claims.sub or refused.code)"
        ))
    };
    assert_eq!(said("key", &token), ["ann"]);
    assert_eq!(said("key", &format!("{token}A")), ["SIGNATURE"]);
    assert_eq!(said("key", RS256), ["KEY"]);
    assert_eq!(said("other", &token), ["KEY"]);
    let held = "require('forebay.jwt').verify(token, { held_secret = 'other' })";
    assert_eq!(eval(&format!("local token = '{token}' log(select(2, {held}).code)")), ["CAPABILITY_DENIED"]);
}

#[test]
fn claims_are_checked_against_the_clock_and_the_options() {
    // It is 1.5 s after 1970.
    let cases = [
        (r#"{"sub":"ann","exp":0}"#, "leeway = 0", "EXPIRED: jwt.verify: the token has expired 2 s ago"),
        (r#"{"sub":"ann","exp":0}"#, "", "ann"),
        (r#"{"sub":"ann","exp":1.5}"#, "leeway = 0", "EXPIRED: jwt.verify: the token has expired 0 s ago"),
        (r#"{"sub":"ann"}"#, "", "CLAIM: jwt.verify: the token has no `exp`"),
        (r#"{"sub":"ann"}"#, "required = {}", "ann"),
        (r#"{"sub":"ann","exp":"100"}"#, "", "CLAIM: jwt.verify: the token's `exp` is no number"),
        (r#"{"sub":"ann","exp":900,"nbf":500}"#, "", "NOT_YET: jwt.verify: the token is not valid for 498 s yet"),
        (r#"{"sub":"ann","exp":100,"iss":"us"}"#, "issuer = 'us'", "ann"),
        (
            r#"{"sub":"ann","exp":100,"iss":"eve"}"#,
            "issuer = { 'us', 'they' }",
            "ISSUER: jwt.verify: the token's `iss` is \"eve\"; allowed: us, they",
        ),
        (
            r#"{"sub":"ann","exp":100}"#,
            "audience = 'shop'",
            "AUDIENCE: jwt.verify: the token's `aud` is missing; allowed: shop",
        ),
        (r#"{"sub":"ann","exp":100,"aud":["x","shop"]}"#, "audience = 'shop'", "ann"),
        ("[1]", "", "MALFORMED: jwt.verify: its payload is no JSON object"),
    ];
    for (claims, options, wanted) in cases {
        let token = hs256("s", r#"{"alg":"HS256"}"#, claims);
        assert_eq!(verified(&token, &format!("{{ secret = 's', {options} }}")), wanted, "{claims} {options}");
    }
    let lines = eval(&format!(
        "local claims, header = require('forebay.jwt').decode('{RS256}') log(claims.iss .. ' ' .. header.kid)"
    ));
    assert_eq!(lines, ["us r1"]);
    for (options, wanted) in [
        ("{}", "the options have one of secret, public_key and jwks"),
        ("{ secret = 'a', jwks = '{}' }", "the options have one of secret, public_key and jwks"),
        ("{ secret = 'a', leeway = -1 }", "option 'leeway' is -1; allowed: seconds from 0 to 86400"),
        ("{ secret = 7 }", "option 'secret' is number; allowed: a string, or nil"),
        ("{ secret = 'a', issuer = { 7 } }", "option 'issuer' has number at 1; allowed: up to 64 strings"),
    ] {
        let fault = fault(&format!("require('forebay.jwt').verify('a.b.c', {options})"));
        assert_eq!(fault.verdict, Verdict::Trap);
        assert!(fault.message.contains(wanted), "{options}: {fault}");
    }
}

#[test]
fn the_native_modules_are_read_only_and_one_for_all() {
    let writes = [
        ("forebay.json", "decode"),
        // So are those that are written in Lua, required at the start or later.
        ("forebay.url", "encode"),
        ("forebay.cookie", "parse"),
    ];
    for (module, function) in writes {
        let fault = fault(&format!("require('{module}').{function} = nil"));
        let text = format!("'{function}' cannot be set in a library after the start");
        assert!(fault.message.contains(&text), "{fault}");
    }
    let lines = eval("for name in pairs(require 'forebay.url') do log(name) end");
    assert!(lines.iter().any(|name| name == "encode"), "{lines:?}");
    let lines = eval(
        "log(tostring(require 'forebay.json' == require 'forebay.json')) log(tostring(pcall(require, 'forebay.jsn')))",
    );
    assert_eq!(lines[0], "true");
}

/// All that is linear in megabytes ends with the limit, whatever it is in the middle of.
#[test]
fn no_native_call_holds_the_worker() {
    let calls = [
        "local s = ('x'):rep(2^24) while true do base64.encode(s) end",
        "local s = ('QUJD'):rep(2^22) while true do base64.decode(s) end",
        "local s = ('x'):rep(2^23) while true do hex.encode(s) end",
        "local s = ('ab'):rep(2^23) while true do hex.decode(s) end",
        "local s = ('x'):rep(2^24) while true do hash.sha512(s) end",
        "local s = ('x'):rep(2^24) while true do hash.hmac('sha1', 'k', s) end",
        "local s, t = ('x'):rep(2^24), ('x'):rep(2^24 - 1) .. 'y' while true do hash.equal(s, t) end",
        "local s = '[' .. ('{},'):rep(2^20) .. '1]' while true do json.decode(s) end",
        "local s = '\"' .. ('x'):rep(2^24) .. '\"' while true do json.decode(s) end",
        "local s = ('\\n'):rep(2^22) while true do json.encode(s) end",
        "local t = {} for i = 1, 2^16 do t[i] = 'a' .. i end while true do json.encode(t) end",
        "local t = {} for i = 1, 2^14 do t['a' .. i] = i end while true do json.encode(t, { sorted = true }) end",
        "while true do jwt.verify(token, { secret = 's', required = {} }) end",
        "while true do pcall(json.decode, '[[[[[[[1]]]]]]]') pcall(json.encode, { 1 }) end",
    ];
    let token = hs256("s", r#"{"alg":"HS256"}"#, r#"{"sub":"ann"}"#);
    for call in calls {
        let code = format!(
            "local base64, hex, hash = require 'forebay.base64', require 'forebay.hex', require 'forebay.hash'
            local json, jwt, token = require 'forebay.json', require 'forebay.jwt', '{token}'
            return {{ on_request_headers = function() {call} end, on_response_headers = function() forebay.log.info('well') end }}"
        );
        on_worker(move || {
            let limits = Limits { cpu: Duration::from_millis(60), ..Limits::default() };
            let granted = abi::Capabilities::default();
            let mut run = Run::with(&code, Fake::with(limits, granted, "")).unwrap();
            let before = thread_cpu();
            let fault = run.headers().unwrap_err();
            let spent = thread_cpu() - before;
            assert!(matches!(fault.verdict, Verdict::Cpu | Verdict::Memory), "{fault}\n{code}");
            // A debug build works on a piece many times slower than what ships.
            let most = if cfg!(debug_assertions) { 200 } else { 67 };
            assert!(spent < Duration::from_millis(most), "{spent:?}\n{code}");
            if fault.verdict == Verdict::Cpu {
                run.call(abi::Event::ResponseHeaders { end_of_stream: true }).unwrap();
                assert_eq!(run.host.texts(), ["well"]);
            }
        });
    }
}

fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
