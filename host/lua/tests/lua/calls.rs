//! Every hostcall: what it gives, and how it refuses.

use crate::fake::*;

#[test]
fn headers_are_read_in_order_without_case() {
    let lines = eval(
        r#"
        local h = forebay.request.headers
        log(h.get("Accept")); log(tostring(h.get("none")))
        log(table.concat(h.get_all("accept"), "+")); log(#h.get_all("none"))
        local names = {}
        for name, value in h.pairs() do names[#names + 1] = name .. "=" .. value end
        log(table.concat(names, " "))
    "#,
    );
    assert_eq!(lines[..4], ["a", "nil", "a+b", "0"]);
    assert_eq!(lines[4].split(' ').count(), 8);
    assert!(lines[4].ends_with("x-id=17 accept=a accept=b"), "{}", lines[4]);
}
