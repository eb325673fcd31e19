//! What a process uses, from `/proc`, over time.

use std::time::Duration;

pub struct Sample {
    at: Duration,
    rss: f64,
    threads: usize,
    files: usize,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Sample {
    pub fn of(pid: u32, at: Duration) -> Sample {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the edge runs");
        let number = |key: &str| -> f64 {
            let line =
                status.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key} in status"));
            line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
        };
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the edge is ours").count();
        Sample { at, rss: number("VmRSS:") * 1024.0, threads: number("Threads:") as usize, files }
    }
}

/// What VMs that ran out of memory hold until their last exchange has ended: three of 8 MiB.
const BREATH: f64 = 24.0 * MIB;

/// Resident memory after the warm-up (the first third) must not climb: of a line laid through it
/// the rise over the whole time is below a twentieth of it, or what a few VMs hold that come and
/// go. Threads and open files must not climb either.
pub fn assert_flat(samples: &[Sample]) {
    let warm = &samples[samples.len() / 3..];
    let n = warm.len() as f64;
    assert!(n >= 8.0, "{n} samples");
    let mean = |of: fn(&Sample) -> f64| warm.iter().map(of).sum::<f64>() / n;
    let (at, rss) = (mean(|s| s.at.as_secs_f64()), mean(|s| s.rss));
    let spread: f64 = warm.iter().map(|s| (s.at.as_secs_f64() - at).powi(2)).sum();
    let slope = warm.iter().map(|s| (s.at.as_secs_f64() - at) * (s.rss - rss)).sum::<f64>() / spread;
    let lasted = warm[warm.len() - 1].at.as_secs_f64() - warm[0].at.as_secs_f64();
    let rise = slope * lasted;
    println!(
        "RSS {:.1} MiB at first, {:.1} MiB on average after the warm-up; {:+.2} MiB over {lasted:.0} s ({:+.3} MiB a minute)",
        samples[0].rss / MIB,
        rss / MIB,
        rise / MIB,
        slope * 60.0 / MIB
    );
    for part in samples.chunks(samples.len().div_ceil(10)) {
        let average = part.iter().map(|s| s.rss).sum::<f64>() / part.len() as f64;
        println!("  from {:>4.0} s: {:.1} MiB", part[0].at.as_secs_f64(), average / MIB);
    }
    assert!(rise < (rss / 20.0).max(BREATH), "memory climbs: {:.1} MiB in {lasted:.0} s", rise / MIB);
    let most = |of: fn(&Sample) -> usize, samples: &[Sample]| samples.iter().map(of).max().unwrap_or(0);
    let half = warm.len() / 2;
    for (what, of) in [("threads", (|s| s.threads) as fn(&Sample) -> usize), ("open files", |s| s.files)] {
        let (before, after) = (most(of, &warm[..half]), most(of, &warm[half..]));
        println!("{what}: {before}, then {after}");
        assert!(after <= before + 8, "{what}: {before}, then {after}");
    }
}
