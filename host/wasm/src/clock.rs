//! CPU time of the calling thread.

use std::time::Duration;

/// CPU time that the calling thread has used. On a busy machine wall time runs on while a
/// worker waits for its core: a limit held against it would fault plugins that did nothing.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives through the call, which writes nothing else.
    #[allow(unsafe_code)]
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "every Linux has CLOCK_THREAD_CPUTIME_ID");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_costs_no_cpu_time_and_work_does() {
        let start = thread_cpu();
        std::thread::sleep(Duration::from_millis(50));
        assert!(thread_cpu() - start < Duration::from_millis(40));
        let mut x = 1u64;
        while thread_cpu() - start < Duration::from_millis(5) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}
