//! The outlet by itself: its bounds, its wake-ups, what it gives back.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::*;
use crate::{
    message::Message,
    outbound::{KEPT_ENTRIES, SendError},
};

fn queue(bytes: usize, messages: usize) -> Outlet {
    Outlet::new(OutboundLimits::of(bytes, messages), None)
}

fn sized(bytes: usize) -> Message {
    Message::binary(vec![0; bytes])
}

/// Counts how often the driver is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the driver would be given.
fn begin(queue: &Outlet, taken: &mut VecDeque<Queued>) -> Begin {
    queue.begin(&Context::from_waker(Waker::noop()), true, taken, &mut Vec::new()).0
}

/// A step of a driver whose socket takes everything; says how many messages there were.
fn write(queue: &Outlet, waker: &Waker, taken: &mut VecDeque<Queued>) -> usize {
    let cx = Context::from_waker(waker);
    let mut turns = Vec::new();
    let (Begin::Write(pen), _) = queue.begin(&cx, true, taken, &mut turns) else { return 0 };
    let mut begun = Encoded::default();
    taken.drain(..).for_each(|it| begun.add(&it.message));
    let count = begun.messages;
    let step = Step { begun, control: 0, progressed: true, is_full: false, has_more: false };
    assert!(!queue.finish(&cx, pen, &step, &mut turns), "nothing was queued meanwhile");
    count
}

/// A payload that says when it is gone.
#[derive(Clone, Default)]
struct Payload(Arc<AtomicUsize>);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// covers: DL-01
#[test]
fn the_bound_in_bytes_counts_payload_and_a_price_for_each_message() {
    let bound = 3 * ENTRY_OVERHEAD + 30;
    for (name, sizes, held) in [
        ("three", [10, 10, 10].as_slice(), Some(bound)),
        ("one byte more", &[10, 10, 11], None),
        ("four empty ones", &[0, 0, 0, 0], None),
        ("one as large as the bound", &[bound - ENTRY_OVERHEAD], Some(bound)),
        ("one larger", &[bound - ENTRY_OVERHEAD + 1], None),
    ] {
        let queue = queue(bound, 100);
        let last = sizes.iter().map(|size| queue.push(sized(*size))).last().unwrap();
        let expected = held.ok_or(SendError::Full(sized(*sizes.last().unwrap())));
        assert_eq!(last, expected, "{name}");
        assert!(queue.peak_bytes() <= bound, "{name}");
    }
}

// covers: DL-01
#[test]
fn the_bound_in_messages_holds_for_empty_ones_and_is_felt_before() {
    let queue = queue(1 << 20, 4);
    let quarter = 1 << 18;
    for n in 1..=4 {
        assert_eq!(queue.push(sized(0)), Ok(n * quarter), "a message is its share of the bound");
    }
    assert_eq!(queue.push(sized(0)), Err(SendError::Full(sized(0))));
}

// covers: DL-01, DL-13
#[test]
fn an_overflow_drops_the_queue_at_once_and_for_good() {
    let payload = Payload::default();
    let gone = Arc::clone(&payload.0);
    let queue = queue(10 * (ENTRY_OVERHEAD + 7), 100);
    for _ in 0..10 {
        queue.push(Message::binary(Bytes::from_owner(payload.clone()))).unwrap();
    }
    assert_eq!(gone.load(Ordering::SeqCst), 0);
    assert_eq!(queue.push(sized(1)), Err(SendError::Full(sized(1))));
    assert_eq!(gone.load(Ordering::SeqCst), 10, "without a turn of the driver");
    assert_eq!(queue.push(sized(1)), Err(SendError::Closed(sized(1))));
    let mut taken = VecDeque::new();
    for _ in 0..2 {
        assert!(matches!(begin(&queue, &mut taken), Begin::Overflowed));
    }
    assert!(taken.is_empty());
}

/// A payload that panics when it is gone.
struct Bomb(Payload);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor of the application's");
    }
}

