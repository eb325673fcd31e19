//! What origins show of themselves: a real aggregator asks them, also those that hang, flood, babble and lie.

#[path = "harness.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::region::{Actuator, Over, Per, Reactive, Scrape, Signal, SignalSource};
use forebay_aggregator as aggregator;
use harness::*;

/// Shows its metrics by `show` for each who asks, until the test ends.
fn origin(show: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            show(stream);
        }
    });
    address
}

fn text(mut stream: TcpStream, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn setup(folder: &Folder, listed: Vec<SocketAddr>) -> Setup {
    let scrape = Scrape {
        path: "/metrics".into(),
        port: None,
        metric: "cpu".into(),
        labels: vec![("mode".into(), "user".into())],
        per: Per::Gauge,
        over: Over::Sum,
        interval: Duration::from_millis(200),
        timeout: Duration::from_millis(200),
    };
    let mut setup = Setup::new(&folder.0);
    setup.listed = listed;
    setup.scaling.actuator = Actuator::DryRun;
    (setup.scaling.floor, setup.scaling.ceiling) = (1, 30);
    setup.scaling.signals =
        vec![Signal { name: "cpu".into(), source: SignalSource::Origin { scrape, per_origin: 0.5 } }];
    let reactive = Reactive { requests_per_origin: None, window: Duration::from_secs(1), headroom: 1.0 };
    setup.scaling.reactive = Some(reactive);
    setup
}

#[test]
fn origins_that_hang_flood_babble_or_lie_hold_nobody_up_and_move_nothing() {
    let folder = Folder::new("scrapes");
    let shown = Arc::new(Mutex::new(0.6));
    let good = |shown: &Arc<Mutex<f64>>| {
        let shown = shown.clone();
        origin(move |stream| {
            let cpu = *shown.lock().unwrap();
            text(
                stream,
                format!("# TYPE cpu gauge\ncpu{{mode=\"idle\"}} 900\ncpu{{mode=\"user\"}} {cpu}\n").as_bytes(),
            );
        })
    };
    let mut listed: Vec<_> = (0..10).map(|_| good(&shown)).collect();
    let open = Mutex::new(Vec::new());
    listed.push(origin(move |stream| open.lock().unwrap().push(stream)));
    listed.push(origin(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ncpu{mode=\"user\"} 1e14\n");
        while stream.write_all(&[b'#'; 65536]).is_ok() {}
    }));
    listed.push(origin(|stream| text(stream, &[0xff; 10_000])));
    listed.push(origin(|stream| text(stream, b"cpu{mode=\"user\"} 1e308\n")));
    let aggregator = aggregator::start(setup(&folder, listed).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let mut seen = |what: &str, is: &dyn Fn(&serde_json::Value) -> bool| {
        let mut last = serde_json::Value::Null;
        for _ in until(Duration::from_secs(20)) {
            // It answers all the while.
            edge.report();
            last = get(aggregator.address(), "/v1/pools").1["pools"]["shop"].clone();
            if is(&last) {
                return last;
            }
        }
        panic!("not reached: {what}: {} {} {}", last["desired"], last["demand"], last["line"]);
    };
    let pool = seen("0.6 of 14 at 0.5", &|pool| pool["desired"] == 17);
    let because = pool["demand"]["signals"][0]["because"].as_str().unwrap().to_owned();
    assert!(because.starts_with("10 of 14 origins tell; 127.0.0.1:"), "{because}");
    assert_eq!(pool["demand"]["winner"], "cpu");
    *shown.lock().unwrap() = 0.1;
    seen("0.1 of 14 at 0.5", &|pool| pool["desired"] == 3);
    let decided: Vec<u64> = folder
        .journal()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["decision"]["to"].as_u64())
        .collect();
    assert!(!decided.is_empty() && decided.iter().all(|to| *to <= 17), "nobody believed the liars: {decided:?}");
    aggregator.stop();
}

#[test]
fn nothing_is_taken_away_while_nobody_answers() {
    let folder = Folder::new("scrapes-none");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let missing = origin(|stream| text(stream, b"other 1\n"));
    let aggregator = aggregator::start(setup(&folder, vec![closed, missing]).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let mut pool = serde_json::Value::Null;
    wait_for("both were asked", || {
        edge.report();
        pool = get(aggregator.address(), "/v1/pools").1["pools"]["shop"].clone();
        let line = pool["line"].as_str().unwrap_or_default();
        line.contains("signal cpu: 0 of 2 origins tell; ") && line.contains("refused")
    });
    assert_eq!(pool["desired"], 2, "{}", pool["line"]);
    assert_eq!(pool["demand"]["signals"][0]["gap"], true);
    aggregator.stop();
}
