//! Tickets by themselves, against a plain model, and from many threads.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::{ConnectionConfig, Connections, testing::TestConnection};

fn tickets(store: MemoryTickets) -> Tickets<String, MemoryTickets> {
    Tickets::with(store)
}

fn small(max: usize, each: usize) -> MemoryTickets {
    let of = |it| NonZeroUsize::new(it).unwrap();
    MemoryTickets::new().max(of(max)).max_per_user(of(each))
}

async fn issue(tickets: &Tickets<String>, user: &str) -> Result<Ticket, TicketError> {
    tickets.issue(Session::new(user.to_owned())).await
}

#[tokio::test(start_paused = true)]
async fn a_ticket_lets_its_user_in_once_for_as_long_as_the_session_has() {
    let tickets = Tickets::<String>::new();
    let session = Session::new("ada".to_owned()).expires_in(Duration::from_secs(100));
    let ticket = tickets.issue(session.session_id("s-1")).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let session = tickets.redeem(ticket.as_str()).await.unwrap();
    assert_eq!(session.user(), "ada");
    assert_eq!(session.key(), Some(SessionKey::of(b"s-1")));
    let left = session.expires().unwrap() - Instant::now();
    assert!((89_000..=90_001).contains(&left.as_millis()), "{left:?}");
    assert_eq!(tickets.redeem(ticket.as_str()).await.unwrap_err(), AuthFailure::Rejected);
}

