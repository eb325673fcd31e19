//! The simplest origin: the harness's own keeps what it saw, and here that would be all of it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What an answer to these takes.
const SLOW: [(&str, Duration); 2] =
    [("GET /slow ", Duration::from_millis(30)), ("GET /late ", Duration::from_millis(1500))];

/// Answers every request 200 with `text`, for as long as the process lives.
pub fn start(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || serve(socket, text));
        }
    });
    address
}

fn serve(socket: TcpStream, text: &str) {
    let _ = socket.set_nodelay(true);
    let Ok(mut writer) = socket.try_clone() else { return };
    let mut lines = BufReader::new(socket).lines();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    let mut slow = Duration::ZERO;
    // Only requests without a body come: an empty line ends each.
    while let Some(Ok(line)) = lines.next() {
        slow += SLOW.iter().filter(|(of, _)| line.starts_with(of)).map(|(_, time)| *time).sum::<Duration>();
        if !line.is_empty() {
            continue;
        }
        std::thread::sleep(std::mem::take(&mut slow));
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
