//! VMs come and go while deadlines pass, on machines that are busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use abi::*;

use crate::fake::*;

/// Machines that are busy must not make faults: time that others take is not the script's.
#[test]
fn waiting_for_the_processor_is_not_running() {
    let busy: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(|| {
                let end = Instant::now() + Duration::from_millis(600);
                while Instant::now() < end {}
            })
        })
        .collect();
    on_worker(|| {
        let mut run =
            Run::new("return { on_request_headers = function() local n = 0 for i = 1, 100000 do n = n + i end end }");
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            run.headers().unwrap();
        }
    });
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What one worker does: VMs are made, run, time out, run out of memory, wait and are dropped in the
/// middle of it. The number of what ended each way.
fn come_and_go(plugin: &Arc<dyn Plugin>, seed: u64, end: Instant) -> [u64; 3] {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kept: Vec<Run> = Vec::new();
    let mut ended = [0; 3];
    while Instant::now() < end {
        let limits = Limits { cpu: Duration::from_micros(random.u64(50..1500)), memory: 1 << 20, ..Limits::default() };
        let host = std::rc::Rc::new(Fake::with(limits, Capabilities::default(), ""));
        let mut run = Run { host: host.clone(), instance: plugin.instantiate(host).unwrap() };
        for context in 2..2 + random.u32(1..6) {
            let context = run.open(context);
            let outcome = match random.u8(..4) {
                0 => run.call_on(context, Event::RequestHeaders { end_of_stream: true }),
                1 => run.call_on(context, Event::ResponseHeaders { end_of_stream: true }),
                2 => run.call_on(context, Event::RequestBody { size: 0, end_of_stream: true }),
                _ => run.call_on(context, Event::Log),
            };
            match outcome {
                Ok(action) => {
                    assert!(matches!(action, Action::Pause | Action::Continue));
                    ended[0] += 1;
                }
                Err(fault) if fault.verdict == Verdict::Cpu => ended[1] += 1,
                Err(fault) if fault.verdict == Verdict::Memory => ended[2] += 1,
                Err(fault) => panic!("{fault}"),
            }
        }
        // Some live on beside those that come after them, some end with a coroutine that waits.
        if random.bool() && kept.len() < 8 {
            kept.push(run);
        } else if !kept.is_empty() && random.bool() {
            kept.swap_remove(random.usize(..kept.len()));
        }
    }
    ended
}

#[test]
fn vms_come_and_go_under_load_while_deadlines_pass() {
    let plugin = load(
        "return {
            on_request_headers = function() while true do pcall(function() while true do end end) end end,
            on_response_headers = function() coroutine.wrap(function() forebay.sleep(1) end)() end,
            on_request_body = function() local t = {} while true do t[#t + 1] = { #t } end end,
            on_log = function() local n = 0 for i = 1, 3000 do n = n + #tostring(i) end forebay.ctx.set('n', n) end,
        }",
    );
    let seconds = std::env::var("FOREBAY_TEARDOWN").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let sums: Arc<[AtomicU64; 3]> = Arc::default();
    // More workers than cores; each thread ends and another takes its place, with a timer of its own.
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let (plugin, sums) = (plugin.clone(), sums.clone());
            std::thread::spawn(move || {
                for round in 0.. {
                    let now = Instant::now();
                    if now >= end {
                        break;
                    }
                    let plugin = plugin.clone();
                    let until = end.min(now + Duration::from_millis(150));
                    let ended = on_worker(move || come_and_go(&plugin, number * 1000 + round, until));
                    sums.iter().zip(ended).for_each(|(sum, n)| {
                        sum.fetch_add(n, Ordering::Relaxed);
                    });
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let sums: Vec<_> = sums.iter().map(|sum| sum.load(Ordering::Relaxed)).collect();
    println!("{} ended well, {} by time, {} by memory", sums[0], sums[1], sums[2]);
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
}

/// What has started belongs to no thread, and holds nobody who answered for the start.
#[test]
fn what_has_started_on_one_thread_serves_on_another_under_its_limits() {
    let plugin = load(
        "local started = 0
        return {
            on_configure = function() started = started + 1 end,
            on_request_headers = function() forebay.log.info('started ' .. started) end,
            on_response_headers = function() while true do pcall(function() while true do end end) end end,
        }",
    );
    let start = |plugin: Arc<dyn Plugin>| {
        let host = std::rc::Rc::new(Fake::new());
        let started = plugin.start(host.clone()).expect("it may go to another thread").unwrap();
        assert_eq!(std::rc::Rc::strong_count(&host), 1);
        started
    };
    let started: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn({
                let plugin = plugin.clone();
                move || start(plugin)
            })
        })
        .collect();
    let started: Vec<_> = started.into_iter().map(|thread| thread.join().unwrap()).collect();
    on_worker(move || {
        for started in started {
            let host = std::rc::Rc::new(Fake::new());
            let mut run = Run { instance: started.adopt(host.clone()).unwrap(), host };
            run.open(EXCHANGE.0);
            assert_eq!(run.headers().unwrap(), Action::Continue);
            let fault = run.call(Event::ResponseHeaders { end_of_stream: true }).unwrap_err();
            assert_eq!(fault.verdict, Verdict::Cpu);
            assert!(fault.cpu >= Limits::default().cpu, "{:?} of CPU time in its callback", fault.cpu);
            assert_eq!(run.headers().unwrap(), Action::Continue);
        }
    });
    // One that nobody adopts ends where it is.
    drop(start(plugin));
}
