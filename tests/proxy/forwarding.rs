//! What the edge adds to a request, and what it must not pass on.

use harness::{Edge, Origin, Setup, list};

#[test]
fn the_origin_learns_who_asked_and_how() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/a?b=c", &[("Host", "shop.test:8080"), ("X-Own", "kept")], b"");
    assert_eq!(client.response().status, 200);
    let seen = origin.last();
    assert_eq!(seen.target(), "/a?b=c");
    assert_eq!(seen.headers.get("host"), Some("shop.test:8080"), "the client's host is kept");
    assert_eq!(seen.headers.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.headers.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.headers.get("x-own"), Some("kept"));
    assert!(seen.headers.get("x-request-id").is_some_and(|id| id.len() >= 8), "{:?}", seen.headers);
}

#[test]
fn each_request_has_an_id_of_its_own_and_it_is_in_the_log() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.get("/first");
    client.get("/second");
    let ids: Vec<_> =
        origin.seen().iter().filter_map(|head| head.headers.get("x-request-id").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    for (id, path) in ids.iter().zip(["/first", "/second"]) {
        edge.process.wait_for_log(&[id, path, "access"]);
    }
}

#[test]
fn an_earlier_hop_is_kept_in_front() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[("X-Forwarded-For", "192.0.2.7")], b"");
    client.response();
    assert_eq!(origin.last().headers.all("x-forwarded-for").join(", "), "192.0.2.7, 127.0.0.1");
}

#[test]
fn headers_of_one_hop_are_not_passed_on() {
    let origin = Origin::serve(|exchange| {
        exchange.messages.body()?;
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-End: 1\r\n\r\nok")
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request(
        "GET",
        "/",
        &[
            ("Connection", "keep-alive, X-Mine"),
            ("X-Mine", "1"),
            ("Keep-Alive", "timeout=9"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic abc"),
            ("TE", "trailers"),
            ("X-Theirs", "1"),
        ],
        b"",
    );
    let response = client.response();
    let seen = origin.last().headers;
    for name in ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
        assert_eq!(seen.get(name), None, "{name} is of the client's hop: {seen:?}");
    }
    assert_eq!(seen.get("x-theirs"), Some("1"));
    for name in ["x-hop", "keep-alive"] {
        assert_eq!(response.header(name), None, "{name} is of the origin's hop");
    }
    assert_eq!(response.header("x-end"), Some("1"));
}

#[test]
fn repeated_headers_stay_apart_and_in_order() {
    let origin =
        Origin::serve(|exchange| exchange.respond(200, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"ok"));
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[("X-Many", "one"), ("X-Other", "x"), ("X-Many", "two")], b"");
    assert_eq!(client.response().headers.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(origin.last().headers.all("x-many"), ["one", "two"]);
}

/// A region with one plugin before one pool.
fn with_plugin(origin: &Origin, code: &str) -> Edge {
    let region = format!(
        "plugins:\n  - {{name: p, lua: p.lua}}\nroutes:\n  - {{name: all, plugins: [p], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
        list(&[origin.address])
    );
    Setup::new(region).file("p.lua", code).start()
}

#[test]
fn a_plugin_cannot_write_what_is_said_to_the_next_hop_alone() {
    let origin = Origin::saying("ok");
    let names = ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "http2-settings"];
    let code = "return { on_request_headers = function()
        local told = {}
        for _, name in ipairs { 'connection', 'Transfer-Encoding', 'upgrade', 'keep-alive', 'Proxy-Connection',
            'http2-settings' } do
          local ok, why = forebay.request.headers.set(name, 'x')
          told[#told + 1] = ok and 'written' or why.code
        end
        local ok, why = forebay.request.headers.set(':method', 'CONNECT')
        told[#told + 1] = ok and 'written' or why.code
        assert(forebay.request.headers.set('te', 'trailers'))
        forebay.request.headers.set('x-told', table.concat(told, ' '))
      end }";
    let edge = with_plugin(&origin, code);
    let mut client = edge.connect();
    client.request("GET", "/", &[("HTTP2-Settings", "AAMAAABk")], b"");
    assert_eq!(client.response().status, 200);
    let seen = origin.last();
    assert_eq!(seen.headers.get("x-told"), Some(["BAD_ARGUMENT"; 7].join(" ").as_str()));
    assert!(names.iter().all(|name| seen.headers.get(name).is_none()), "{:?}", seen.headers);
    assert_eq!(seen.headers.get("te"), Some("trailers"));
}

#[test]
fn a_plugin_can_ask_for_all_of_an_origin_with_options_alone() {
    let origin = Origin::saying("ok");
    let code = "return { on_request_headers = function()
        local headers, told = forebay.request.headers, {}
        local function try(name, value)
          local ok, why = headers.set(name, value)
          told[#told + 1] = ok and 'yes' or why.code
        end
        try(':path', '*')
        try(':method', 'OPTIONS')
        try(':path', '*')
        try(':method', 'GET')
        headers.set('x-told', table.concat(told, ' '))
      end }";
    let edge = with_plugin(&origin, code);
    let mut client = edge.connect();
    client.request("POST", "/a", &[], b"");
    assert_eq!(client.response().status, 200);
    let seen = origin.last();
    assert_eq!(seen.headers.get("x-told"), Some("BAD_ARGUMENT yes yes BAD_ARGUMENT"));
    assert_eq!(seen.first_line, "OPTIONS * HTTP/1.1");
}

/// They stand outside of the plugin's own memory, as long as the exchange waits.
#[test]
fn a_plugin_cannot_fill_the_host_with_headers() {
    let origin = Origin::saying("ok");
    let code = "local big, part = ('x'):rep(2 ^ 20), ('y'):rep(60000)
      return { on_request_headers = function()
        local headers, fitted = forebay.request.headers, 0
        local _, first = headers.set('x-big', big)
        for i = 1, 100 do
          if headers.add('x-part', part) then fitted = fitted + 1 end
        end
        headers.remove('x-part')
        headers.set('x-told', first.code .. ' ' .. fitted)
      end }";
    let edge = with_plugin(&origin, code);
    assert_eq!(edge.get("/").status, 200);
    assert_eq!(origin.last().headers.get("x-told"), Some("LIMIT_EXCEEDED 17"));
}

#[test]
fn an_answer_that_cannot_be_given_does_not_let_the_request_through() {
    let origin = Origin::saying("let through");
    for answer in [
        "4030",
        "403.5",
        "101",
        "403, { ['x-a'] = 'b\\r\\nc: d' }",
        "403, { connection = 'x' }",
        "403, { ['a b'] = 'x' }",
    ] {
        let code = format!("return {{ on_request_headers = function() forebay.respond({answer}) end }}");
        let edge = with_plugin(&origin, &code);
        assert_eq!(edge.get("/").status, 503, "{answer}");
        edge.process.wait_for_log(&["forebay::fault", "TRAP", "respond: "]);
    }
    assert_eq!(origin.requests(), 0);
}
