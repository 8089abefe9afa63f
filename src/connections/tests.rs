//! The registry by itself, with connections without a server.

use std::{
    any::TypeId,
    collections::HashSet,
    sync::{Barrier, atomic::AtomicUsize},
    task::{Context, Wake, Waker},
    thread,
};

use futures_util::FutureExt;

use super::*;
use crate::{
    ConnectionConfig, Json,
    layers::Session,
    login::{MAX_NOTES, Moment, SessionLimits},
    message::Message,
    principal::Principal,
    testing::TestConnection,
};

struct Of(&'static str, &'static str);

impl Principal for Of {
    fn id(&self) -> &str {
        self.1
    }

    fn tenant(&self) -> Option<&str> {
        Some(self.0)
    }
}

fn enter(connections: &Connections, session: Session<&'static str>) -> TestConnection {
    let peer = TestConnection::new();
    peer.enter(connections);
    peer.logged_in(session).unwrap();
    peer
}

fn user(connections: &Connections, id: &'static str) -> TestConnection {
    enter(connections, Session::new(id))
}

fn closed(peer: &mut TestConnection) -> Option<CloseReason> {
    peer.close_reason()
}

#[tokio::test]
async fn connections_are_found_by_whose_they_are_and_are_gone_at_their_end() {
    let connections = Connections::new();
    let unknown = TestConnection::new();
    unknown.enter(&connections);
    let (one, two) = (user(&connections, "ada"), user(&connections, "ada"));
    let other = user(&connections, "bob");
    let tenant = TestConnection::new();
    tenant.enter(&connections);
    tenant.logged_in(Session::new(Of("acme", "ada"))).unwrap();
    let ids = |selected: Selected<'_>| -> Vec<_> {
        selected.list(9).iter().map(Connection::id).collect()
    };
    let of = |peers: &[&TestConnection]| -> Vec<_> {
        peers.iter().map(|it| it.connection().id()).collect()
    };
    // The oldest first.
    assert_eq!(ids(connections.user("ada")), of(&[&one, &two]));
    assert_eq!(connections.user("ada").list(1).len(), 1);
    assert_eq!(ids(connections.user_in("acme", "ada")), of(&[&tenant]));
    assert_eq!(connections.user_in("acme", "bob").count(), 0);
    assert_eq!(connections.len(), 5);
    drop((one, tenant));
    assert_eq!(ids(connections.user("ada")), of(&[&two]));
    assert_eq!(connections.user_in("acme", "ada").count(), 0);
    drop((unknown, two, other));
    assert!(connections.is_empty());
    assert!(connections.iter_page(None, 9).0.is_empty());
}

