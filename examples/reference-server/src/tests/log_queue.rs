use std::sync::mpsc::{self, Receiver, SyncSender};

use serde_json::Value;

use super::*;

/// A reader that takes a line when it is asked to, and until then none.
struct Slow(SyncSender<Vec<u8>>);

impl Write for Slow {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn slow() -> (LogQueue, Receiver<Vec<u8>>) {
    let (sender, lines) = mpsc::sync_channel(0);
    (LogQueue::new(Slow(sender)).unwrap(), lines)
}

fn kib(byte: u8) -> Vec<u8> {
    vec![byte; 1024]
}

// covers: LG-12
#[test]
fn nobody_waits_for_a_reader_that_does_not_read_and_what_is_lost_is_counted() {
    let (queue, lines) = slow();
    // More than there is room for, and what the thread has in hand.
    for _ in 0..10 * ROOM / 1024 {
        queue.push(&kib(b'x'), false);
    }
    queue.flush(Duration::from_millis(1));
    let mut heard = vec![lines.recv().unwrap()];
    while queue.waiting().bytes > 0 {
        heard.push(lines.recv().unwrap());
    }
    queue.push(b"and then\n", false);
    while heard.last().is_none_or(|it| it != b"and then\n") {
        heard.push(lines.recv().unwrap());
    }
    let written = heard.iter().filter(|it| **it == kib(b'x')).count();
    let notes = heard.iter().filter_map(|it| serde_json::from_slice::<Value>(it).ok());
    let lost = notes.inspect(|it| assert_eq!(it["level"], "WARN")).map(|it| it["count"].as_u64());
    let lost: u64 = lost.map(Option::unwrap).sum();
    assert_eq!(written + usize::try_from(lost).unwrap(), 10 * ROOM / 1024);
    assert!(lost > 0);
}

// covers: LG-12
#[test]
fn an_audit_record_waits_and_leaves_room_for_what_does_not() {
    let (queue, lines) = slow();
    let audit = queue.clone();
    let records = 4 * ROOM / 1024;
    let auditor = thread::spawn(move || {
        for _ in 0..records {
            audit.push(&kib(b'a'), true);
        }
    });
    // Once a record has to wait there is still room.
    while queue.waiting().bytes < ROOM {
        thread::yield_now();
    }
    queue.push(b"stopping\n", false);
    let mut heard = Vec::new();
    while heard.len() < records + 1 {
        heard.push(lines.recv().unwrap());
    }
    auditor.join().unwrap();
    assert_eq!(heard.iter().filter(|it| **it == kib(b'a')).count(), records);
    assert!(heard.contains(&b"stopping\n".to_vec()));
}

/// A disk that is full, until it is not.
struct Disk(Receiver<()>, SyncSender<Vec<u8>>);

impl Write for Disk {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_recv().is_ok() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let _ = self.1.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// covers: LG-12
#[test]
fn a_full_disk_costs_the_lines_that_find_it_full_and_the_log_says_so() {
    let (fail, failures) = mpsc::channel();
    let (sender, lines) = mpsc::sync_channel(16);
    let queue = LogQueue::new(Disk(failures, sender)).unwrap();
    fail.send(()).unwrap();
    queue.push(b"one\n", false);
    queue.flush(Duration::from_secs(20));
    queue.push(b"two\n", false);
    queue.flush(Duration::from_secs(20));
    let written: Vec<u8> = lines.try_iter().flatten().collect();
    let written = String::from_utf8(written).unwrap();
    let (note, two) = written.trim_start().split_once('\n').unwrap();
    assert!(note.contains(r#""count":1"#), "{written}");
    assert_eq!(two, "two\n");
}
