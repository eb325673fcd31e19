//! Bodies: whole, with the plugin's buffer and its limit, and chunk by chunk as they stream.

use harness::http1::chunk;
use harness::{Edge, Origin, PATIENCE, wait_until};

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

const REQUEST_BODY: &str = r#"
local plugin = {}
function plugin.on_request_body()
  local whole = forebay.request.body()
  forebay.request.set_body(whole:upper())
end
return plugin
"#;

const RESPONSE_BODY: &str = r#"
local plugin = {}
function plugin.on_response_headers()
  forebay.response.headers.remove("content-length")
end
function plugin.on_response_body()
  local whole = forebay.response.body()
  forebay.response.set_body(whole:upper())
end
return plugin
"#;

const REQUEST_CHUNK: &str = r#"
local plugin = {}
function plugin.on_request_body(size)
  if size > 0 then forebay.request.set_body("<" .. forebay.request.chunk() .. ">") end
end
return plugin
"#;

const RESPONSE_CHUNK: &str = r#"
local plugin = {}
function plugin.on_response_headers()
  forebay.response.headers.remove("content-length")
end
function plugin.on_response_body(size)
  if size > 0 then forebay.response.set_body("<" .. forebay.response.chunk() .. ">") end
end
return plugin
"#;

/// Does what the request says: see [`crate::differential`].
const PROGRAM: &str = include_str!("differential/program.lua");

/// From the header callback.
const REQUEST_BODY_CHUNKS: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  for chunk in forebay.request.body_chunks() do
    forebay.request.set_body("<" .. chunk .. ">")
  end
end
return plugin
"#;

/// From the body callback.
const RESPONSE_BODY_CHUNKS: &str = r#"
local plugin = {}
function plugin.on_response_headers()
  forebay.response.headers.remove("content-length")
end
function plugin.on_response_body()
  for chunk in forebay.response.body_chunks() do
    forebay.response.set_body("<" .. chunk .. ">")
  end
end
return plugin
"#;

/// Sends a chunk only when the last has come out of the edge.
fn request_streams(edge: &Edge, said: &std::sync::mpsc::Receiver<String>) {
    let mut client = edge.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut seen = String::new();
    for (next, so_far) in [("2\r\nde\r\n", "<abc>"), ("1\r\nf\r\n", "<abc><de>"), ("0\r\n\r\n", "<abc><de><f>")] {
        wait_until("the chunk at the origin", PATIENCE, || {
            seen = said.recv_timeout(PATIENCE).expect("a chunk");
            (seen == so_far).then_some(())
        });
        client.send(next);
    }
    assert_eq!(client.response().text(), "<abc><de><f>");
}

/// Tells what has come of each body, and answers with all of it.
fn tells(say: std::sync::mpsc::Sender<String>) -> Origin {
    Origin::serve(move |exchange| {
        let mut body = Vec::new();
        while let Some(chunk) = exchange.messages.chunk()? {
            body.extend(chunk);
            say.send(String::from_utf8_lossy(&body).into_owned()).expect("the test waits");
        }
        exchange.respond(200, &[], &body)
    })
}

in_every_language! {
    a_loop_over_request_chunks_lets_each_go_on_before_the_next_is_read,
    a_loop_over_response_chunks_lets_each_go_on_before_the_next_is_read,
    a_body_over_the_plugins_buffer_is_refused_however_it_comes,
    a_request_body_is_read_whole_and_replaced,
    a_request_body_over_the_plugins_buffer_is_413,
    a_response_body_is_read_whole_and_replaced,
    a_response_body_over_the_plugins_buffer_is_502_or_broken_off,
    request_chunks_are_changed_as_they_stream,
    response_chunks_are_changed_as_they_stream,
}

