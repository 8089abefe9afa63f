//! Write the log without making anything wait for its reader.
//!
//! Stdout may be a pipe that is not read, or a disk that is full; and what has something to log is a
//! connection, or the server as it stops. So lines wait in a queue with a bound, for a thread of its own.
//! What finds no place is lost, and the log says how much that was.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that wait for the log. Clones are the same queue.
#[derive(Clone)]
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<Box<[u8]>>,
    /// Of all lines together.
    bytes: usize,
    /// Lines that found no place, and of which the log does not say so yet.
    lost: u64,
    /// The thread has taken lines, and has not written all of them.
    writing: bool,
}

/// Takes one line.
pub(crate) struct Line<'a> {
    queue: &'a LogQueue,
    may_wait: bool,
}

impl LogQueue {
    /// Writes what comes to `out`, on a thread that lives as long as the process.
    ///
    /// # Errors
    ///
    /// That there is no thread to be had.
    pub(crate) fn new(out: impl Write + Send + 'static) -> Result<Self, String> {
        let shared = Shared { waiting: Mutex::default(), changed: Condvar::new() };
        let this = Self { shared: Arc::new(shared) };
        let queue = this.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || queue.work(out))
            .map_err(|error| format!("the log has no thread: {error}"))?;
        Ok(this)
    }

    /// Waits until everything is written, at most `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let busy = |it: &mut Waiting| it.writing || it.is_due();
        drop(self.shared.changed.wait_timeout_while(self.waiting(), limit, busy));
    }

    fn push(&self, line: &[u8], may_wait: bool) {
        let mut waiting = self.waiting();
        if may_wait {
            let full = |it: &mut Waiting| it.bytes >= ROOM;
            let waited = self.shared.changed.wait_while(waiting, full);
            waiting = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.bytes >= 2 * ROOM {
            waiting.lost = waiting.lost.saturating_add(1);
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push(line.into());
        drop(waiting);
        self.shared.changed.notify_all();
    }

    fn work(&self, mut out: impl Write) {
        let mut cut = false;
        let mut complained: Option<Instant> = None;
        loop {
            let (mut lines, lost) = self.take();
            if lost > 0 {
                lines.insert(0, note(lost).into_bytes().into());
            }
            // How many the first stands for; each of the others for itself.
            let mut count = lost.max(1);
            let mut unsaid = 0;
            for line in lines {
                // What was cut off is not joined with what follows.
                let begun = if cut { out.write_all(b"\n") } else { Ok(()) };
                let written = begun.and_then(|()| out.write_all(&line));
                cut = written.is_err();
                if let Err(error) = written {
                    unsaid += count;
                    if complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                        complained = Some(Instant::now());
                        // Which may be the same disk.
                        let _ = writeln!(io::stderr(), "the log cannot be written: {error}");
                    }
                }
                count = 1;
            }
            self.written(unsaid);
        }
    }

    /// What is to be written next, and how many lines were lost before it.
    fn take(&self) -> (Vec<Box<[u8]>>, u64) {
        let idle = |it: &mut Waiting| !it.is_due();
        let waited = self.shared.changed.wait_while(self.waiting(), idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.writing = true;
        waiting.bytes = 0;
        let taken = (mem::take(&mut waiting.lines), mem::take(&mut waiting.lost));
        drop(waiting);
        // There is room now, however long it takes to write these.
        self.shared.changed.notify_all();
        taken
    }

    /// What was taken is written, but for some lines.
    fn written(&self, unsaid: u64) {
        let mut waiting = self.waiting();
        waiting.writing = false;
        waiting.lost = waiting.lost.saturating_add(unsaid);
        drop(waiting);
        self.shared.changed.notify_all();
    }

    /// Held to push a line or to take all, never while one is written.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What was lost is told with the next line: alone it may be lost again and again.
    fn is_due(&self) -> bool {
        !self.lines.is_empty()
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(line, self.may_wait);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, may_wait: false }
    }

    /// Audit records come from a thread that may wait, and whose own queue knows what to lose first.
    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { queue: self, may_wait: meta.target() == AUDIT }
    }
}

fn note(count: u64) -> String {
    let note = json!({
        "level": "WARN",
        "message": "lines of this log are lost, because it could not be written",
        "count": count,
        "target": module_path!(),
    });
    format!("{note}\n")
}

/// The target of audit records.
const AUDIT: &str = "tower_websocket::audit";

/// Bytes of lines that wait before an audit record does; others find room for as much again. It is some
/// thousand lines, that is the start of a server and the reason for which it stops.
const ROOM: usize = 1024 * 1024;

const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "tests/log_queue.rs"]
mod tests;