// covers: AU-10
#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_for_half_a_minute_and_leaves_nothing() {
    let tickets = Tickets::<String>::new();
    let (kept, used) =
        (issue(&tickets, "ada").await.unwrap(), issue(&tickets, "bob").await.unwrap());
    assert!(tickets.redeem(used.as_str()).await.is_ok());
    tokio::time::advance(TTL).await;
    assert_eq!(tickets.redeem(kept.as_str()).await.unwrap_err(), AuthFailure::Rejected);
    assert_eq!(tickets.shared.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_and_so_have_all_together() {
    let tickets = tickets(small(5, 2));
    let mut adas = Vec::new();
    for _ in 0..3 {
        adas.push(issue(&tickets, "ada").await.unwrap());
    }
    assert!(tickets.redeem(adas[0].as_str()).await.is_err(), "the oldest is given up");
    assert!(tickets.redeem(adas[1].as_str()).await.is_ok());
    issue(&tickets, "bob").await.unwrap();
    issue(&tickets, "eve").await.unwrap();
    for n in 0..1000 {
        assert_eq!(issue(&tickets, &n.to_string()).await.unwrap_err(), TicketError::Full);
    }
    assert_eq!(tickets.shared.store.len(), 5);
    assert!(tickets.redeem(adas[2].as_str()).await.is_ok(), "a flood takes nothing away");
    tokio::time::advance(TTL).await;
    issue(&tickets, "bob").await.unwrap();
    assert_eq!(tickets.shared.store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_ticket_is_refused_and_a_copy_is_recorded() {
    let tickets = Tickets::<String>::new();
    let ticket = issue(&tickets, "ada").await.unwrap();
    let peer = TestConnection::new();
    let say = async |text: &str| {
        tickets
            .authenticate(&Message::text(text), peer.connection())
            .await
            .map(|it| it.user().clone())
    };
    let almost = format!("{}=", ticket.as_str());
    for text in ["", "ticket", &ticket.as_str()[1..], &almost, &"A".repeat(43), &"B".repeat(43)] {
        assert_eq!(say(text).await, Err(AuthFailure::Rejected), "{text}");
    }
    let binary = Message::Binary(bytes::Bytes::from_static(&[1, 2]));
    let refused = tickets.authenticate(&binary, peer.connection()).await.map(|_| ());
    assert_eq!(refused, Err(AuthFailure::Required));
    assert_eq!(say(ticket.as_str()).await, Ok("ada".to_owned()));
    assert!(peer.records().events().is_empty());
    assert_eq!(say(ticket.as_str()).await, Err(AuthFailure::Rejected));
    let rules: Vec<_> = peer.records().events().iter().map(|it| format!("{it:?}")).collect();
    assert!(rules.len() == 1 && rules[0].contains("ticket.replayed"), "{rules:?}");
}

// covers: AU-10
#[tokio::test(start_paused = true)]
async fn who_was_thrown_out_does_not_get_in_by_a_ticket_from_before() {
    let tickets = Tickets::<String>::new();
    let (before, other) =
        (issue(&tickets, "ada").await.unwrap(), issue(&tickets, "bob").await.unwrap());
    tickets.revoke_user(None, "ada");
    let after = issue(&tickets, "ada").await.unwrap();
    assert_eq!(tickets.redeem(before.as_str()).await.unwrap_err(), AuthFailure::Rejected);
    assert!(tickets.redeem(other.as_str()).await.is_ok());
    assert!(tickets.redeem(after.as_str()).await.is_ok());
    // A registry of connections knows it by itself.
    let connections = Connections::new();
    let ticket = issue(&tickets, "ada").await.unwrap();
    connections.user("ada").revoke();
    let peer = TestConnection::new();
    peer.enter(&connections);
    let session = tickets.redeem(ticket.as_str()).await.unwrap();
    assert_eq!(peer.logged_in(session).err(), Some(Close::REVOKED));
}

#[tokio::test]
async fn a_ticket_that_is_good_from_one_address_is_void_once_it_was_shown_from_another() {
    let tickets = Tickets::<String>::new();
    let ask = async |client: &str, from: Option<&str>| {
        let session = Session::new("ada".to_owned());
        let ticket = tickets.issue_to(client.parse().unwrap(), session).await.unwrap();
        let at = |it: &str| SocketAddr::new(it.parse().unwrap(), 1);
        let peer = TestConnection::with(&ConnectionConfig::new(), from.map(at));
        let shown = Message::text(ticket.as_str());
        let first = tickets.authenticate(&shown, peer.connection()).await.is_ok();
        let again = tickets.redeem(ticket.as_str()).await.is_ok();
        let records = format!("{:?}", peer.records().events());
        (first, again, records.contains("ticket.client"))
    };
    let in_ = (true, false, false);
    assert_eq!(ask("192.0.2.1", Some("192.0.2.1")).await, in_);
    assert_eq!(ask("192.0.2.1", Some("::ffff:192.0.2.1")).await, in_);
    // A host changes its address within its /64 by the hour.
    assert_eq!(ask("2001:db8::1", Some("2001:db8::ffff:2")).await, in_);
    let out = (false, false, true);
    assert_eq!(ask("192.0.2.1", Some("192.0.2.2")).await, out);
    assert_eq!(ask("2001:db8::1", Some("2001:db8:0:1::1")).await, out);
    assert_eq!(ask("192.0.2.1", Some("2001:db8::1")).await, out);
    assert_eq!(ask("192.0.2.1", None).await, out);
}

/// A million logins at one moment.
// covers: MS-21
#[tokio::test(start_paused = true)]
async fn a_million_tickets_leave_the_store_at_its_cap() {
    let tickets = Tickets::<String>::new();
    let early = issue(&tickets, "ada").await.unwrap();
    let mut kept = 1;
    for n in 0..1_000_000_u32 {
        let mut hash = TicketHash([0; 32]);
        hash.0[..4].copy_from_slice(&n.to_be_bytes());
        let stored = Stored { hash, owner: n.to_string(), entry: Vec::new(), ttl: TTL };
        kept += usize::from(tickets.shared.store.put(stored).await.is_ok());
    }
    assert_eq!((kept, tickets.shared.store.len()), (100_000, 100_000));
    assert!(tickets.redeem(early.as_str()).await.is_ok());
    tokio::time::advance(TTL).await;
    assert!(issue(&tickets, "ada").await.is_ok());
    assert_eq!(tickets.shared.store.len(), 1);
}

// covers: LG-01
#[tokio::test]
async fn nothing_shows_a_ticket_nor_its_hash() {
    let tickets = Tickets::<String>::new();
    let ticket = issue(&tickets, "ada").await.unwrap();
    let hash = ticket.hash();
    let entry = Taken::Entry(b"ada".to_vec());
    let stored = Stored { hash, owner: "ada".into(), entry: b"ada".to_vec(), ttl: TTL };
    let shown = format!("{tickets:?} {ticket:?} {hash:?} {stored:?} {entry:?}");
    assert!(!shown.contains(ticket.as_str()) && !shown.contains("ada"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", &hash.0[..4])), "{shown}");
    assert_eq!(serde_json::to_string(&ticket).unwrap(), format!("{:?}", ticket.as_str()));
}

/// Each thread begins at the same moment, and tries on.
// covers: AU-10
#[test]
fn of_a_thousand_that_redeem_one_ticket_one_gets_in() {
    const THREADS: usize = 8;
    for _ in 0..20 {
        let tickets = Tickets::<String>::new();
        let ticket = issue(&tickets, "ada").now_or_never().unwrap().unwrap();
        let (start, let_in) = (Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..125 {
                        let redeemed = tickets.redeem(ticket.as_str()).now_or_never().unwrap();
                        let_in.fetch_add(usize::from(redeemed.is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(let_in.into_inner(), 1);
    }
}

/// A store that is shared, or is away.
struct Away;

impl TicketStore for Away {
    async fn put(&self, _: Stored) -> Result<(), TicketError> {
        Ok(())
    }

    async fn take(&self, _: &TicketHash) -> Result<Taken, TicketError> {
        Err(TicketError::Unavailable)
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_no_refusal() {
    let tickets = Tickets::<String, _>::with(Away);
    let ticket = tickets.issue(Session::new("ada".to_owned())).await.unwrap();
    assert_eq!(tickets.redeem(ticket.as_str()).await.unwrap_err(), AuthFailure::Unavailable);
}

#[derive(Clone, Debug)]
enum Step {
    Issue(u8),
    Redeem(usize),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Step::Issue),
        3 => (0..64_usize).prop_map(Step::Redeem),
        1 => (0..20_u8).prop_map(Step::Wait),
    ]
}

/// One ticket of the model.
struct Known {
    ticket: Ticket,
    user: u8,
    ends: u64,
    held: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_store_does_what_a_list_does(steps in prop::collection::vec(step(), 1..80)) {
        const MAX: usize = 12;
        const EACH: usize = 3;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let tickets = tickets(small(MAX, EACH));
            let (mut known, mut now): (Vec<Known>, u64) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Wait(seconds) => {
                        tokio::time::advance(Duration::from_secs(seconds.into())).await;
                        now += u64::from(seconds);
                    }
                    Step::Issue(user) => {
                        let full = known.iter().filter(|it| it.ends > now).count() >= MAX;
                        let issued = issue(&tickets, &user.to_string()).await;
                        prop_assert_eq!(issued.is_err(), full);
                        if let Ok(ticket) = issued {
                            known.push(Known { ticket, user, ends: now + 30, held: true });
                            let held = known.iter_mut().rev()
                                .filter(|it| it.user == user && it.held && it.ends > now);
                            held.skip(EACH).for_each(|it| it.held = false);
                        }
                    }
                    Step::Redeem(nth) => {
                        let len = known.len().max(1);
                        let Some(it) = known.get_mut(nth % len) else { continue };
                        let redeemed = tickets.redeem(it.ticket.as_str()).await;
                        prop_assert_eq!(redeemed.is_ok(), it.held && it.ends > now);
                        it.held = false;
                    }
                }
                prop_assert!(tickets.shared.store.len() <= MAX);
            }
            Ok(())
        })?;
    }
}

/// Tickets that another process has issued.
struct Elsewhere(MemoryTickets);

impl TicketStore for Elsewhere {
    async fn put(&self, stored: Stored) -> Result<(), TicketError> {
        self.0.put(stored).await
    }

    async fn take(&self, hash: &TicketHash) -> Result<Taken, TicketError> {
        Ok(match self.0.take(hash).await? {
            Taken::Entry(entry) => {
                let mut entry: serde_json::Value = serde_json::from_slice(&entry).unwrap();
                entry["process"] = 1.into();
                Taken::Entry(serde_json::to_vec(&entry).unwrap())
            }
            it => it,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_of_log_outs_is_held_against_nobody_for_ever() {
    let tickets = Tickets::<String, _>::with(Elsewhere(MemoryTickets::new()));
    let connections = Connections::new();
    let log_in = async || {
        let ticket = tickets.issue(Session::new("ada".to_owned())).await.unwrap();
        let session = tickets.redeem(ticket.as_str()).await.map_err(|it| format!("{it:?}"))?;
        let peer = TestConnection::new();
        peer.enter(&connections);
        peer.logged_in(session).map(|_| ()).map_err(|it| it.to_string())
    };
    assert_eq!(log_in().await, Ok(()));
    // Twenty thousand log-outs within a minute.
    for n in 0..20_000 {
        connections.session(n.to_string()).revoke();
    }
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    connections.session("x").revoke();
    let registry = log_in().await;
    for n in 0..20_000 {
        tickets.revoke_user(None, &n.to_string());
    }
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    tickets.revoke_user(None, "nobody");
    let store = log_in().await;
    assert_eq!((registry, store), (Ok(()), Ok(())));
}