on_both_engines! {
    fn a_loop_over_request_chunks_lets_each_go_on_before_the_next_is_read(engine) {
        let (say, said) = std::sync::mpsc::channel();
        let origin = tells(say);
        let edge = edge(engine, plugin("request_body_chunks", REQUEST_BODY_CHUNKS), &origin);
        request_streams(&edge, &said);
        // A body with a length is run through before the headers go: its true length is known then.
        let mut client = edge.connect();
        client.request("POST", "/b", &[], b"with a length");
        assert_eq!(client.response().text(), "<with a length>");
        assert_eq!(origin.last().headers.get("content-length"), Some("15"));
        // None at all is no turn of the loop.
        assert_eq!(edge.get("/c").text(), "");
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_loop_over_response_chunks_lets_each_go_on_before_the_next_is_read(engine) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::serve(move |exchange| {
            exchange.begin(200, &[("trailer", "x-sum")])?;
            for chunk in ["abc", "de", "f"] {
                exchange.chunk(chunk.as_bytes())?;
                let _ = wait.lock().expect("one exchange").recv_timeout(PATIENCE);
            }
            exchange.end(&[("x-sum", "7")])
        });
        let edge = edge(engine, plugin("response_body_chunks", RESPONSE_BODY_CHUNKS), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[("te", "trailers"), ("connection", "te")], b"");
        assert_eq!(client.response_head().status(), 200);
        for chunk in ["<abc>", "<de>", "<f>"] {
            assert_eq!(client.chunk().expect("a chunk, before the next is sent"), chunk.as_bytes());
            go.send(()).expect("the origin waits");
        }
        assert_eq!(client.messages.body().expect("the rest"), b"");
    }

    fn a_body_over_the_plugins_buffer_is_refused_however_it_comes(engine) {
        let origin = Origin::echo();
        let limited = |name, lua| plugin(name, lua).keys("    limits: {buffer: 2KiB}");
        let asking = edge(engine, limited("request_body", REQUEST_BODY), &origin);
        let answering = edge(engine, limited("response_body", RESPONSE_BODY), &origin);
        for (size, fits) in [(2 << 10, true), ((2 << 10) + 1, false), (6 << 10, false)] {
            let body = vec![b'a'; size];
            for chunks in [vec![], vec![size], vec![1, size - 1], vec![size - 1, 1], vec![size / 2, size - size / 2]] {
                for (edge, refused) in [(&asking, 413), (&answering, 502)] {
                    let mut client = edge.connect();
                    if chunks.is_empty() {
                        client.request("POST", "/a", &[], &body);
                    } else {
                        let mut text = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                        chunks.iter().for_each(|size| text.extend(chunk(&body[..*size])));
                        text.extend(b"0\r\n\r\n");
                        client.send(&text);
                    }
                    let what = format!("{size} bytes in {chunks:?}");
                    match client.try_response() {
                        Ok(response) if fits => assert_eq!(response.body, body.to_ascii_uppercase(), "{what}"),
                        Ok(response) => assert_eq!(response.status, refused, "{what}"),
                        // Once the head of a response has gone to the client, it is broken off.
                        Err(e) => assert!(!fits && refused == 502, "{what}: {e}"),
                    }
                }
            }
        }
    }

    fn a_head_that_a_plugin_makes_a_get_is_answered_without_the_body_and_with_its_true_length(engine) {
        let origin = Origin::serve(|exchange| {
            let method = exchange.head.method().to_owned();
            exchange.respond(200, &[("x-said", &method)], b"the body")
        });
        let edge = edge(engine, plugin("program", PROGRAM), &origin);
        let mut client = edge.connect();
        // Sets `:method` to GET; puts "0123" before the body of the response, or leaves it.
        for (writes, length) in [("S.write.31.30.30.30313233", "12"), ("", "8")] {
            let program = format!("Q.set.30.3a6d6574686f64.474554 {writes}");
            for _ in 0..2 {
                client.request("HEAD", "/a", &[("x-program", &program)], b"");
                let response = client.response();
                assert_eq!((response.status, response.header("x-said")), (200, Some("GET")));
                assert_eq!(response.header("content-length"), Some(length));
            }
        }
        assert_eq!(client.get("/a").text(), "the body", "nothing of a body stands between the answers");
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_request_body_is_read_whole_and_replaced(engine) {
        let origin = Origin::echo();
        let edge = edge(engine, plugin("request_body", REQUEST_BODY), &origin);
        let mut client = edge.connect();
        // The head and the body apart, so that the plugin has to wait for the rest.
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.send("5\r\ndefgh\r\n");
        assert_eq!(origin.requests(), 0, "nothing reaches the origin before the body was checked");
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), "ABCDEFGH");
        client.request("POST", "/b", &[], b"with a length");
        assert_eq!(client.response().text(), "WITH A LENGTH");
        assert_eq!(origin.last().headers.get("content-length").unwrap_or("13"), "13");
    }

    fn a_request_body_over_the_plugins_buffer_is_413(engine) {
        let origin = Origin::echo();
        let plugin = plugin("request_body", REQUEST_BODY).keys("    limits: {buffer: 64KiB}");
        let edge = edge(engine, plugin, &origin);
        let mut client = edge.connect();
        client.request("POST", "/a", &[], &[b'a'; 60 << 10]);
        assert_eq!(client.response().body, vec![b'A'; 60 << 10], "under the limit it passes");
        let mut client = edge.connect();
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let sent = (0..8).all(|_| client.messages.write(&chunk(&[b'a'; 16 << 10])).is_ok());
        assert!(!sent || client.messages.write(b"0\r\n\r\n").is_ok());
        assert_eq!(client.response().status, 413);
        assert_eq!(edge.get("/next").status, 200, "the next exchange is served");
    }

    fn a_response_body_is_read_whole_and_replaced(engine) {
        let origin = Origin::serve(|exchange| {
            exchange.begin(200, &[])?;
            exchange.chunk(b"abc")?;
            exchange.chunk(b"defgh")?;
            exchange.end(&[])
        });
        let edge = edge(engine, plugin("response_body", RESPONSE_BODY), &origin);
        let response = edge.get("/a");
        assert_eq!((response.status, response.text()), (200, "ABCDEFGH"));
    }

    fn a_response_body_over_the_plugins_buffer_is_502_or_broken_off(engine) {
        let origin = Origin::serve(|exchange| exchange.respond(200, &[], &[b'a'; 256 << 10]));
        let plugin = plugin("response_body", RESPONSE_BODY).keys("    limits: {buffer: 64KiB}");
        let edge = edge(engine, plugin, &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        // Once the head has gone to the client, the only honest end is a broken body.
        match client.try_response() {
            Ok(response) => assert_eq!(response.status, 502),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::UnexpectedEof),
        }
    }

    fn request_chunks_are_changed_as_they_stream(engine) {
        let (say, said) = std::sync::mpsc::channel();
        let origin = Origin::serve(move |exchange| {
            let mut body = Vec::new();
            while let Some(chunk) = exchange.messages.chunk()? {
                body.extend(chunk);
                say.send(String::from_utf8_lossy(&body).into_owned()).expect("the test waits");
            }
            exchange.respond(200, &[], &body)
        });
        let edge = edge(engine, plugin("request_chunk", REQUEST_CHUNK), &origin);
        let mut client = edge.connect();
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let mut seen = String::new();
        wait_until("the first chunk at the origin", PATIENCE, || {
            seen = said.recv_timeout(PATIENCE).expect("a chunk");
            (seen == "<abc>").then_some(())
        });
        client.send("2\r\nde\r\n");
        wait_until("the second chunk at the origin", PATIENCE, || {
            seen = said.recv_timeout(PATIENCE).expect("a chunk");
            (seen == "<abc><de>").then_some(())
        });
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), "<abc><de>");
    }

    fn response_chunks_are_changed_as_they_stream(engine) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::serve(move |exchange| {
            exchange.begin(200, &[])?;
            exchange.chunk(b"abc")?;
            let _ = wait.lock().expect("one exchange").recv_timeout(PATIENCE);
            exchange.chunk(b"de")?;
            exchange.end(&[])
        });
        let edge = edge(engine, plugin("response_chunk", RESPONSE_CHUNK), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        assert_eq!(client.response_head().status(), 200);
        assert_eq!(client.chunk().expect("the first chunk, before the second was sent"), b"<abc>");
        go.send(()).expect("the origin waits");
        assert_eq!(client.messages.body().expect("the rest"), b"<de>");
    }
}
