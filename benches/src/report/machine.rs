//! What a run was made on.

use std::time::SystemTime;

/// Machine, versions and date, as a Markdown list.
pub(crate) fn machine() -> String {
    let cpu = file("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = file("/proc/sys/kernel/osrelease");
    let load = file("/proc/loadavg");
    let date = humantime::format_rfc3339_seconds(SystemTime::now());
    format!(
        "- date: {date}\n- processor: {model}, {cores} cores\n- kernel: {}\n\
         - load average at the end: {}\n- compiler: {}\n- asyncserver {}, tarpc {}, tonic {}, tokio {}\n",
        kernel.trim(),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        env!("BENCHES_RUSTC"),
        version("asyncserver"),
        version("tarpc"),
        version("tonic"),
        version("tokio"),
    )
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// As the lock file has it.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let start = format!("name = \"{package}\"\nversion = \"");
    let rest = lock.split(&start).nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_file_tells_versions() {
        assert!(super::version("tonic").starts_with("0."));
        assert_eq!(super::version("no such package"), "");
    }
}
