//! The budget against a model, against threads, and against everything that ends a connection.

use std::{collections::VecDeque, thread};

use proptest::prelude::*;

use super::*;
use crate::{
    message::Message,
    outbound::{
        Begin, ENTRY_OVERHEAD, Encoded, OutboundLimits, Outlet, Queued, SendError, Step as Wrote,
    },
};

const ROOMY: OutboundLimits = OutboundLimits::of(4096, 8);

fn budget(bytes: usize) -> MemoryBudget {
    MemoryBudget::new(NonZeroUsize::new(bytes).unwrap())
}

fn queue(budget: &MemoryBudget, limits: OutboundLimits) -> Arc<Outlet> {
    Arc::new_cyclic(|queue: &Weak<Outlet>| Outlet::new(limits, Some(budget.open(queue.clone()))))
}

fn unbounded(budget: &MemoryBudget) -> Arc<Outlet> {
    queue(budget, OutboundLimits::of(usize::MAX, usize::MAX))
}

fn charge(queue: &Outlet) -> Charge {
    Charge::new(Arc::clone(queue.account().unwrap()))
}

/// A message that is charged `bytes`.
fn message(bytes: usize) -> Message {
    Message::binary(vec![0; bytes - ENTRY_OVERHEAD])
}

/// Whether the queue was dropped for the budget's sake.
fn evicted(queue: &Outlet) -> bool {
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let (begin, _) = queue.begin(&cx, true, &mut VecDeque::new(), &mut Vec::new());
    matches!(begin, Begin::Evicted)
}

/// Takes what waits, and begins `count` of it; then so many bytes are with the driver.
fn write(queue: &Outlet, taken: &mut VecDeque<Queued>, count: usize, flying: usize) {
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut turns = Vec::new();
    if let (Begin::Write(pen), _) = queue.begin(&cx, false, taken, &mut turns) {
        let mut begun = Encoded::default();
        let count = count.min(taken.len());
        taken.drain(..count).for_each(|it| begun.add(&it.message));
        let step =
            Wrote { begun, control: flying, progressed: true, is_full: true, has_more: true };
        queue.finish(&cx, pen, &step, &mut turns);
    }
}

/// What the accounts hold, closed ones not included.
fn accounts(budget: &MemoryBudget) -> usize {
    budget
        .shared
        .accounts()
        .entries
        .values()
        .map(|it| it.balance.held.load(Ordering::Relaxed))
        .sum()
}

fn open_accounts(budget: &MemoryBudget) -> usize {
    budget.shared.accounts().entries.len()
}

#[test]
fn the_largest_holder_goes_at_the_soft_mark_and_nobody_else() {
    let budget = budget(1000);
    let queues: Vec<_> = (0..5).map(|_| unbounded(&budget)).collect();
    for (queue, bytes) in queues.iter().zip([100, 300, 200, 80, 64]) {
        queue.push(message(bytes)).unwrap();
    }
    assert_eq!((budget.used(), budget.is_tight()), (744, false));
    queues[4].push(message(64)).unwrap();
    assert_eq!((budget.used(), budget.is_tight()), (508, false));
    let gone: Vec<_> = queues.iter().map(|it| evicted(it)).collect();
    assert_eq!(gone, [false, true, false, false, false]);
}

#[test]
fn what_is_queued_and_what_is_read_make_one_holder() {
    let budget = budget(1000);
    let [both, one, last] = [(); 3].map(|()| unbounded(&budget));
    both.push(message(200)).unwrap();
    let mut input = charge(&both);
    assert!(input.set(200));
    one.push(message(300)).unwrap();
    assert_eq!(budget.used(), 700);
    last.push(message(64)).unwrap();
    assert!(evicted(&both) && !evicted(&one));
    assert_eq!(budget.used(), 764 - 200);
}

/// The peer of `hog` has not closed yet, so its input is still held: that is on its way out, and no
/// reason to close others.
#[test]
fn nobody_goes_while_what_is_going_is_enough() {
    let budget = budget(1280);
    let (hog, small) = (unbounded(&budget), unbounded(&budget));
    let mut input = charge(&hog);
    assert!(input.set(970));
    assert!(evicted(&hog));
    for _ in 0..4 {
        small.push(message(64)).unwrap();
    }
    assert!(budget.is_tight() && !evicted(&small));
    drop((hog, input));
    assert_eq!(budget.used(), 4 * 64);
}

