//! Who publishes waits while members that keep reading are behind, and no longer than that.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};

use crate::{
    close::CloseReason,
    layers::{Failure, Reply},
    message::Message,
    outbound::{ENTRY_OVERHEAD, OutboundLimits, drained},
    room::{OpenRooms, Rooms, outcome::PublishError},
};

use super::{Line, Peer, Say, connect_within, key, lines, now, room};

const BOUND: usize = 1_000_000;

/// What is a tenth of the bound, with its price and JSON's quotes.
fn tenth() -> String {
    "x".repeat(BOUND / 10 - ENTRY_OVERHEAD - 2)
}

/// A member whose queue nobody writes out, unless the test does.
fn reader(rooms: &Rooms<Line>, user: &str) -> Peer {
    let mut peer = Peer::new(rooms, OpenRooms, user);
    peer.connection = connect_within(OutboundLimits::of(BOUND, 1_000), peer.events.clone());
    peer.join("r1").unwrap();
    peer.heard();
    take(&peer, usize::MAX);
    peer
}

/// Takes so many bytes of what waits, as the driver of a socket that has room for so many.
fn take(peer: &Peer, bytes: usize) {
    drained::drain(peer.connection.outbound(), bytes);
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<String>, CloseReason>>>>;

/// A peer that is in `r1` and holds everything.
fn speaker(rooms: &Rooms<Line>, user: &str) -> Peer {
    let mut peer = Peer::new(rooms, OpenRooms, user);
    peer.join("r1").unwrap();
    peer
}

fn start(peer: &mut Peer, name: &str, text: String) -> Answer {
    let answer = peer.start(Say::Tell(room(name), text));
    Box::pin(async { lines(answer.await) })
}

fn poll(answer: &mut Answer) -> Poll<Result<Vec<String>, CloseReason>> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets others run as long as the answer has nothing else to wait for.
async fn settled(answer: &mut Answer) -> Poll<Result<Vec<String>, CloseReason>> {
    for _ in 0..3 {
        if let Poll::Ready(answer) = poll(answer) {
            return Poll::Ready(answer);
        }
        tokio::task::yield_now().await;
    }
    Poll::Pending
}

async fn says(peer: &mut Peer, name: &str, text: String) -> bool {
    settled(&mut start(peer, name, text)).await.is_ready()
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn more_than_half_of_what_a_reading_member_may_hold_makes_the_publisher_wait() {
    let rooms = Rooms::new();
    let (mut speaker, member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for n in 1..=6 {
        assert!(says(&mut speaker, "r1", tenth()).await, "{n}");
    }
    let mut seventh = start(&mut speaker, "r1", tenth());
    assert!(settled(&mut seventh).await.is_pending());
    // At 1 MB/s the last one has its time, whether the member reads as fast or not.
    advance(Duration::from_millis(99)).await;
    assert!(settled(&mut seventh).await.is_pending());
    advance(Duration::from_millis(2)).await;
    assert!(settled(&mut seventh).await.is_ready());
    assert_eq!(member.heard().len(), 7);
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn a_member_that_has_caught_up_is_waited_for_no_longer() {
    let rooms = Rooms::new();
    let (mut speaker, member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for _ in 0..6 {
        assert!(says(&mut speaker, "r1", tenth()).await);
    }
    let mut seventh = start(&mut speaker, "r1", tenth());
    assert!(settled(&mut seventh).await.is_pending());
    take(&member, 200_000);
    advance(Duration::from_millis(25)).await;
    assert!(settled(&mut seventh).await.is_ready());
    assert!(says(&mut speaker, "r1", "and on".into()).await);
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn a_member_that_takes_nothing_is_waited_for_a_second_and_then_overflows() {
    let rooms = Rooms::new();
    let (mut speaker, member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for _ in 0..6 {
        assert!(says(&mut speaker, "r1", tenth()).await);
    }
    // Its driver has tried once.
    take(&member, 0);
    assert!(!says(&mut speaker, "r1", tenth()).await);
    advance(Duration::from_secs(1)).await;
    let began = Instant::now();
    for _ in 0..10 {
        assert!(says(&mut speaker, "r1", tenth()).await);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(member.connection.push(Message::text("?")).is_err(), "it is over its bound");
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn who_comes_first_publishes_first_and_who_gives_up_holds_up_nobody() {
    let rooms = Rooms::new();
    let member = reader(&rooms, "member");
    let mut peers: Vec<_> = (0..5).map(|n| speaker(&rooms, &format!("u{n}"))).collect();
    for _ in 0..6 {
        assert!(says(&mut peers[0], "r1", tenth()).await);
    }
    let mut waiting: Vec<_> =
        peers.iter_mut().enumerate().map(|(n, peer)| start(peer, "r1", n.to_string())).collect();
    for answer in &mut waiting {
        assert!(settled(answer).await.is_pending());
    }
    // The first in line, and one in the middle.
    drop(waiting.remove(2));
    drop(waiting.remove(0));
    for _ in 0..20 {
        advance(Duration::from_millis(20)).await;
        for answer in &mut waiting {
            // A future is not polled again that is ready.
            if let Poll::Ready(answer_) = settled(answer).await {
                assert_eq!(answer_, Ok(vec![]));
                *answer = Box::pin(std::future::pending());
            }
        }
    }
    assert_eq!(member.heard()[6..], ["1", "3", "4"]);
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_five_seconds_and_the_connection_goes_on() {
    let rooms = Rooms::new();
    let mut speakers = [speaker(&rooms, "one"), speaker(&rooms, "two")];
    let mut slow = Peer::new(&rooms, OpenRooms, "slow");
    slow.connection = connect_within(OutboundLimits::of(20_000_000, 1_000), slow.events.clone());
    slow.join("r1").unwrap();
    // Six seconds' worth and more than half of what the member may hold.
    assert!(says(&mut speakers[0], "r1", "x".repeat(11_000_000)).await);
    let lobby = rooms.at(&key("", "r1"));
    let mut said = start(&mut speakers[1], "r1", "y".into());
    let line = Line("z".into());
    let mut announced = Box::pin(lobby.broadcast(&line));
    let began = Instant::now();
    let outcome = tokio::join!(&mut said, &mut announced);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(outcome.0, Err(CloseReason::Overloaded), "what the handler's `?` makes of it");
    assert_eq!(outcome.1, Err(PublishError::Overloaded));
    assert!(speakers[1].events.take().contains(&"refused room.busy".to_owned()));
    assert_eq!(speakers[1].heard().len(), 2, "that it joined, and the first");
    let _: Failure<Line> = PublishError::Overloaded.into();
    let _: Reply<Line> = Reply::none();
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn a_user_that_says_much_in_many_rooms_waits_as_one_that_does_in_one() {
    let rooms = Rooms::new();
    let mut member = reader(&rooms, "member");
    let mut connections = [speaker(&rooms, "eve"), speaker(&rooms, "eve")];
    let mut other = speaker(&rooms, "ada");
    for n in 0..20 {
        let name = format!("room-{n}");
        for peer in connections.iter_mut().chain([&mut member, &mut other]) {
            peer.join(&name).unwrap();
        }
    }
    take(&member, usize::MAX);
    let mut heard = 0;
    for n in 0..20 {
        let said = says(&mut connections[n % 2], &format!("room-{n}"), tenth()).await;
        heard += usize::from(said);
    }
    assert_eq!(heard, 6, "then the member was behind, in whichever room");
    // In a room where nobody is behind she need not wait, and others are not held up by her.
    connections[0].join("elsewhere").unwrap();
    assert!(says(&mut connections[0], "elsewhere", tenth()).await);
    assert!(says(&mut other, "room-19", "hello".into()).await);
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_does_not_publish() {
    let rooms = Rooms::new();
    let (mut speaker, member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for _ in 0..6 {
        assert!(says(&mut speaker, "r1", tenth()).await);
    }
    let mut seventh = start(&mut speaker, "r1", "seventh".into());
    assert!(settled(&mut seventh).await.is_pending());
    now(rooms.at(&key("", "r1")).remove("speaker"));
    advance(Duration::from_secs(1)).await;
    assert_eq!(settled(&mut seventh).await, Poll::Ready(Err(CloseReason::NotAMember)));
    assert_eq!(member.heard().len(), 6);
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn what_fast_members_took_at_once_is_no_debt_when_a_slow_one_comes() {
    let rooms = Rooms::new();
    let (mut speaker, member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for n in 0..20 {
        // Each leaves the member behind by more than half, and the next one finds it up to date.
        let most = "x".repeat(BOUND * 6 / 10);
        assert!(says(&mut speaker, "r1", most).await, "{n}");
        take(&member, usize::MAX);
    }
    assert!(says(&mut speaker, "r1", "x".repeat(BOUND * 6 / 10)).await);
    let mut next = start(&mut speaker, "r1", "next".into());
    for _ in 0..60 {
        assert!(settled(&mut next).await.is_pending());
        advance(Duration::from_millis(10)).await;
        // It reads, and as good as nothing.
        take(&member, 1);
    }
    advance(Duration::from_millis(2)).await;
    assert_eq!(settled(&mut next).await, Poll::Ready(Ok(vec![])));
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn the_application_publishes_in_the_room_that_is_there_when_it_need_not_wait_any_more() {
    let rooms = Rooms::new();
    let (mut speaker, mut member) = (speaker(&rooms, "speaker"), reader(&rooms, "member"));
    for _ in 0..6 {
        assert!(says(&mut speaker, "r1", tenth()).await);
    }
    let (lobby, line) = (rooms.at(&key("", "r1")), Line("closing time".into()));
    let mut announced = Box::pin(lobby.broadcast(&line));
    assert!(announced.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    member.leave("r1").unwrap();
    speaker.leave("r1").unwrap();
    speaker.join("r1").unwrap();
    assert_eq!(announced.await.unwrap().members, 1);
}
