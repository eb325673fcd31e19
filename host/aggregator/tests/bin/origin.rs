//! An origin for the tests of the aggregator: waits its boot time, then answers 200 to anything.
//! `/crash` ends it.
//!
//! `forebay-test-origin PORT BOOT_MS`; a boot time of `never` never listens.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let port: u16 = words.get(1).and_then(|port| port.parse().ok()).expect("PORT");
    match words.get(2).map(String::as_str) {
        Some("never") => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        Some("crash") => std::process::exit(3),
        boot => {
            let boot = boot.and_then(|boot| boot.parse().ok()).unwrap_or(0);
            std::thread::sleep(Duration::from_millis(boot));
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on {port}");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap_or(0);
        if request[..length].starts_with(b"GET /crash") {
            std::process::exit(3);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    }
    Ok(())
}
