//! Edges of which only the reports exist, each with a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{OriginReport, PoolReport};

use crate::{Size, region};

pub fn run(aggregator: SocketAddr, size: Size) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pools: Arc<str> = pools(size).into();
    println!("a report is {} KiB", pools.len() >> 10);
    let waits = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let edges = (0..size.edges).map(|edge| {
            let (pools, waits) = (pools.clone(), waits.clone());
            tokio::spawn(async move { report(aggregator, size, edge, &pools, &waits).await })
        });
        for edge in edges.collect::<Vec<_>>() {
            if let Err(error) = edge.await.expect("it does not panic") {
                println!("an edge ended: {error}");
            }
        }
    });
    let mut waits = waits.lock().expect("nobody panicked");
    waits.sort_by(f64::total_cmp);
    let at = |part: f64| waits.get((waits.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN) * 1e3;
    println!(
        "{} reports answered of {} that were due; the answer after {:.1} ms (median), {:.1} (p99)",
        waits.len(),
        size.edges as u64 * size.seconds,
        at(0.5),
        at(0.99)
    );
}

/// What each edge says of each pool: the same, as only its amount matters.
fn pools(size: Size) -> String {
    let origin = OriginReport { requests: 4, in_flight: 1, healthy: true, warmed: true };
    let pool = |pool: usize| PoolReport {
        requests: 40,
        latency_sum_ms: 812.5,
        latency_count: 40,
        latency_p99_ms: 48.25,
        in_flight: 3,
        origins: (0..size.origins)
            .map(|at| (region::address(pool, at).parse().expect("an address"), origin.clone()))
            .collect(),
        ..PoolReport::default()
    };
    let pools: std::collections::BTreeMap<String, PoolReport> =
        (0..size.pools).map(|at| (region::name(at), pool(at))).collect();
    serde_json::to_string(&pools).expect("JSON")
}

async fn report(
    aggregator: SocketAddr,
    size: Size,
    edge: usize,
    pools: &str,
    waits: &Mutex<Vec<f64>>,
) -> std::io::Result<()> {
    // Staggered, the connections too.
    tokio::time::sleep(Duration::from_secs_f64(edge as f64 / size.edges as f64)).await;
    let mut stream = TcpStream::connect(aggregator).await?;
    stream.set_nodelay(true)?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let begin = Instant::now();
    let (mut answer, mut last) = (vec![0; 1 << 16], Instant::now());
    for seq in 1.. {
        ticks.tick().await;
        if begin.elapsed() >= Duration::from_secs(size.seconds) {
            break;
        }
        let period = (last.elapsed().as_millis() as u64).clamp(1, 60_000);
        last = Instant::now();
        let body = format!(
            "{{\"version\":1,\"edge\":\"edge-{edge:04}\",\"boot\":1,\"seq\":{seq},\"period_ms\":{period},\"pools\":{pools}}}"
        );
        let head = format!("POST /v1/reports HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        read(&mut stream, &mut answer).await?;
        waits.lock().expect("nobody panicked").push(last.elapsed().as_secs_f64());
    }
    Ok(())
}

/// One answer with a length, which has to be a 200.
async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut had = 0;
    let (head, length) = loop {
        had += stream.read(&mut buffer[had..]).await?;
        let Some(head) = buffer[..had].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(std::io::Error::other(text));
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        break (head + 4, length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0));
    };
    let mut left = length - (had - head).min(length);
    while left > 0 {
        let most = buffer.len().min(left);
        let read = stream.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
    Ok(())
}