/// Three attackers, one after the other, and 128 bytes more each time: the second goes only when the
/// first cannot make up for it.
#[test]
fn the_next_largest_goes_if_the_first_was_not_enough() {
    let budget = budget(1280);
    let [first, second, small] = [(); 3].map(|()| unbounded(&budget));
    let [mut in_first, mut in_second] = [charge(&first), charge(&second)];
    assert!(in_first.set(500) && in_second.set(460));
    assert!(!evicted(&first));
    small.push(message(64)).unwrap();
    assert!(evicted(&first) && !evicted(&second));
    // 500 are going. Only above 960 and those does another have to.
    for _ in 0..3 {
        small.push(message(64)).unwrap();
    }
    assert_eq!(budget.used(), 960 + 256);
    assert!(!evicted(&second));
    drop((first, in_first));
    assert!(in_second.set(705));
    assert!(evicted(&second) && !evicted(&small));
}

#[test]
fn it_relieves_again_once_it_was_below_the_mark() {
    let budget = budget(1000);
    let small = unbounded(&budget);
    small.push(message(64)).unwrap();
    for _ in 0..3 {
        let hog = unbounded(&budget);
        // To the last byte in one go: no further step is left.
        hog.push(message(936)).unwrap();
        assert!(evicted(&hog));
        assert_eq!(budget.used(), 64);
    }
    assert!(!evicted(&small));
}

// holds: I3
#[test]
fn the_limit_is_never_passed_and_who_would_is_closed() {
    let budget = budget(1000);
    let (hog, late) = (unbounded(&budget), unbounded(&budget));
    let mut input = charge(&hog);
    assert!(input.set(990));
    assert_eq!(late.push(message(64)), Err(SendError::Full(message(64))));
    assert!(evicted(&late));
    assert!(!charge(&late).set(11));
    assert!(charge(&late).set(10));
    assert_eq!(budget.used(), 990);
}

#[test]
fn a_handle_that_is_kept_keeps_nothing_of_the_budget() {
    let budget = budget(10_000);
    let kept = unbounded(&budget);
    let input = charge(&kept);
    for _ in 0..10 {
        kept.push(message(100)).unwrap();
    }
    let mut taken = VecDeque::new();
    // Half of it is begun, and the socket takes no more.
    write(&kept, &mut taken, 5, 400);
    assert_eq!(budget.used(), 900);
    drop(input);
    kept.end();
    assert_eq!((budget.used(), open_accounts(&budget)), (0, 0));
    assert!(kept.push(message(100)).is_err());
    assert_eq!(budget.used(), 0);
    // Its place is another's now.
    let other = unbounded(&budget);
    other.push(message(100)).unwrap();
    drop(kept);
    assert_eq!((budget.used(), open_accounts(&budget)), (100, 1));
}

/// A thousand connections hold as much as may be, and nobody lets go: each further push looks for
/// the largest, unless it is known that there is none.
#[test]
fn pressure_does_not_make_every_push_look_at_every_account() {
    let budget = budget(1_280_000);
    let queues: Vec<_> = (0..1000).map(|_| unbounded(&budget)).collect();
    let mut inputs: Vec<_> = queues.iter().map(|it| charge(it)).collect();
    let mut looks = 0;
    for (nth, input) in inputs.iter_mut().enumerate() {
        for step in 1..=20 {
            let before = budget.shared.relieve_above.load(Ordering::Relaxed);
            assert!(input.set(step * 64), "{nth}");
            looks += usize::from(before != budget.shared.relieve_above.load(Ordering::Relaxed));
        }
    }
    assert!(budget.is_tight());
    assert!(looks <= STEPS / 4 + 1, "{looks}");
}