#[tokio::test]
async fn a_push_reaches_every_device_and_says_how_many() {
    let connections = Connections::new();
    let mut devices = [user(&connections, "ada"), user(&connections, "ada")];
    let mut gone = user(&connections, "ada");
    gone.connection().close(Close::NORMAL);
    assert_eq!(closed(&mut gone), Some(CloseReason::Normal));
    let mut bob = user(&connections, "bob");
    let pushed = connections.user("ada").push(&Message::text("hi"));
    assert_eq!(pushed, Pushed { sent: 2, closed: 1, ..Pushed::default() });
    for device in &mut devices {
        assert_eq!(device.pushed(), Some(Message::text("hi")));
    }
    assert_eq!(bob.pushed(), None);
    // A value, to those who read it.
    let other = user(&connections, "bob");
    other.connection().set_codec(TypeId::of::<u8>());
    bob.connection().set_codec(TypeId::of::<Json>());
    let pushed = connections.user("bob").push_by(&Json::default(), &("hi", 1)).unwrap();
    assert_eq!(pushed, Pushed { sent: 1, other_codec: 1, ..Pushed::default() });
    assert_eq!(bob.pushed(), Some(Message::text(r#"["hi",1]"#)));
    drop(other);
    let long = Message::text("x".repeat(10_000_000));
    assert_eq!(connections.user("bob").push(&long).too_large, 1);
}

// covers: AU-10
#[tokio::test]
async fn what_a_session_came_in_by_is_void_everywhere_and_for_logins_under_way() {
    let connections = Connections::new();
    let of = |session: &str| Session::new("ada").session_id(session);
    let mut tabs = [enter(&connections, of("s-1")), enter(&connections, of("s-1"))];
    let mut phone = enter(&connections, of("s-2"));
    // Known before the log-out, and here only after it.
    let late = of("s-1");
    assert_eq!(connections.session("s-1").revoke(), 2);
    for tab in &mut tabs {
        assert_eq!(closed(tab), Some(CloseReason::Revoked));
    }
    let peer = TestConnection::new();
    peer.enter(&connections);
    assert_eq!(peer.logged_in(late).err(), Some(Close::REVOKED));
    // Others, and what begins from here on, come in.
    assert_eq!(closed(&mut phone), None);
    assert_eq!(closed(&mut user(&connections, "ada")), None);
    // All of a user, whatever the session; with the words of whoever threw it out.
    let kick = Close::application(4100, "removed", crate::Retry::Stop).unwrap();
    let late = of("s-3");
    assert_eq!(connections.user("ada").close(kick.clone()), 3);
    assert_eq!(closed(&mut phone).as_ref(), Some(kick.reason()));
    let peer = TestConnection::new();
    peer.enter(&connections);
    assert_eq!(peer.logged_in(late).err(), Some(kick));
}

#[tokio::test]
async fn one_device_too_many_replaces_the_oldest_which_counts_no_more() {
    let two = NonZeroUsize::new(2).unwrap();
    let connections = Connections::new().max_per_user(two, Overflow::CloseOldest);
    let mut devices: Vec<_> = (0..5).map(|_| user(&connections, "ada")).collect();
    let reasons: Vec<_> = devices.iter_mut().map(closed).collect();
    let replaced = Some(CloseReason::Replaced);
    assert_eq!(reasons, [replaced.clone(), replaced.clone(), replaced, None, None]);
    assert_eq!(connections.user("ada").count(), 2);
    assert_eq!(closed(&mut user(&connections, "bob")), None);
    // Their own ends take nobody else out.
    devices.drain(..3);
    assert_eq!((connections.user("ada").count(), connections.len()), (2, 2));
}

#[tokio::test]
async fn or_it_is_refused_until_another_is_gone() {
    let connections = Connections::new().max_per_user(NonZeroUsize::MIN, Overflow::Refuse);
    let mut first = user(&connections, "ada");
    let second = TestConnection::new();
    second.enter(&connections);
    let refused = second.logged_in(Session::new("ada")).unwrap_err();
    assert_eq!(refused.reason(), &CloseReason::TooManyOfUser);
    assert_eq!(connections.user("ada").count(), 1);
    assert_eq!(closed(&mut first), None);
    drop(first);
    user(&connections, "ada");
}

#[tokio::test]
async fn pages_have_each_connection_once_whatever_comes_and_goes() {
    let connections = Connections::new();
    let stay: Vec<_> = (0..300).map(|_| user(&connections, "ada")).collect();
    for most in [1, 7, 16, 300, 1000] {
        let (mut seen, mut after) = (HashSet::new(), None);
        loop {
            let passing = user(&connections, "bob");
            let (page, next) = connections.iter_page(after, most);
            assert!(page.len() <= most);
            drop(passing);
            let fresh = page.iter().filter(|it| it.user_id().is_some_and(|it| **it == *"ada"));
            fresh.for_each(|it| assert!(seen.insert(it.id())));
            if next.is_none() {
                break;
            }
            after = next;
        }
        assert_eq!(seen.len(), stay.len(), "{most}");
    }
    assert!(connections.iter_page(None, 0).0.is_empty());
}

#[tokio::test]
async fn a_server_that_stops_closes_whatever_opens_and_waits_for_all() {
    let connections = Connections::new();
    let mut before = TestConnection::new();
    before.enter(&connections);
    assert_eq!(connections.shut_down(Close::GOING_AWAY), 1);
    let mut after = TestConnection::new();
    after.enter(&connections);
    for peer in [&mut before, &mut after] {
        assert_eq!(closed(peer), Some(CloseReason::GoingAway));
    }
    let mut ended = std::pin::pin!(connections.ended());
    assert!(ended.as_mut().now_or_never().is_none());
    drop((before, after));
    ended.await;
}

#[tokio::test(start_paused = true)]
async fn notes_of_who_was_thrown_out_are_bounded_in_number_and_time() {
    let connections = Connections::new();
    let (early, asked) = (Session::new("ada"), Moment::now());
    for n in 0..MAX_NOTES + 10 {
        connections.session(n.to_string()).revoke();
    }
    assert_eq!(connections.shared.voided.len(), MAX_NOTES);
    // Whether it was thrown out is not known any more.
    let peer = TestConnection::new();
    peer.enter(&connections);
    let refused = peer.logged_in(early.clone()).unwrap_err();
    assert_eq!(refused.reason(), &CloseReason::AuthUnavailable);
    assert!(asked < Moment::now());
    user(&connections, "ada");
    tokio::time::advance(Duration::from_secs(61)).await;
    connections.user("bob").revoke();
    assert_eq!(connections.shared.voided.len(), 1);
}

/// Logins and log-outs, on several threads: whatever the order, no login is in that began before the last
/// log-out.
// covers: AU-10
#[test]
fn no_interleaving_of_logins_and_revocations_leaves_anybody_in() {
    const ROUNDS: usize = 300;
    const LOGINS: usize = 4;
    for _ in 0..ROUNDS {
        let connections = Connections::new();
        let start = Barrier::new(LOGINS + 1);
        let last = thread::scope(|scope| {
            let threads: Vec<_> = (0..LOGINS)
                .map(|_| {
                    scope.spawn(|| {
                        let session = Session::new("ada").session_id("s");
                        let began = Moment::now();
                        let peer = TestConnection::new();
                        start.wait();
                        peer.enter(&connections);
                        (began, peer.logged_in(session).is_ok(), peer)
                    })
                })
                .collect();
            start.wait();
            connections.session("s").revoke();
            connections.user("ada").revoke();
            threads.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        for (_, admitted, mut peer) in last {
            // Each began before the revocation: it was refused, or is closed.
            assert!(!admitted || closed(&mut peer) == Some(CloseReason::Revoked));
        }
    }
}

/// What is done with one of them may itself ask for another, of a user who is in the same share: no lock
/// is held meanwhile, and others come and go between two of very many.
#[tokio::test]
async fn ten_thousand_connections_of_one_user_are_closed_while_others_come_and_go() {
    let connections = Connections::new();
    let many: Vec<_> = (0..10_000).map(|_| user(&connections, "ada")).collect();
    let mut between = 0;
    connections.user("ada").for_each_while(|connection| {
        connection.close(Close::REVOKED);
        drop(user(&connections, "ada"));
        between += 1;
        true
    });
    assert!(between >= many.len());
    assert_eq!(connections.user("ada").revoke(), many.len());
    for mut peer in many {
        assert_eq!(closed(&mut peer), Some(CloseReason::Revoked));
    }
    assert!(connections.is_empty());
}

/// The registry has an entry for what is open. What it remembers of the others has a cap.
// covers: MS-21
#[tokio::test(start_paused = true)]
async fn a_million_users_leave_the_registry_at_its_cap() {
    let connections = Connections::new();
    let mut stays = user(&connections, "ada");
    for n in 0..1_000_000 {
        assert_eq!(connections.user(&n.to_string()).revoke(), 0);
    }
    assert_eq!(connections.shared.voided.len(), MAX_NOTES);
    for n in 0..20_000 {
        let peer = TestConnection::new();
        peer.enter(&connections);
        peer.logged_in(Session::new(n.to_string()).session_id(n.to_string())).unwrap();
    }
    let shared = &connections.shared;
    assert_eq!((connections.len(), shared.unknown.len(), shared.sessions.len()), (1, 0, 0));
    assert_eq!(shared.users.len(), 1);
    assert_eq!(closed(&mut stays), None);
}

#[tokio::test]
async fn a_session_may_hold_less_than_its_endpoint_lets_it() {
    let size = |it| NonZeroUsize::new(it).unwrap();
    let config = ConnectionConfig::new().max_outbound_message_size(size(1_000));
    let connections = Connections::new();
    let enter = || {
        let peer = TestConnection::with(&config, None);
        peer.enter(&connections);
        peer.logged_in(Session::new("ada")).unwrap();
        peer
    };
    let queued = |peer: &TestConnection| {
        let push = |_: &usize| peer.connection().push(Message::text("x".repeat(1_000))).is_ok();
        (0..900).take_while(push).count()
    };
    let limits = SessionLimits::new();
    for (bytes, expected) in [(10_640, 10), (1, 2), (usize::MAX, 900)] {
        let mut peer = enter();
        connections.user("ada").limit(&limits.clone().outbound(size(bytes)));
        assert_eq!(queued(&peer), expected, "{bytes}");
        let slow = (expected < 900).then_some(CloseReason::SlowConsumer);
        assert_eq!(closed(&mut peer), slow);
    }
    // Lifted.
    let mut peer = enter();
    connections.user("ada").limit(&limits.clone().outbound(size(1)));
    connections.user("ada").limit(&limits);
    assert_eq!((queued(&peer), closed(&mut peer)), (900, None));
}

/// The oldest ends by itself at the moment at which it is replaced.
#[test]
fn who_is_replaced_while_it_ends_is_not_kept() {
    let connections = Connections::new().max_per_user(NonZeroUsize::MIN, Overflow::CloseOldest);
    let rounds = 5_000;
    for _ in 0..rounds {
        let one = user(&connections, "ada");
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                let one = one;
                start.wait();
                drop(one);
            });
            start.wait();
            drop(user(&connections, "ada"));
        });
    }
    assert_eq!(connections.len(), 0);
    let ghosts = connections.shared.unknown.len();
    assert_eq!(ghosts, 0, "of {rounds}; paged: {}", connections.iter_page(None, 1_000_000).0.len());
}

/// Many at once are closed by code whose runtime is gone at once.
#[test]
fn who_is_closed_from_a_runtime_that_ends_is_woken_all_the_same() {
    let connections = Connections::new();
    let many: Vec<_> = (0..100).map(|_| user(&connections, "ada")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let wakes: Vec<_> = many.iter().map(|_| Arc::new(Wakes::default())).collect();
    for (it, wakes) in many.iter().zip(&wakes) {
        let waker = Waker::from(Arc::clone(wakes));
        let (mut taken, mut turns) = Default::default();
        let outlet = it.connection().outbound();
        let _ = outlet.begin(&Context::from_waker(&waker), true, &mut taken, &mut turns);
    }
    runtime.block_on(async { connections.user("ada").revoke() });
    drop(runtime);
    let woken = wakes.iter().filter(|it| it.0.load(Ordering::Relaxed) > 0).count();
    assert_eq!(woken, 100);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