// covers: XX-04
#[test]
fn payloads_that_panic_are_freed_all_the_same_and_nobody_who_pushes_hears_of_it() {
    let payload = Payload::default();
    let gone = Arc::clone(&payload.0);
    let queue = queue(10 * (ENTRY_OVERHEAD + 7), 100);
    for _ in 0..10 {
        queue.push(Message::binary(Bytes::from_owner(Bomb(payload.clone())))).unwrap();
    }
    assert_eq!(queue.push(sized(1)), Err(SendError::Full(sized(1))));
    assert_eq!(gone.load(Ordering::SeqCst), 10);
    assert_eq!(queue.counted(), (0, 0, 0));
    assert!(matches!(begin(&queue, &mut VecDeque::new()), Begin::Overflowed));
}

#[test]
fn a_closed_queue_drops_what_it_has_and_takes_no_more() {
    let payload = Payload::default();
    let gone = Arc::clone(&payload.0);
    let queue = queue(1 << 20, 100);
    queue.push(Message::binary(Bytes::from_owner(payload))).unwrap();
    queue.close();
    assert_eq!(gone.load(Ordering::SeqCst), 1);
    assert_eq!(queue.push(sized(0)), Err(SendError::Closed(sized(0))));
}

// covers: DL-01
#[test]
fn bytes_with_the_driver_count_until_the_socket_has_them() {
    let bound = 4 * (ENTRY_OVERHEAD + 100);
    let queue = queue(bound, 100);
    let cx = Context::from_waker(Waker::noop());
    let (mut taken, mut turns) = (VecDeque::new(), Vec::new());
    for _ in 0..3 {
        queue.push(sized(100)).unwrap();
    }
    let Begin::Write(pen) = begin(&queue, &mut taken) else { panic!("nothing to write") };
    assert_eq!(queue.held(), 3 * (ENTRY_OVERHEAD + 100), "taken is not written");
    let mut begun = Encoded::default();
    begun.add(&taken.pop_front().unwrap().message);
    let step = Step { begun, control: 102, progressed: true, is_full: true, has_more: true };
    assert!(!queue.finish(&cx, pen, &step, &mut turns), "the socket wakes the driver");
    assert_eq!(queue.held(), 2 * (ENTRY_OVERHEAD + 100) + 102);
    let Begin::Write(pen) = begin(&queue, &mut taken) else { panic!("nothing to write") };
    let begun = Encoded::default();
    let step = Step { begun, control: 2, progressed: true, is_full: true, has_more: true };
    queue.finish(&cx, pen, &step, &mut turns);
    assert_eq!(queue.held(), 2 * (ENTRY_OVERHEAD + 100) + 2);
    assert_eq!(queue.push(sized(262)), Ok(bound));
    assert!(queue.push(sized(0)).is_err());
}

#[test]
fn a_batch_wakes_the_driver_once() {
    let queue = queue(1 << 20, 1000);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut taken = VecDeque::new();
    for batch in 1..=3 {
        assert_eq!(write(&queue, &waker, &mut taken), if batch == 1 { 0 } else { 100 });
        assert_eq!(wakes.0.load(Ordering::SeqCst), batch - 1);
        for _ in 0..100 {
            queue.push(sized(1)).unwrap();
        }
        queue.notify();
        assert_eq!(wakes.0.load(Ordering::SeqCst), batch);
    }
}

