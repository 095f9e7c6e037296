//! What memory and disk there is, as the kernel tells it.

use nix::sys::statvfs::statvfs;
use std::fs;
use std::path::Path;

/// Most memory that this process has held so far, in bytes; 0 where the kernel does not tell.
pub(crate) fn peak() -> u64 {
    status("VmHWM:")
}

/// Memory that this process holds, in bytes; 0 where the kernel does not tell.
pub(crate) fn held() -> u64 {
    status("VmRSS:")
}

fn status(key: &str) -> u64 {
    kilobytes("/proc/self/status", key).unwrap_or(0)
}

/// Memory that can be had without swapping, in bytes: the machine's, or what the control group leaves.
pub(crate) fn available() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemAvailable:")?;
    let group = group_limit().map(|(limit, used)| limit.saturating_sub(used));
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// The control group's limit and what counts against it (version 2, then 1); page cache can be given back.
fn group_limit() -> Option<(u64, u64)> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let pairs = [
        (
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory.current",
            "/sys/fs/cgroup/memory.stat",
        ),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
        ),
    ];
    pairs.iter().find_map(|(limit, used, stat)| {
        let cache = value(stat, "inactive_file").unwrap_or(0);
        Some((number(limit)?, number(used)?.saturating_sub(cache)))
    })
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    value(path, key).map(|kilobytes| kilobytes * 1024)
}

fn value(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Bytes that may still be written under `path`, of which the nearest folder that is there is asked.
pub(crate) fn room(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let answer = statvfs(there).ok()?;
    Some(answer.blocks_available() as u64 * answer.fragment_size() as u64)
}
