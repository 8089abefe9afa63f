use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use super::handshake;
use crate::upgrade::{
    Admission, OriginPolicy,
    UpgradeRejectionKind::{self, *},
    admission::{ConnectionPermit, Gate},
    request::UpgradeRequest,
};

fn count(it: usize) -> NonZeroUsize {
    NonZeroUsize::new(it).unwrap()
}

fn per_second(it: u32) -> NonZeroU32 {
    NonZeroU32::new(it).unwrap()
}

fn gate(limits: Admission) -> Arc<Gate> {
    Arc::new(Gate::new(limits))
}

fn admit(gate: &Arc<Gate>, peer: Option<&str>) -> Result<ConnectionPermit, UpgradeRejectionKind> {
    let request = UpgradeRequest::parse(&handshake()).unwrap().unwrap();
    let trusted = OriginPolicy::new().verify(request).unwrap();
    let peer = peer.map(|it| it.parse::<SocketAddr>().unwrap());
    gate.admit(trusted, peer).map(|it| it.permit)
}

// covers: HS-21
#[tokio::test]
async fn a_full_endpoint_takes_nobody_until_somebody_leaves() {
    let gate = gate(Admission::new().max_connections(count(3)));
    let mut held: Vec<_> = (0..3).map(|_| admit(&gate, None).unwrap()).collect();
    held.iter_mut().for_each(ConnectionPermit::authenticated);
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyConnections);
    assert_eq!(TooManyConnections.status(), 503);
    held.pop();
    let last = admit(&gate, None).unwrap();
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyConnections);
    drop((held, last));
    assert!(gate.is_empty());
}

// covers: HS-21
#[tokio::test]
async fn those_without_credentials_take_up_only_their_share() {
    let gate = gate(Admission::new().max_connections(count(4)).max_unauthenticated(count(2)));
    let mut first = admit(&gate, None).unwrap();
    let second = admit(&gate, None).unwrap();
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyUnauthenticated);
    assert_eq!(TooManyUnauthenticated.status(), 503);
    first.authenticated();
    first.authenticated();
    let third = admit(&gate, None).unwrap();
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyUnauthenticated);
    // The place of one that was authenticated is given back once, not twice.
    drop(first);
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyUnauthenticated);
    drop((second, third));
    assert!(gate.is_empty());
}

// covers: HS-21
#[tokio::test]
async fn one_address_has_its_share_and_leaves_the_rest_to_others() {
    let gate = gate(Admission::new().max_connections_per_peer(count(2)));
    let same_peer = [
        ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"],
        // An IPv6 network of 64 bits is one subscriber.
        ["[2001:db8:1:2::1]:1", "[2001:db8:1:2::2]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:1"],
        // IPv4 on an IPv6 socket is the same address.
        ["[::ffff:198.51.100.1]:1", "198.51.100.1:2", "[::ffff:198.51.100.1]:3"],
    ];
    let mut held = Vec::new();
    for [first, second, third] in same_peer {
        held.push(admit(&gate, Some(first)).unwrap());
        held.push(admit(&gate, Some(second)).unwrap());
        assert_eq!(admit(&gate, Some(third)).unwrap_err(), TooManyFromPeer, "{third}");
    }
    assert_eq!(TooManyFromPeer.status(), 429);
    for other in ["192.0.2.2:1", "[2001:db8:1:3::1]:1", "[::ffff:198.51.100.2]:1"] {
        drop(admit(&gate, Some(other)).unwrap());
    }
    drop(admit(&gate, None).unwrap());
    assert_eq!(gate.peers(), 3, "peers without connections are forgotten");
    drop(held);
    assert!(gate.is_empty());
    assert_eq!(gate.peers(), 0);
}

// covers: HS-21
#[tokio::test(start_paused = true)]
async fn handshakes_have_a_rate_and_a_burst() {
    let limits =
        Admission::new().handshakes_per_second(per_second(10)).handshake_burst(per_second(3));
    let gate = gate(limits);
    for _ in 0..3 {
        drop(admit(&gate, Some("192.0.2.1:1")).unwrap());
    }
    assert_eq!(admit(&gate, Some("192.0.2.1:1")).unwrap_err(), TooFast);
    assert_eq!(TooFast.status(), 429);
    assert!(gate.is_empty(), "a refusal keeps no room");
    tokio::time::advance(Duration::from_millis(101)).await;
    drop(admit(&gate, None).unwrap());
    assert_eq!(admit(&gate, None).unwrap_err(), TooFast);
    tokio::time::advance(Duration::from_secs(60)).await;
    for _ in 0..3 {
        drop(admit(&gate, None).unwrap());
    }
    assert_eq!(admit(&gate, None).unwrap_err(), TooFast);
}

#[tokio::test(start_paused = true)]
async fn those_refused_for_want_of_room_do_not_use_up_the_rate() {
    let limits = Admission::new().max_connections(count(1)).handshake_burst(per_second(2));
    let gate = gate(limits);
    let held = admit(&gate, None).unwrap();
    for _ in 0..100 {
        assert_eq!(admit(&gate, None).unwrap_err(), TooManyConnections);
    }
    drop(held);
    drop(admit(&gate, None).unwrap());
    assert_eq!(admit(&gate, None).unwrap_err(), TooFast);
}

// covers: HS-21
#[tokio::test]
async fn a_task_that_panics_gives_its_room_back() {
    let gate = gate(Admission::new());
    let permit = admit(&gate, Some("192.0.2.1:1")).unwrap();
    let task = tokio::spawn(async move {
        let _held = permit;
        panic!("as a test");
    });
    task.await.unwrap_err();
    assert!(gate.is_empty());
}

#[tokio::test]
async fn the_largest_settings_are_settings() {
    let gate = gate(
        Admission::new()
            .max_connections(NonZeroUsize::MAX)
            .handshakes_per_second(NonZeroU32::MAX)
            .handshake_burst(NonZeroU32::MAX),
    );
    for _ in 0..1_000 {
        drop(admit(&gate, None).unwrap());
    }
}
