//! Find out how much memory there is, of which connections get a share.

use std::{fs, path::Path};

/// A quarter of what the machine or the process's cgroup has, whichever is less.
///
/// The rest is for what the budget does not charge: idle connections, the kernel's socket buffers, and
/// what the allocator keeps.
pub(crate) fn quarter() -> usize {
    let quarter = [machine(), cgroup()].into_iter().flatten().min().map(|bytes| bytes / 4);
    quarter.and_then(|it| usize::try_from(it).ok()).unwrap_or(UNKNOWN)
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn cgroup() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().filter_map(limit).min()
}

/// The limit of one line `hierarchy:controllers:path`, in either version of cgroups.
fn limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|it| it == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    // The groups above bind as well; and what is mounted in a container may begin at its own group,
    // whose path from outside is then not there.
    let groups = Path::new(path).ancestors().filter_map(|it| it.strip_prefix("/").ok());
    let files = groups.map(|group| Path::new(root).join(group).join(file));
    // Without a limit the file says "max", or a number larger than any machine.
    files.filter_map(|it| fs::read_to_string(it).ok()?.trim().parse().ok()).min()
}

/// Where neither is known: enough for some hundred clients that read slowly, little for any machine.
const UNKNOWN: usize = 256 * 1024 * 1024;
