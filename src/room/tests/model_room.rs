//! A room, and all orders in which its publishers, walks, members' drivers, joins and removals can meet.
//!
//! Rooms, walks, seats and outlets are the crate's own; a member's driver takes its three critical sections one
//! by one, and less than there is. Nobody publishes after the last message, and so nobody repairs what one
//! of them forgot: what is not heard then lies there for ever.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;

use crate::{
    audit::Audit,
    connection::Connection,
    message::Message,
    outbound::{
        Begin, Encoded, OutboundLimits, Outcome, Pen, Queued, Seat, SlowMember, Step, Turn,
        explore::{World, explore},
        frame::{self, Frame},
    },
    quota::RateKeyValue,
    room::{
        Rooms, RoomsConfig,
        encoder::Welcome,
        entry::Entry,
        members::Circle,
        publisher::Publisher,
        shares::Holder,
        state::Room,
        subscription::{PendingJoin, Subscription},
        walker::Walk,
    },
};

use super::{Events, Line, count, key, limits};

/// How a hall is made.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Who is there at first, and who comes later.
    pub(super) members: usize,
    pub(super) late: usize,
    /// Bytes of payload of each message.
    pub(super) says: &'static [usize],
    /// The first member is thrown out.
    pub(super) removes: bool,
    /// A walk may end in the middle, as with its runtime.
    pub(super) dies: bool,
    /// The room goes on without who is behind by more than so many bytes.
    pub(super) skips: Option<usize>,
    /// Who comes later hears nothing before it is told the room's state.
    pub(super) waits: bool,
}

impl Plan {
    pub(super) const ORDINARY: Self = Self {
        members: 2,
        late: 0,
        says: &[],
        removes: false,
        dies: false,
        skips: None,
        waits: false,
    };
}

pub(super) struct Hall {
    plan: Plan,
    rooms: Rooms<Line>,
    room: Arc<Room<Line>>,
    members: Vec<Member>,
    walks: Vec<Walking>,
    said: u8,
    removed: bool,
    died: bool,
}

pub(super) struct Walking {
    pub(super) walk: Walk<Room<Line>>,
    pub(super) circle: Circle,
    /// All slots were visited; the circle is not over yet.
    pub(super) is_round: bool,
}

pub(super) struct Member {
    pub(super) connection: Connection,
    pub(super) join: Option<PendingJoin<Line>>,
    in_room: Option<Subscription<Line>>,
    pub(super) woken: Arc<Woken>,
    taken: VecDeque<Queued>,
    pub(super) turns: Vec<Turn>,
    pub(super) pen: Option<Pen>,
    pub(super) wrote: Option<Step>,
    pub(super) heard: Vec<u8>,
    /// It is to be told the state.
    waits: bool,
    /// Of what is said, the first and one behind the last that it is to hear.
    from: u8,
    until: u8,
}

