//! Memory, by the kernel's accounting.

/// Bytes of memory that are a process's own: its proportional set size, or the
/// resident one where the kernel does not tell that.
pub(crate) fn process_bytes(process: u32) -> u64 {
    rollup(process).unwrap_or_else(|| resident(process))
}

fn rollup(process: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

fn resident(process: u32) -> u64 {
    let path = format!("/proc/{process}/statm");
    let pages = std::fs::read_to_string(path).expect("the process lives");
    let pages = pages.split_whitespace().nth(1).map(str::parse::<u64>);
    pages.expect("a number").expect("a number") * rustix::param::page_size() as u64
}
