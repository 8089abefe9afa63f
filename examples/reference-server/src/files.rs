//! Find out how many files the process may have open: each connection takes one.

use std::fs;

use crate::options::Options;

impl Options {
    /// Says so if the process may have fewer files than sockets. It runs all the same, and then is full
    /// before its limits are reached: all who come have to wait.
    pub(crate) fn warn_of_files(&self, sockets: usize) {
        let wanted = self.max_connections.get().saturating_add(sockets).saturating_add(OTHERS);
        if let Some(files) = allowed().filter(|it| *it < wanted) {
            tracing::warn!(
                files,
                wanted,
                "the process may have fewer files open than its limits let in sockets: raise \
                 `ulimit -n`, or lower --max-connections"
            );
        }
    }
}

/// The soft limit; `None` if there is none, or where the system does not tell.
fn allowed() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|it| it.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The standard streams, the runtime's own, the listener, and some that wait to be closed.
const OTHERS: usize = 32;
