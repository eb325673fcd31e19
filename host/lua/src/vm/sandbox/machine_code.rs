//! Compiled code lies outside of the VM's allocator: it has a bound of its own, which holds.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::scratch::Scratch;
use crate::source::Source;
use crate::state::Resumed;
use crate::vm::{Asking, Stage, Vm};

/// Bytes of executable memory that belongs to no file.
fn executable() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let size = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        let (from, to) = range.split_once('-')?;
        let anonymous = line.split_whitespace().nth(5).is_none();
        let number = |text| usize::from_str_radix(text, 16).ok();
        (anonymous && rights.contains('x')).then_some(number(to)? - number(from)?)
    };
    maps.lines().filter_map(size).sum()
}

#[test]
fn machine_code_stays_within_its_bound_however_much_is_compiled() {
    std::thread::Builder::new()
        .stack_size(16 << 20)
        .spawn(|| {
            let before = executable();
            let vm = Vm::new(Arc::new(Source::of("")), 256 << 20).unwrap();
            let host = Rc::new(Scratch::new("test", abi::Limits::default()));
            let asking = Asking::new(host, Stage::Start, true);
            // Thousands of loops, each of some kilobytes and worth compiling, all of them kept.
            let script = "kept = kept or {}
                for n = 1, 100 do
                    local body = ('x = x * 3 % 1001 + i '):rep(30)
                    local f = load('local x = ' .. #kept .. ' for i = 1, 90 do ' .. body .. ' end return x')
                    kept[#kept + 1] = f f()
                end";
            let mut most = 0;
            for _ in 0..24 {
                let coroutine = vm.take_coroutine();
                assert!(coroutine.state.compile(script.as_bytes(), c"=script"));
                let resumed = vm.watched(Duration::from_secs(60), || vm.resume(&asking, coroutine, 0));
                assert_eq!(resumed, Resumed::Done);
                most = most.max(executable() - before);
                vm.drop_coroutine(coroutine);
            }
            println!("{most} bytes of machine code");
            assert!(most > 256 << 10, "nothing was compiled: {most} bytes");
            assert!(most <= (1024 + 64) << 10, "{most} bytes of machine code");
            // It does not count against the memory limit, and ends with the VM.
            drop(vm);
            assert!(executable() <= before, "{} bytes stay", executable() - before);
        })
        .unwrap()
        .join()
        .unwrap();
}
