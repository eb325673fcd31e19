//! Server-sent events: told whole, replaced, dropped, waited for; everything else passes as it came.

use harness::{Origin, PATIENCE};

use crate::pair::{edge, on_both_engines, plugin};

const EVENTS: &str = r#"
local plugin = {}
function plugin.on_response_event(event)
  if event.event == "upper" then
    event.event, event.data = "uppered", event.data:upper()
    forebay.response.set_event(event)
  elseif event.event == "drop" then
    forebay.response.set_event(nil)
  elseif event.event == "sleep" then
    forebay.sleep(0.02)
    forebay.response.set_event({ data = "slept" })
  end
end
return plugin
"#;

const STREAM: &str = "\u{feff}: hello\n\ndata: as it came\r\n\r\nid: 7\nevent: upper\ndata: one\ndata:two\nretry: 250\n\n\
    event: drop\ndata: never\n\nevent:sleep\rdata\r\rid: alone\n\nevent: upper\ndata: cut off";
const SENT: &str = "\u{feff}: hello\n\ndata: as it came\r\n\r\nevent: uppered\nid: 7\nretry: 250\ndata: ONE\ndata: TWO\n\n\
    data: slept\n\nid: alone\n\nevent: upper\ndata: cut off";

on_both_engines! {
    fn events_are_told_whole_however_their_bytes_come(engine) {
        // Cut into chunks of 1 to 7 bytes, and once not at all.
        let origin = Origin::serve(|exchange| {
            let size = exchange.number;
            exchange.begin(200, &[("content-type", "text/event-stream; charset=utf-8")])?;
            for chunk in STREAM.as_bytes().chunks(if size > 7 { STREAM.len() } else { size }) {
                exchange.chunk(chunk)?;
            }
            exchange.end(&[])
        });
        let edge = edge(engine, plugin("events", EVENTS), &origin);
        for _ in 0..8 {
            assert_eq!(edge.get("/a").text(), SENT);
        }
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn an_event_goes_on_before_the_next_has_come(engine) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::serve(move |exchange| {
            exchange.begin(200, &[("content-type", "text/event-stream")])?;
            for text in ["event: upper\ndata: a\n\nevent: up", "per\ndata: b\n\n"] {
                exchange.chunk(text.as_bytes())?;
                let _ = wait.lock().expect("one exchange").recv_timeout(PATIENCE);
            }
            exchange.end(&[])
        });
        let edge = edge(engine, plugin("events", EVENTS), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        assert_eq!(client.response_head().status(), 200);
        for event in ["event: uppered\ndata: A\n\n", "event: uppered\ndata: B\n\n"] {
            assert_eq!(client.chunk().expect("an event, before the next is sent"), event.as_bytes());
            go.send(()).expect("the origin waits");
        }
        assert_eq!(client.messages.body().expect("the rest"), b"");
    }

    fn an_event_over_the_plugins_buffer_cuts_the_stream(engine) {
        let origin = Origin::serve(|exchange| {
            exchange.begin(200, &[("content-type", "text/event-stream")])?;
            exchange.chunk(b"data: first\n\n")?;
            exchange.chunk(&[b"data: ".as_slice(), &[b'x'; 3000]].concat())?;
            exchange.end(&[])
        });
        let edge = edge(engine, plugin("events", EVENTS).keys("    limits: {buffer: 1KiB}"), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        match client.try_response() {
            Ok(response) => assert_eq!(response.status, 502),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::UnexpectedEof),
        }
        edge.process.wait_for_log(&["BUFFER"]);
    }

    fn what_is_no_event_stream_is_not_told(engine) {
        let origin = Origin::serve(|exchange| {
            let kind = if exchange.number == 1 { "text/plain" } else { "text/event-stream" };
            let coding = if exchange.number == 1 { "identity" } else { "gzip" };
            exchange.respond(200, &[("content-type", kind), ("content-encoding", coding)], STREAM.as_bytes())
        });
        let edge = edge(engine, plugin("events", EVENTS), &origin);
        for _ in 0..2 {
            assert_eq!(edge.get("/a").text(), STREAM);
        }
    }
}
