//! What memory is left: asked before weights are loaded, since an allocation that is granted may still be what the kernel
//! kills the server for.

use std::path::Path;

use super::ModelError;

/// # Errors
/// [`ModelError::OutOfMemory`] where so many bytes are not left. Where it is not known what is left, nothing is refused.
pub(super) fn require(needed: u64) -> Result<(), ModelError> {
    match available() {
        Some(available) if needed > available => Err(ModelError::OutOfMemory { needed, available }),
        _ => Ok(()),
    }
}

/// Bytes that can be taken without swapping, of the machine or of the control group (a container's limit), whichever is
/// less; nothing where neither is known.
fn available() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| of_meminfo(&text));
    let group = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
        ),
    ]
    .into_iter()
    .find_map(|(limit, usage, statistics)| of_group(&read(limit)?, &read(usage)?, &read(statistics)?));
    machine.into_iter().chain(group).min()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(path)).ok()
}

/// `MemAvailable:   123 kB`
fn of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A group's limit less what it uses, of which cached files can be taken back. Nothing where there is no limit (`max`, or a
/// number that no machine has).
fn of_group(limit: &str, usage: &str, statistics: &str) -> Option<u64> {
    let limit = limit.trim().parse::<u64>().ok().filter(|&limit| limit < 1 << 60)?;
    let usage = usage.trim().parse::<u64>().ok()?;
    let of = |name: &str| {
        statistics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    let cached = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree:  5 kB\nMemAvailable:   11000000 kB\n";
        assert_eq!(of_meminfo(meminfo), Some(11_000_000 * 1024));
        assert_eq!(of_meminfo("MemTotal: 5 kB"), None);
        assert_eq!(of_group("1000\n", "700\n", "anon 400\ninactive_file 250\n"), Some(550));
        assert_eq!(of_group("1000\n", "1300\n", ""), Some(0));
        assert_eq!(of_group("max\n", "700\n", ""), None);
        assert_eq!(of_group("9223372036854771712\n", "700\n", ""), None);
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        require(0).unwrap();
        if available().is_some() {
            let error = require(1 << 60).unwrap_err().to_string();
            assert!(error.starts_with("out of memory: 1073741824.00 GiB are needed"), "{error}");
        }
    }
}