/// Queues are pushed to, evicted and dropped by four threads at once: it comes to an end, the limit
/// holds, and nothing is left over.
#[test]
fn threads_neither_lock_each_other_out_nor_pass_the_limit() {
    const LIMIT: usize = 40_000;
    let budget = budget(LIMIT);
    let shared: Vec<_> = (0..4).map(|_| Mutex::new(unbounded(&budget))).collect();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (budget, shared) = (&budget, &shared);
            scope.spawn(move || {
                for round in 0..5_000 {
                    let place = &shared[(thread + round) % shared.len()];
                    let queue = Arc::clone(&place.lock().unwrap());
                    let mut input = charge(&queue);
                    let pushed = queue.push(message(64 + (round * 7 + thread * 13) % 6_000));
                    assert!(budget.used() <= LIMIT);
                    input.set(round % 900);
                    if pushed.is_err() || round % 16 == 0 {
                        // The last handle may go while another thread relieves.
                        let new = unbounded(budget);
                        let old = std::mem::replace(&mut *place.lock().unwrap(), new);
                        if round % 3 == 0 {
                            old.end();
                        }
                    }
                }
            });
        }
    });
    assert_eq!(budget.used(), accounts(&budget));
    drop(shared);
    assert_eq!((budget.used(), open_accounts(&budget)), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize),
    Take(usize),
    /// So much of what was taken is encoded, and so much of that is not with the socket.
    Encode(usize, usize, usize),
    Input(usize, usize),
    Close(usize),
    Evict(usize),
    End(usize),
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..4_usize;
    prop_oneof![
        6 => (nth.clone(), 64..2_000_usize).prop_map(|(nth, bytes)| Step::Push(nth, bytes)),
        3 => nth.clone().prop_map(Step::Take),
        3 => (nth.clone(), 0..5_usize, 0..3_000_usize)
            .prop_map(|(nth, count, flying)| Step::Encode(nth, count, flying)),
        3 => (nth.clone(), 0..4_000_usize).prop_map(|(nth, bytes)| Step::Input(nth, bytes)),
        1 => nth.clone().prop_map(Step::Close),
        1 => nth.clone().prop_map(Step::Evict),
        1 => nth.clone().prop_map(Step::End),
        1 => nth.prop_map(Step::Replace),
    ]
}

struct Held {
    queue: Arc<Outlet>,
    input: Charge,
    taken: VecDeque<Queued>,
    flying: usize,
    ended: bool,
}

impl Held {
    fn new(budget: &MemoryBudget) -> Self {
        let queue = queue(budget, ROOMY);
        Self { input: charge(&queue), queue, taken: VecDeque::new(), flying: 0, ended: false }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Push(_, bytes) => drop(self.queue.push(message(bytes))),
            Step::Take(_) if !self.ended => write(&self.queue, &mut self.taken, 0, self.flying),
            Step::Encode(_, count, flying) if !self.ended => {
                self.flying = flying;
                write(&self.queue, &mut self.taken, count, flying);
            }
            Step::Input(_, bytes) => drop(self.input.set(bytes)),
            Step::Close(_) => self.queue.close(),
            Step::Evict(_) => self.queue.evict(&mut Dropped::default()),
            Step::End(_) => {
                self.queue.end();
                self.ended = true;
            }
            Step::Take(_) | Step::Encode(..) | Step::Replace(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn what_is_used_is_what_all_hold_and_at_most_the_limit(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        const LIMIT: usize = 9_000;
        let budget = budget(LIMIT);
        let mut all: Vec<_> = (0..4).map(|_| Held::new(&budget)).collect();
        for step in &steps {
            let (Step::Push(nth, _)
            | Step::Take(nth)
            | Step::Encode(nth, ..)
            | Step::Input(nth, _)
            | Step::Close(nth)
            | Step::Evict(nth)
            | Step::End(nth)
            | Step::Replace(nth)) = *step;
            match step {
                Step::Replace(_) => all[nth] = Held::new(&budget),
                step => all[nth].apply(step),
            }
            let held: usize =
                all.iter().map(|it| it.queue.account().unwrap().balance.held.load(Ordering::Relaxed)).sum();
            prop_assert_eq!(budget.used(), held, "{:?}", step);
            prop_assert!(held <= LIMIT);
            for it in &all {
                let (queued, in_flight, _) = it.queue.counted();
                let held = it.queue.account().unwrap().balance.held.load(Ordering::Relaxed);
                // A frame header for which there was no room goes uncharged; nothing else does.
                prop_assert!(held <= queued + in_flight + it.input.held());
            }
        }
        for it in &mut all {
            it.queue.end();
            it.input.set(0);
        }
        prop_assert_eq!((budget.used(), accounts(&budget)), (0, 0));
        drop(all);
        prop_assert_eq!((budget.used(), open_accounts(&budget)), (0, 0));
    }
}

// covers: DL-23
#[test]
fn accounts_of_a_peak_give_their_room_back() {
    let budget = MemoryBudget::new(NonZeroUsize::new(1000).unwrap());
    let nothing = Weak::<Outlet>::new();
    let open =
        |count: usize| -> Vec<_> { (0..count).map(|_| budget.open(nothing.clone())).collect() };
    let few = open(10);
    let many = open(10_000);
    let room = || budget.shared.accounts().entries.capacity();
    assert!(room() >= 10_010);
    drop(many);
    assert!(room() <= 80, "{}", room());
    drop(few);
    assert_eq!((open_accounts(&budget), room()), (0, 0));
}
