//! CPU time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// CPU time of all threads of a process, by the scheduler's own count. That of
/// threads which have ended is not in it.
pub(crate) fn process_cpu(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process lives");
    let nanos = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        // A thread may end in between.
        let line = std::fs::read_to_string(path).unwrap_or_default();
        let first = line.split_whitespace().next();
        first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}