#[test]
fn while_the_socket_is_full_only_the_end_wakes_the_driver() {
    let queue = queue(1000, 1000);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let cx = Context::from_waker(&waker);
    let (mut taken, mut turns) = (VecDeque::new(), Vec::new());
    queue.push(sized(1)).unwrap();
    let (Begin::Write(pen), _) = queue.begin(&cx, true, &mut taken, &mut turns) else {
        panic!("nothing to write")
    };
    let begun = Encoded::default();
    let step = Step { begun, control: 0, progressed: false, is_full: true, has_more: true };
    queue.finish(&cx, pen, &step, &mut turns);
    queue.push(sized(1)).unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    assert!(queue.push(sized(1000)).is_err());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

#[test]
fn an_overflow_wakes_a_driver_that_slept_over_nothing() {
    let queue = queue(100, 1000);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    write(&queue, &waker, &mut VecDeque::new());
    assert!(queue.push(sized(100)).is_err());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

/// Wakes a thread, and remembers it: the thread may not sleep yet.
struct Unpark(AtomicBool, thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.unpark();
    }
}

// A push sets `awake` and wakes under the lock under which the driver clears it when it has found nothing:
// so either the push stands before that, and the driver has its message, or after it, and finds `awake`
// clear and the waker in place.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const THREADS: usize = 3;
    const EACH: usize = 20_000;
    let queue = Arc::new(queue(usize::MAX, usize::MAX));
    let unpark = Arc::new(Unpark(AtomicBool::new(true), thread::current()));
    let waker = Waker::from(Arc::clone(&unpark));
    let pushers: Vec<_> = (0..THREADS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for n in 0..EACH {
                    queue.push(sized(n % 3)).unwrap();
                    if n % 64 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let (mut got, mut taken, mut turns) = (0, VecDeque::new(), Vec::new());
    while got < THREADS * EACH {
        let late = Instant::now() + Duration::from_secs(60);
        while !unpark.0.swap(false, Ordering::SeqCst) {
            // May return for nothing, or for a wake-up that was seen without sleeping.
            thread::park_timeout(Duration::from_secs(60));
            assert!(Instant::now() < late, "asleep with {got} messages");
        }
        let cx = Context::from_waker(&waker);
        while let (Begin::Write(pen), _) = queue.begin(&cx, true, &mut taken, &mut turns) {
            let mut begun = Encoded::default();
            taken.drain(..).for_each(|it| begun.add(&it.message));
            got += begun.messages;
            let step =
                Step { begun, control: 0, progressed: true, is_full: false, has_more: false };
            if !queue.finish(&cx, pen, &step, &mut turns) {
                break;
            }
        }
    }
    for pusher in pushers {
        pusher.join().unwrap();
    }
}

// covers: DL-12
#[test]
fn after_a_burst_the_queue_gives_its_memory_back() {
    let queue = queue(1 << 30, 1 << 20);
    let mut taken = VecDeque::new();
    for _ in 0..10_000 {
        queue.push(sized(0)).unwrap();
    }
    assert_eq!(write(&queue, Waker::noop(), &mut taken), 10_000);
    // The driver gives back what it took; the queue, what it was given for that.
    taken = VecDeque::new();
    queue.push(sized(0)).unwrap();
    assert_eq!(write(&queue, Waker::noop(), &mut taken), 1);
    assert!(queue.lock().own.capacity() <= KEPT_ENTRIES);
}

// covers: DL-12
#[test]
fn a_message_now_and_then_costs_the_queue_no_allocation() {
    let queue = queue(1 << 30, 1 << 20);
    let mut taken = VecDeque::with_capacity(KEPT_ENTRIES);
    queue.lock().own.reserve(KEPT_ENTRIES);
    for _ in 0..10 {
        queue.push(sized(0)).unwrap();
        assert_eq!(write(&queue, Waker::noop(), &mut taken), 1);
        assert!(queue.lock().own.capacity() + taken.capacity() >= 2 * KEPT_ENTRIES);
    }
}

// covers: DL-10
#[test]
fn a_payload_that_shares_a_buffer_is_copied_out_and_another_is_not() {
    let buffer = Bytes::from(vec![b'x'; 16 * 1024]);
    for shared in [Message::Binary(buffer.slice(..1)), Message::Binary(buffer.clone())] {
        let at = shared.as_bytes().as_ptr();
        let detached = shared.clone().detached();
        assert_eq!(detached, shared);
        assert_ne!(detached.as_bytes().as_ptr(), at);
    }
    // Alone, but perhaps in a buffer that was read into once.
    let small = Message::binary(vec![1; 100]);
    let at = small.as_bytes().as_ptr();
    assert_ne!(small.detached().as_bytes().as_ptr(), at);
    for own in [Message::binary(vec![1; 2000]), Message::text("x".repeat(2000))] {
        let at = own.as_bytes().as_ptr();
        assert_eq!(own.detached().as_bytes().as_ptr(), at);
    }
}