#[derive(Default)]
pub(super) struct Woken(pub(super) AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Hall {
    pub(super) fn new(plan: Plan) -> Self {
        let slow_member = if plan.skips.is_some() { SlowMember::Skip } else { SlowMember::Close };
        let rooms = Rooms::<Line>::with(RoomsConfig::new().slow_members(slow_member));
        rooms.store().encoder.speak(Line::from);
        let limits = plan.skips.map_or(limits(), |bytes| OutboundLimits::of(bytes, 1_000));
        let mut members: Vec<_> =
            (0..plan.members + plan.late).map(|nth| Member::new(&rooms, limits, nth)).collect();
        let room = rooms.store().directory.find(&key("", "r1")).unwrap();
        members.iter_mut().take(plan.members).for_each(|it| it.admit(0, false));
        let walks = Vec::new();
        Self { plan, rooms, room, members, walks, said: 0, removed: false, died: false }
    }

    fn say(&mut self) {
        let bytes = vec![self.said; self.plan.says[usize::from(self.said)]];
        self.said += 1;
        for lane in self.room.append_only(Frame::of(&Message::binary(bytes))) {
            let walk = Walk::new(Arc::clone(&self.room), lane);
            self.walks.push(Walking::new(walk));
        }
    }

    fn walk(&mut self, nth: usize) {
        if self.walks[nth].go_on() {
            self.walks.remove(nth);
        }
    }

    fn bytes_kept(&self) -> u64 {
        self.room.look(|members| members.log.keeps())
    }
}

impl Walking {
    pub(super) fn new(walk: Walk<Room<Line>>) -> Self {
        Self { walk, circle: Circle::by(1), is_round: false }
    }

    /// One critical section; says whether it was the last.
    pub(super) fn go_on(&mut self) -> bool {
        let Self { walk, circle, is_round } = self;
        if std::mem::take(is_round) {
            walk.ends(&std::mem::replace(circle, Circle::by(1)));
        } else {
            *is_round = !walk.step(circle, true);
        }
        walk.is_over()
    }
}

impl Member {
    pub(super) fn new(rooms: &Rooms<Line>, limits: OutboundLimits, nth: usize) -> Self {
        let connection = Connection::new(None, limits, None, Audit::new(Events::default()));
        let user: Arc<str> = format!("u{nth}").into();
        let holder = Holder { user: RateKeyValue::of(nth), address: None };
        let quotas = Arc::clone(&rooms.store().quotas);
        let publisher = Arc::new(Publisher::new(holder, quotas, None));
        let (key, connected) = (key("", "r1"), connection.clone());
        let join = rooms.store().enter(&key, key.name(), connected, user, publisher, count(9));
        Self {
            connection,
            join: Some(join.unwrap()),
            in_room: None,
            woken: Arc::new(Woken(AtomicBool::new(true))),
            taken: VecDeque::new(),
            turns: Vec::new(),
            pen: None,
            wrote: None,
            heard: Vec::new(),
            waits: false,
            from: 0,
            until: u8::MAX,
        }
    }

    pub(super) fn admit(&mut self, said: u8, waits: bool) {
        let welcome = Welcome::Plain(Message::binary(vec![JOINED]));
        let joined = self.join.take().unwrap().admit(&welcome, Entry { waits, since: None });
        self.in_room = Some(joined.ok().unwrap().0);
        (self.from, self.waits) = (said, waits);
    }

    pub(super) fn can_go_on(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed) || self.pen.is_some()
    }

    /// One critical section of its driver's, or what it does between them: of each room it writes about `most`
    /// bytes, or of that only the first frame.
    pub(super) fn drive(&mut self, most: usize, is_cut: bool) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let cx = Context::from_waker(&waker);
        let outlet = self.connection.outbound();
        if let Some(step) = self.wrote.take() {
            let more = outlet.finish(&cx, self.pen.take().unwrap(), &step, &mut self.turns);
            self.turns.drain(..).for_each(|turn| turn.seat.released());
            if more {
                self.woken.0.store(true, Ordering::Relaxed);
            }
        } else if self.pen.is_some() {
            let mut begun = Encoded::default();
            for Queued { message, .. } in self.taken.drain(..) {
                begun.add(&message);
                self.heard.push(message.as_bytes()[0]);
            }
            for turn in &mut self.turns {
                let mut bytes = Vec::new();
                let Some(lacks) = turn.seat.read(&mut bytes, most) else {
                    turn.outcome = Outcome::Gone;
                    continue;
                };
                if lacks.is_lost && turn.seat.cursor().is_keyed() {
                    turn.outcome = Outcome::Lost { end: lacks.end };
                    continue;
                }
                assert!(!lacks.is_lost, "it fell off the log, within its bound");
                if lacks.has_gap {
                    let gap = turn.seat.gap().unwrap();
                    assert!(gap.to > turn.seat.cursor().position(), "a gap without a hole");
                    turn.seat.told(gap.to);
                    turn.outcome = Outcome::Read { end: lacks.end, behind: None, all: false };
                    self.heard.push(GAP);
                    continue;
                }
                bytes.extend(lacks.large.iter().flatten());
                let messages = frame::messages(&Bytes::from(bytes.clone()));
                let begun = if is_cut { messages.len().min(1) } else { messages.len() };
                let lens = messages.iter().map(|it| frame::frame_len(it.len()));
                turn.parts = lacks.parts.into();
                turn.begun(begun as u64, lens.take(begun).sum());
                turn.outcome = Outcome::Read { end: lacks.end, behind: lacks.behind, all: true };
                if begun < messages.len() {
                    turn.stays();
                }
                self.heard.extend(messages.iter().take(begun).map(|it| it.as_bytes()[0]));
            }
            self.wrote =
                Some(Step { begun, control: 0, progressed: true, is_full: false, has_more: false });
        } else {
            self.woken.0.store(false, Ordering::Relaxed);
            outlet.driver_is_awake();
            match outlet.begin(&cx, true, &mut self.taken, &mut self.turns).0 {
                Begin::Write(pen) => self.pen = Some(pen),
                Begin::Nothing => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// It has heard what was said since it joined, in order, and where something is missing it was told so.
    fn check(&self) {
        assert!(self.heard.first().is_none_or(|it| *it == JOINED), "{:?}", self.heard);
        let (mut next, mut leaps) = (self.from, false);
        for said in self.heard.iter().skip(1).copied() {
            if said == STATE {
                assert_eq!(self.heard[1], STATE, "before anything else: {:?}", self.heard);
                continue;
            }
            assert!(!self.waits, "it is to be told the state first: {:?}", self.heard);
            assert!(next != REMOVED, "after it was removed: {:?}", self.heard);
            if said == REMOVED {
                assert!(self.until < GAP, "{:?}", self.heard);
                next = REMOVED;
                continue;
            }
            if said == GAP {
                leaps = true;
                continue;
            }
            let right = if std::mem::take(&mut leaps) { said > next } else { said == next };
            assert!(right && said < self.until, "{:?}", self.heard);
            next = said + 1;
        }
    }
}

impl World for Hall {
    fn able(&self) -> Vec<usize> {
        let mut able = Vec::new();
        able.extend((0..self.members.len()).filter(|nth| self.members[*nth].can_go_on()));
        let late = self.members.iter().any(|it| it.join.is_some());
        let says = usize::from(self.said) < self.plan.says.len();
        let removes = self.plan.removes && !self.removed;
        let waits = self.members.iter().any(|it| it.waits);
        let others = [(SAY, says), (JOIN, late), (REMOVE, removes), (BEGIN, waits)];
        able.extend(others.iter().filter(|(_, can)| *can).map(|(who, _)| *who));
        for nth in 0..self.walks.len() {
            able.push(WALK + nth);
            if self.plan.dies && !self.died {
                able.push(DIE + nth);
            }
        }
        able
    }

    fn act(&mut self, who: usize) {
        match who {
            DIE.. => {
                self.died = true;
                drop(self.walks.remove(who - DIE));
            }
            WALK.. => self.walk(who - WALK),
            SAY => self.say(),
            JOIN => {
                let late = self.members.iter_mut().find(|it| it.join.is_some());
                late.unwrap().admit(self.said, self.plan.waits);
            }
            BEGIN => {
                let member = self.members.iter_mut().find(|it| it.waits).unwrap();
                member.waits = false;
                let state = vec![Message::binary(vec![STATE])];
                let subscriber = member.in_room.as_ref().unwrap().subscriber();
                assert!(subscriber.begin(state, None).is_ok());
            }
            REMOVE => {
                self.removed = true;
                assert_eq!(self.room.remove(None, |it| it.is_user("u0")), 1);
                // What it has heard and what was said by now, and nothing else.
                self.members[0].until = self.said;
            }
            nth => {
                self.members[nth].drive(1, false);
                self.members[nth].check();
            }
        }
    }

    fn state(&self, into: &mut impl Hasher) {
        (self.said, self.removed, self.died).hash(into);
        self.room.look(|members| {
            (members.log.keeps(), members.log.end(), members.walks()).hash(into);
            for it in &self.members {
                let outlet = it.connection.outbound().state(|hold| members.log.held_from(hold));
                (outlet, it.woken.0.load(Ordering::Relaxed), &it.heard, it.join.is_some())
                    .hash(into);
                (it.pen.is_some(), it.wrote.is_some(), it.taken.len(), it.waits).hash(into);
                for turn in &it.turns {
                    let Outcome::Read { behind, end, .. } = &turn.outcome else { continue };
                    (end, behind.as_ref().map(|it| members.log.held_from(it))).hash(into);
                }
            }
        });
        for Walking { circle, is_round, .. } in &self.walks {
            (format!("{circle:?}"), is_round).hash(into);
        }
    }

    fn rests(&self) {
        for (nth, it) in self.members.iter().enumerate() {
            let mut heard = it.heard.clone();
            let told = heard.iter().filter(|it| **it == STATE).count();
            let late = nth >= self.plan.members && self.plan.waits;
            assert_eq!(told, usize::from(late), "{heard:?}");
            heard.retain(|it| *it != STATE);
            let is_removed = self.removed && nth == 0;
            if is_removed {
                assert_eq!(heard.pop(), Some(REMOVED));
            }
            let until = if is_removed { heard.len() as u8 - 1 } else { self.said };
            let all: Vec<u8> = [JOINED].into_iter().chain(it.from..until).collect();
            if self.plan.skips.is_none() {
                assert_eq!(heard, all, "member {nth} was not told");
            } else if !is_removed {
                // The newest, or that it is missing.
                let seat = it.in_room.as_ref().unwrap().subscriber();
                let end = self.room.look(|members| members.log.end());
                assert_eq!(seat.cursor().position(), end, "{:?}", it.heard);
                let last = it.heard.last();
                assert!(last == all.last() || last == Some(&GAP), "{:?}", it.heard);
            }
        }
        assert!(self.room.is_walked());
        assert_eq!(self.bytes_kept(), 0, "nobody needs it");
        assert_eq!(self.rooms.len(), 1);
    }
}

// covers: DL-03, DL-13, RM-13
#[test]
fn everybody_hears_what_was_said_since_it_joined_by_itself_and_nothing_after_it_is_removed() {
    let says = &[1, 1];
    let plan = Plan { late: 1, says, removes: true, ..Plan::ORDINARY };
    let states = explore(DEPTH, || Hall::new(plan));

    assert!(states > 1_000);
}

// covers: DL-03, DL-13
// holds: I9
#[test]
fn who_waits_for_the_state_hears_it_first_and_then_all_that_was_said_since_it_joined() {
    let plan = Plan { members: 1, late: 1, says: &[1, 1, 1], waits: true, ..Plan::ORDINARY };
    let states = explore(DEPTH, || Hall::new(plan));

    assert!(states > 1_000);
}

// covers: DL-03, DL-13
#[test]
fn a_walk_that_dies_leaves_nobody_untold() {
    let plan = Plan { says: &[1, 1, 1], dies: true, ..Plan::ORDINARY };
    let states = explore(DEPTH, || Hall::new(plan));

    assert!(states > 1_000);
}

/// Calls that are looked at in all orders.
pub(super) const DEPTH: usize = 11;

const SAY: usize = 10;
const JOIN: usize = 11;
const REMOVE: usize = 12;
const BEGIN: usize = 13;
const WALK: usize = 20;
const DIE: usize = 30;

/// What a member hears first.
pub(super) const JOINED: u8 = 255;

/// How what a member hears begins that is removed: it is a line of JSON.
pub(super) const REMOVED: u8 = b'"';

/// What a member hears of the room's state.
const STATE: u8 = 253;

/// What a member hears where something is missing.
pub(super) const GAP: u8 = 254;
