//! What the tables hold that peers can fill: buckets of rate limits, and rooms.
#![cfg(test)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use peak_alloc::PeakAlloc;
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;
use tower_websocket::{
    Anonymous, Close, ConnectionConfig, Inbound, Member, Message, OpenRooms, Quota, RateLimitLayer,
    Reply, RoomName, RoomNotice, RoomScoped, Rooms, RoomsLayer, Scope, testing::TestConnection,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The allocator counts the process, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

const MB: usize = 1_000_000;

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `fill` leaves behind.
fn held<T>(fill: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATOR.current_usage();
    let filled = fill();
    (ALLOCATOR.current_usage().saturating_sub(before), filled)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_buckets_of_a_rate_limit_are_below_16_mb() {
    let _turn = turn();
    let config = ConnectionConfig::new();
    let layer = RateLimitLayer::per_address(Quota::per_minute(1).burst(2));
    let (bytes, ()) = held(|| {
        for n in 0..100_000 {
            let peer = SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 1);
            let test = TestConnection::with(&config, Some(peer));
            let handler = service_fn(async |_: Inbound<Message, Anonymous>| {
                Ok::<_, Close>(Reply::<Message>::none())
            });
            let mut service = layer.layer(handler);
            let call = service.call(test.inbound(Message::text(""), test.anonymous()));
            assert!(call.now_or_never().is_some_and(|it| it.is_ok()));
        }
    });
    assert!((MB..16 * MB).contains(&bytes), "{bytes}");
}

type User = String;

struct Join(RoomName);

#[derive(serde::Serialize)]
struct Told(&'static str);

impl From<RoomNotice> for Told {
    fn from(notice: RoomNotice) -> Self {
        Self(if matches!(notice, RoomNotice::Joined(_)) { "joined" } else { "refused" })
    }
}

impl RoomScoped for Join {
    fn scope(&self) -> Scope<'_> {
        Scope::Join((&self.0).into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_rooms_of_one_member_are_below_150_mb() {
    let _turn = turn();
    let rooms: Rooms<Told> = Rooms::new();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms);
    let mut members: Vec<_> = (0..1_000)
        .map(|n| {
            let test = TestConnection::new();
            let user = test.authenticated(format!("user {n}"));
            let handler = service_fn(async |_: Inbound<Join, Member<User, Told>>| {
                Ok::<_, Close>(Reply::none())
            });
            (test, user, layer.layer(handler))
        })
        .collect();
    let (bytes, ()) = held(|| {
        for (n, (test, user, service)) in members.iter_mut().enumerate() {
            for room in 0..100 {
                let join = Join(format!("room-{n}-{room}").parse().unwrap());
                let call = service.call(test.inbound(join, user.clone()));
                assert!(call.now_or_never().is_some_and(|it| it.is_ok()));
                assert_eq!(test.pushed(), Some(Message::text("\"joined\"")));
            }
        }
    });
    assert_eq!((rooms.len(), rooms.memberships()), (100_000, 100_000));
    assert!((MB..150 * MB).contains(&bytes), "{bytes}");
    let empty = ALLOCATOR.current_usage();
    drop(members);
    assert!(rooms.is_empty());
    let back = empty.saturating_sub(ALLOCATOR.current_usage());
    assert!(back >= bytes - bytes / 50, "{back} of {bytes} came back");
}
