//! How many edges and pools does one aggregator carry on one core, and in how much memory?
//!
//! `cargo bench --workspace --bench fleet` starts an aggregator, and in a process of its own edges that report each
//! second on a connection of their own, staggered over the second as real ones are. Told are CPU time of the
//! aggregator's threads in parts of one core, its memory, and how long an edge waits for its answer.
//!
//! `FLEET=EDGES,POOLS,ORIGINS,SECONDS` (2000,50,10,60) takes others.

mod edges;
mod region;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub edges: usize,
    pub pools: usize,
    /// Of each pool.
    pub origins: usize,
    pub seconds: u64,
}

impl Size {
    fn of(text: &str) -> Size {
        let parts: Vec<u64> = text.split(',').map(|part| part.parse().expect("FLEET: four numbers")).collect();
        let [edges, pools, origins, seconds] = parts[..] else { panic!("FLEET=EDGES,POOLS,ORIGINS,SECONDS") };
        Size { edges: edges as usize, pools: pools as usize, origins: origins as usize, seconds }
    }
}

fn main() {
    let size = Size::of(&std::env::var("FLEET").unwrap_or_else(|_| "2000,50,10,60".into()));
    if let Ok(address) = std::env::var("FLEET_AGGREGATOR") {
        edges::run(address.parse().expect("an address"), size);
        return;
    }
    let folder = std::env::temp_dir().join(format!("forebay-fleet-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the journal");
    let region = region::of(&folder, size);
    let aggregator = aggregator::start(Arc::new(region)).expect("it starts");
    let mut edges = Command::new(std::env::current_exe().expect("this program"))
        .env("FLEET_AGGREGATOR", aggregator.address().to_string())
        .stdout(Stdio::inherit())
        .spawn()
        .expect("the edges");
    println!("{size:?}");
    println!("second  core  journal+history  MiB");
    let (mut last, mut begin) = (cpu(), Instant::now());
    let mut worst: f64 = 0.0;
    let mut means = Vec::new();
    for second in 1.. {
        std::thread::sleep(Duration::from_secs(5));
        let (now, passed) = (cpu(), begin.elapsed().as_secs_f64());
        begin = Instant::now();
        let (main, aside) = ((now.0 - last.0) / passed, (now.1 - last.1) / passed);
        last = now;
        if edges.try_wait().expect("its state").is_some() {
            break;
        }
        println!("{:6}  {main:4.2}  {aside:15.2}  {:.0}", second * 5, memory());
        // The first seconds are connections.
        if second > 2 {
            worst = worst.max(main);
            means.push(main);
        }
    }
    println!(
        "the aggregator's thread: {:.2} of a core on the mean, {worst:.2} at most in 5 s; {:.0} MiB",
        means.iter().sum::<f64>() / means.len().max(1) as f64,
        memory()
    );
    aggregator.stop();
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len()) >> 10;
    println!("on the disk: journal {} KiB, history {} KiB", size("d.jsonl"), size("history.redb"));
    let _ = std::fs::remove_dir_all(folder);
}

/// CPU seconds of the aggregator's thread, and of all others.
fn cpu() -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanoseconds: f64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
        match name.trim() {
            "aggregator" => sums.0 += nanoseconds / 1e9,
            _ => sums.1 += nanoseconds / 1e9,
        }
    }
    sums
}

/// Resident, MiB.
fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}
