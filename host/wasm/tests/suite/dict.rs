//! Dictionaries by name and token buckets, packed: by their imports and as foreign functions.

use std::time::Duration;

use super::fake::{Fake, logged};

/// Dictionary `d`, key `k`.
const PLACE: &str = r"\01\00\00\00d\01\00\00\00k";
const PLACE_LEN: usize = 10;

fn import(name: &str, at: usize, len: usize) -> String {
    format!("(call $num (call ${name} (i32.const {at}) (i32.const {len}) (i32.const 128) (i32.const 132)))")
}

const SHOW_NUMBER: &str = "(call $num (i32.load (i32.load (i32.const 128))))";

#[test]
fn a_number_is_counted_by_the_import_and_by_the_foreign_function() {
    let host = Fake::new();
    // by 5, init 37, for 2 seconds.
    let number = |n: u8| format!(r"\{n:02x}\00\00\00\00\00\00\00");
    let ttl = r"\01\00\94\35\77\00\00\00\00";
    let data = format!("{PLACE}{}{}{ttl}forebay_dict_incr", number(5), number(37));
    let len = PLACE_LEN + 16 + 9;
    let foreign = format!(
        "(call $num (call $call_foreign_function (i32.const {}) (i32.const 17) (i32.const 1024) (i32.const {len})
            (i32.const 128) (i32.const 132))) (call $num (i32.load offset=4 (i32.load (i32.const 128))))",
        1024 + len
    );
    let body = format!(
        "{} {SHOW_NUMBER} {foreign} {SHOW_NUMBER} {}",
        import("forebay_dict_incr", 1024, len),
        import("forebay_dict_incr", 1024, len - 1)
    );
    let imports = [("forebay_dict_incr", "iiii"), ("proxy_call_foreign_function", "iiiiii")];
    let early = "forebay_dict_incr: packed arguments end too early: 8 bytes wanted, 7 left";
    // Of the foreign function first its own status, then ours, which its results begin with.
    assert_eq!(logged(&imports, &data, &body, &host), ["0", "42", "0", "47", "0", early, "2"]);
    assert_eq!(*host.ttls.borrow(), [Some(Duration::from_secs(2)); 2]);
    assert_eq!(host.dict.borrow()[&("d".to_owned(), b"k".to_vec())].0, b"47");
}

#[test]
fn values_are_written_read_and_deleted_with_their_versions() {
    let host = Fake::new();
    let value = r"\02\00\00\00vv";
    // A set of `vv`, a cas of it with version 1, a set without a value, each with nothing else given, and an add of `vv`.
    let data = format!(r"{PLACE}\01{value}\00\00{PLACE}{value}\01\00\00\00\00{PLACE}\00\00\00{PLACE}{value}\00");
    let (set, cas, delete) = (PLACE_LEN + 9, PLACE_LEN + 11, PLACE_LEN + 3);
    let body = format!(
        "{} {} {SHOW_NUMBER} {} {} {} {} {}",
        import("forebay_dict_set", 1024, set),
        import("forebay_dict_get", 1024, PLACE_LEN),
        import("forebay_dict_cas", 1024 + set, cas),
        import("forebay_dict_cas", 1024 + set, cas),
        import("forebay_dict_add", 1024 + set + cas + delete, PLACE_LEN + 7),
        import("forebay_dict_set", 1024 + set + cas, delete),
        import("forebay_dict_get", 1024, PLACE_LEN),
    );
    let imports = ["get", "set", "add", "cas"].map(|name| (&*format!("forebay_dict_{name}").leak(), "iiii"));
    // The value of two bytes stands first, after its length.
    assert_eq!(logged(&imports, &data, &body, &host), ["0", "0", "2", "0", "8", "8", "0", "1"]);
    assert!(host.dict.borrow().is_empty());
}

#[test]
fn tokens_are_taken_and_a_lease_is_settled() {
    let host = Fake::new();
    // Bucket `calls`, key `k`, 4; the lease 7 with 3; the lease 7.
    let place = r"\05\00\00\00calls\01\00\00\00k\04\00\00\00";
    let (place_len, data) = (18, format!(r"{place}\07\00\00\00\03\00\00\00"));
    let body = format!(
        "{} (call $num (i32.load8_u (i32.load (i32.const 128)))) (call $num (i32.load offset=1 (i32.load (i32.const 128))))
        {} {SHOW_NUMBER} {} {}",
        import("forebay_limit_take", 1024, place_len),
        import("forebay_tokens_reserve", 1024, place_len),
        import("forebay_lease_commit", 1024 + place_len, 8),
        import("forebay_lease_release", 1024 + place_len, 4),
    );
    let imports = ["limit_take", "tokens_reserve", "lease_commit", "lease_release"];
    let imports = imports.map(|name| (&*format!("forebay_{name}").leak(), "iiii"));
    assert_eq!(logged(&imports, &data, &body, &host), ["0", "1", "6", "0", "7", "0", "0"]);
    assert_eq!(*host.takes.borrow(), [(b"k".to_vec(), 4), (b"k".to_vec(), 4)]);
    assert_eq!(*host.leases.borrow(), [(abi::LeaseId(7), Some(3)), (abi::LeaseId(7), None)]);
}
