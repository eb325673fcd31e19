//! The four header maps: the same six operations on each, in order, with what is repeated. Values
//! of one name stand together, where its first one stood. Trailers over HTTP/1.1 are those that a
//! `Trailer` header announced.

use harness::http1::Headers;
use harness::{Client, Origin};

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

/// What every header case does, on `map` with headers that begin with `letter`.
fn operations(map: &str, letter: char) -> String {
    format!(
        r#"
  local map = forebay.{map}
  local got = map.get("{upper}-IN") or "nil"
  local missing = map.get("{letter}-none") or "nil"
  local all = table.concat(map.get_all("{letter}-many"), "|")
  local listed = {{ ["{letter}-in"] = true, ["{letter}-many"] = true, ["{letter}-gone"] = true }}
  local pairs_seen = {{}}
  for name, value in map.pairs() do
    if listed[name] then pairs_seen[#pairs_seen + 1] = name .. "=" .. value end
  end
  map.set("{letter}-got", got)
  map.set("{letter}-missing", missing)
  map.set("{letter}-all", all)
  map.set("{letter}-pairs", table.concat(pairs_seen, ";"))
  map.set("{letter}-in", "replaced")
  map.add("{letter}-many", "three")
  map.remove("{letter}-gone")
"#,
        upper = letter.to_ascii_uppercase()
    )
}

/// What such a case leaves of `in: here, many: one, gone: bye, many: two`.
#[track_caller]
fn assert_operated(headers: &Headers, letter: char) {
    let get = |rest: &str| headers.get(&format!("{letter}-{rest}"));
    assert_eq!(get("got"), Some("here"), "names are matched without case");
    assert_eq!(get("missing"), Some("nil"));
    assert_eq!(get("all"), Some("one|two"), "repeated headers are kept, in order");
    let (n, m) = (format!("{letter}-in=here"), format!("{letter}-many"));
    assert_eq!(get("pairs"), Some(format!("{n};{m}=one;{m}=two;{letter}-gone=bye").as_str()));
    assert_eq!(headers.all(&format!("{letter}-in")), ["replaced"], "set replaces");
    assert_eq!(headers.all(&m), ["one", "two", "three"], "add adds behind");
    assert_eq!(get("gone"), None, "remove removes");
}

in_every_language! {
    request_headers_are_read_and_changed,
    request_trailers_are_read_and_changed,
    response_headers_are_read_and_changed,
    response_trailers_are_read_and_changed,
}

on_both_engines! {
    fn request_headers_are_read_and_changed(engine) {
        let lua = format!(
            r#"
local plugin = {{}}
function plugin.on_request_headers()
  {}
  map.set("x-method", map.get(":method"))
  map.set(":path", map.get(":path") .. "?seen")
end
return plugin
"#,
            operations("request.headers", 'x')
        );
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("request_headers", &lua), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[("X-In", "here"), ("X-Many", "one"), ("X-Gone", "bye"), ("X-Many", "two")], b"");
        assert_eq!(client.response().status, 200);
        let seen = origin.last();
        assert_operated(&seen.headers, 'x');
        assert_eq!(seen.headers.get("x-method"), Some("GET"), "pseudo headers are headers too");
        assert_eq!(seen.target(), "/a?seen", "and can be set");
    }

    fn request_trailers_are_read_and_changed(engine) {
        let lua = format!(
            "local plugin = {{}}\nfunction plugin.on_request_trailers()\n{}\nend\nreturn plugin\n",
            operations("request.trailers", 't')
        );
        let (say, said) = std::sync::mpsc::channel();
        let origin = Origin::serve(move |exchange| {
            let body = exchange.messages.body()?;
            say.send((body, exchange.messages.trailers())).expect("the test waits");
            exchange.respond(200, &[], b"ok")
        });
        let edge = edge(engine, plugin("request_trailers", &lua), &origin);
        let mut client = edge.connect();
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: t-in, t-many, t-got, t-missing, t-all, t-pairs\r\n\r\n3\r\nabc\r\n0\r\nT-In: here\r\nT-Many: one\r\nT-Gone: bye\r\nT-Many: two\r\n\r\n");
        assert_eq!(client.response().status, 200);
        let (body, trailers) = said.recv().expect("the origin was asked");
        assert_eq!(body, b"abc");
        assert_operated(&trailers, 't');
    }

    fn response_headers_are_read_and_changed(engine) {
        let lua = format!(
            r#"
local plugin = {{}}
function plugin.on_response_headers()
  {}
  map.set("y-status", map.get(":status"))
end
return plugin
"#,
            operations("response.headers", 'y')
        );
        let origin = Origin::serve(|exchange| {
            exchange.respond(201, &[("Y-In", "here"), ("Y-Many", "one"), ("Y-Gone", "bye"), ("Y-Many", "two")], b"ok")
        });
        let edge = edge(engine, plugin("response_headers", &lua), &origin);
        let response = edge.get("/a");
        assert_operated(&response.headers, 'y');
        assert_eq!((response.status, response.text()), (201, "ok"));
        assert_eq!(response.header("y-status"), Some("201"));
    }

    fn response_trailers_are_read_and_changed(engine) {
        let lua = format!(
            "local plugin = {{}}\nfunction plugin.on_response_trailers()\n{}\nend\nreturn plugin\n",
            operations("response.trailers", 'z')
        );
        let origin = Origin::serve(|exchange| {
            exchange.begin(200, &[("Trailer", "z-in, z-many, z-got, z-missing, z-all, z-pairs")])?;
            exchange.chunk(b"abc")?;
            exchange.end(&[("Z-In", "here"), ("Z-Many", "one"), ("Z-Gone", "bye"), ("Z-Many", "two")])
        });
        let edge = edge(engine, plugin("response_trailers", &lua), &origin);
        let mut client: Client = edge.connect();
        client.request("GET", "/a", &[("TE", "trailers")], b"");
        let response = client.response();
        assert_eq!(response.text(), "abc");
        assert_operated(&response.trailers, 'z');
    }
}
