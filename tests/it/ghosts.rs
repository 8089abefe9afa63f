//! Whoever is gone is in no room any more, in whatever state it went.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_websocket::{AuditEvent, AuditRecord, Close, ConnectionConfig};

use super::{
    support::{TestServer, auth, join, quiet, say},
    support_client::TestClient,
};

/// The longest that a peer which is gone may be taken for a member: a ping, and a pong in vain.
const T_GHOST: Duration = Duration::from_secs(40);

async fn server() -> TestServer {
    TestServer::rooms(ConnectionConfig::new()).await
}

/// How often the connection of `record` joined and left.
fn joined_and_left(server: &TestServer, record: &AuditRecord) -> (usize, usize) {
    let joined = server.count_of(record, |it| matches!(it, AuditEvent::Joined(_)));
    let left = server.count_of(record, |it| matches!(it, AuditEvent::Left(_)));
    let at_the_end =
        server.audit.records().into_iter().filter(|it| it.connection == record.connection);
    let at_the_end = at_the_end.filter_map(|it| match it.event {
        AuditEvent::LeftAll(left) => Some(left.count),
        _ => None,
    });
    (joined, left + at_the_end.sum::<usize>())
}

/// Hangs up without a word, and with what was sent to it still unread.
async fn vanish(client: TestClient) {
    drop(client);
    // For the server to hear of it; a connection that is at rest ends at once.
    sleep(Duration::from_millis(1)).await;
}

// covers: RM-12
#[tokio::test(start_paused = true)]
async fn before_authentication_there_is_nothing_to_leave() {
    let server = server().await;
    vanish(server.connect().await).await;
    assert_eq!(joined_and_left(&server, &server.ended(0).await.0), (0, 0));

    let mut client = server.connect().await;
    client.send([auth("good:ada:1000"), join("r1")].concat()).await;
    vanish(client).await;
    let (record, _) = server.ended(1).await;
    assert!(server.probe.rooms.is_empty());
    let (joined, left) = joined_and_left(&server, &record);
    assert_eq!(joined, left);
}

// covers: RM-12
// holds: I8
#[tokio::test(start_paused = true)]
async fn a_join_under_way_is_undone() {
    let server = server().await;
    let mut client = server.login("ada").await;
    let start = Instant::now();
    client.send([join("r1"), join("slow"), join("r2")].concat()).await;
    client.assert_reply("joined").await;
    vanish(client).await;
    let (record, _) = server.ended(0).await;
    assert!(start.elapsed() <= T_GHOST);
    assert!(server.probe.rooms.is_empty());
    let (joined, left) = joined_and_left(&server, &record);
    assert_eq!(joined, left);
    assert!((1..=3).contains(&left), "{left}");
}

// covers: RM-12
#[tokio::test(start_paused = true)]
async fn a_member_that_vanishes_in_the_middle_of_a_broadcast_has_left_once() {
    let server = server().await;
    let ghost = server.member("ada", "r1").await;
    let mut witness = server.member("bob", "r1").await;
    witness.send(say("r1", "hello").repeat(100)).await;
    for _ in 0..50 {
        witness.assert_reply("chat").await;
    }
    vanish(ghost).await;
    for _ in 0..50 {
        witness.assert_reply("chat").await;
    }
    let (record, closed) = server.ended(0).await;
    assert_eq!(closed.duration.as_secs(), 0, "{closed:?}");
    assert_eq!(joined_and_left(&server, &record), (1, 1));
    let members = server.probe.members("r1").await;
    assert_eq!(members.len(), 1);
    assert_eq!(&*members[0].user, "bob");
}

// covers: RM-12
#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_has_left_in_time() {
    let server = server().await;
    let start = Instant::now();
    let ghost = server.member("ada", "r1").await;
    let (record, closed) = server.ended(0).await;
    // The room is left when the peer is given up, not when its socket is gone.
    let left = closed.duration - Duration::from_secs(5);
    assert!(left <= T_GHOST, "{left:?}");
    assert!(start.elapsed() >= left);
    assert_eq!(joined_and_left(&server, &record), (1, 1));
    assert!(server.probe.rooms.is_empty());
    drop(ghost);
}

// covers: RM-12
#[tokio::test(start_paused = true)]
async fn a_member_that_vanishes_while_it_is_being_closed_has_left_once() {
    let server = TestServer::rooms(quiet()).await;
    for (nth, close) in [Close::FORBIDDEN, Close::GOING_AWAY].into_iter().enumerate() {
        // At rest, and while its message is being handled.
        for (busy, nth) in [(false, 2 * nth), (true, 2 * nth + 1)] {
            let mut client = server.member("ada", "r1").await;
            if busy {
                client.send(say("r1", "sleep 3")).await;
                client.assert_silent().await;
            }
            server.probe.connection(nth).close(close.clone());
            let start = Instant::now();
            vanish(client).await;
            let (record, closed) = server.ended(nth).await;
            assert!(start.elapsed() <= T_GHOST);
            assert_eq!(joined_and_left(&server, &record), (1, 1), "{close:?}, busy: {busy}");
            assert_eq!(closed.rule, close.reason().rule());
            assert!(server.probe.rooms.is_empty());
        }
    }
}
