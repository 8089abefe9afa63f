use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use super::handshake;
use crate::{
    client_addr::ClientAddr,
    driver::ConnectionConfig,
    quota::{Failure, Quota, RateKeyValue},
    upgrade::{
        Admission, OriginPolicy,
        UpgradeRejectionKind::{self, *},
        gate::{ConnectionPermit, Gate, Login},
        request::UpgradeRequest,
    },
};

fn count(it: usize) -> NonZeroUsize {
    NonZeroUsize::new(it).unwrap()
}

/// The numbers in the docs of [`Admission`] that come of other defaults.
#[test]
fn the_reasons_of_the_defaults_are_what_the_defaults_come_to() {
    let (limits, each) = (Admission::new(), ConnectionConfig::new());
    let one = each.outbound_limits().bytes + 4 * each.max_message_size + 128 * 1024;
    let all = limits.max_connections.get() * one;
    assert_eq!(all.div_ceil(1024 * 1024 * 1024), 14, "GiB");
    let logins = limits.max_unauthenticated.get() as u64 / each.auth_timeout.as_secs();
    assert_eq!(logins, 200, "a second");
    let restart = limits.max_connections.get() / limits.handshakes.rate() as usize;
    assert_eq!(restart, 20, "seconds");
    assert_eq!(each.max_message_size * 8 / 10 / 1000, 52, "kbit/s for a message in its time");
    assert_eq!(each.message_timeout, Duration::from_secs(10));
    assert!(each.ping_interval + each.pong_timeout < Duration::from_secs(60), "proxies");
    assert_eq!(each.control_frames.interval(), Duration::from_millis(20));
}

fn gate(limits: Admission) -> Arc<Gate> {
    Arc::new(Gate::new(&limits))
}

fn admit(gate: &Arc<Gate>, peer: Option<&str>) -> Result<ConnectionPermit, UpgradeRejectionKind> {
    admit_as(Login::Due, gate, peer)
}

fn admit_as(
    login: Login,
    gate: &Arc<Gate>,
    peer: Option<&str>,
) -> Result<ConnectionPermit, UpgradeRejectionKind> {
    let request = UpgradeRequest::parse(&handshake()).unwrap().unwrap();
    let trusted = OriginPolicy::new().verify(request).unwrap();
    let peer = peer.map(|it| it.parse::<SocketAddr>().unwrap());
    let admitted = gate.admit(trusted, peer.map(ClientAddr::direct), login);
    admitted.map(|it| it.permit).map_err(|it| it.kind())
}

// covers: HS-21
#[tokio::test]
async fn a_full_endpoint_takes_nobody_until_somebody_leaves() {
    let gate = gate(Admission::new().max_connections(count(3)));
    let mut held: Vec<_> = (0..3).map(|_| admit(&gate, None).unwrap()).collect();
    held.iter_mut().for_each(ConnectionPermit::verdict);
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
    first.verdict();
    first.verdict();
    let third = admit(&gate, None).unwrap();
    assert_eq!(admit(&gate, None).unwrap_err(), TooManyUnauthenticated);
    // Its place is given back once, not twice.
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
        // A host chooses its address in an IPv6 network of 64 bits.
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
    assert_eq!(gate.networks(), 5, "peers without connections are forgotten");
    drop(held);
    assert!(gate.is_empty());
}

/// What the operator has set does not lapse in silence.
// covers: HS-21, HS-23
#[tokio::test]
async fn who_sets_a_limit_for_each_address_gets_no_connection_without_one() {
    let set = [
        Admission::new().max_connections_per_peer(count(2)),
        Admission::new().handshakes_per_peer(Quota::per_second(7)),
        Admission::new().failed_logins_per_peer(Quota::per_second(7)),
    ];
    for limits in set {
        let gate = gate(limits);
        assert_eq!(admit(&gate, None).unwrap_err(), PeerMissing);
        assert!(admit(&gate, Some("192.0.2.1:1")).is_ok());
    }
    assert_eq!(PeerMissing.status(), 500);
    // Addresses tell nothing: that was set, too.
    let all = Admission::new().max_connections_per_peer(count(10_000));
    assert!(admit(&gate(all), None).is_ok());
}

// covers: AU-11
#[tokio::test(start_paused = true)]
async fn a_user_who_is_known_already_is_not_shut_out_by_the_guesses_of_others() {
    let gate = gate(Admission::new().failed_logins_per_peer(Quota::per_minute(1).burst(1)));
    let office = "192.0.2.1:1";
    let permit = admit(&gate, Some(office)).unwrap();
    let guess = Failure::Tried(RateKeyValue::of("wrong"));
    let now = tokio::time::Instant::now();
    permit.failed_logins().unwrap().count("192.0.2.1".parse().unwrap(), guess, now);
    assert_eq!(admit(&gate, Some(office)).unwrap_err(), TooManyFailedLogins);
    assert_eq!(TooManyFailedLogins.status(), 429);
    assert!(admit_as(Login::Done, &gate, Some(office)).is_ok());
}

// covers: HS-21
#[tokio::test(start_paused = true)]
async fn handshakes_have_a_rate_and_a_burst() {
    let limits = Admission::new().handshakes(Quota::per_second(10).burst(3));
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
    let limits =
        Admission::new().max_connections(count(1)).handshakes(Quota::per_second(500).burst(2));
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
        Admission::new().max_connections(NonZeroUsize::MAX).handshakes(Quota::per_second(u32::MAX)),
    );
    for _ in 0..1_000 {
        drop(admit(&gate, None).unwrap());
    }
}

/// How many of `tries` handshakes of the addresses that `peer` makes are let in, and hang up at once.
fn brief(gate: &Arc<Gate>, tries: u32, peer: impl Fn(u32) -> String) -> usize {
    (0..tries).filter(|n| admit(gate, Some(&peer(*n))).is_ok()).count()
}

// covers: HS-30
#[tokio::test(start_paused = true)]
async fn one_address_that_opens_and_hangs_up_keeps_nobody_out() {
    let gate = gate(Admission::new());
    let mut let_in = (0, 0);
    for _ in 0..100 {
        // Five hundred tries a second, and one of somebody else's in a tenth of a second.
        let_in.0 += brief(&gate, 50, |n| format!("192.0.2.1:{n}"));
        let_in.1 += brief(&gate, 1, |_| "192.0.2.2:1".to_owned());
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(let_in.1, 100);
    // What it may have at once, and ten a second.
    assert!((340..=360).contains(&let_in.0), "{}", let_in.0);
    brief(&gate, 50, |n| format!("192.0.2.1:{n}"));
    assert_eq!(admit(&gate, Some("192.0.2.1:1")).unwrap_err(), TooFastFromPeer);
    assert_eq!(TooFastFromPeer.status(), 429);
}

// covers: HS-30
#[tokio::test(start_paused = true)]
async fn a_subscriber_of_ipv6_that_opens_and_hangs_up_keeps_nobody_out() {
    for spread in [0_u32, 8] {
        let gate = gate(Admission::new());
        let mut others = 0;
        for second in 0..10 {
            // Another /64 each time: of one /56, or of all of a /48.
            brief(&gate, 500, |n| {
                format!("[2001:db8:1:{:x}::1]:1", (second * 500 + n) << spread & 0xffff)
            });
            others += brief(&gate, 10, |n| format!("[2001:db8:2:{n:x}::1]:1"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // In the first second, the rest of a burst of 1,000 is what 4 x 256 leave.
        assert!(others >= 95, "{spread}: {others}");
    }
}

// covers: HS-30
#[tokio::test(start_paused = true)]
async fn a_refusal_for_the_share_of_an_address_does_not_spend_what_all_share() {
    let limits = Admission::new()
        .handshakes(Quota::per_second(1).burst(5))
        .handshakes_per_peer(Quota::per_minute(1).burst(2));
    let gate = gate(limits);
    assert_eq!(brief(&gate, 1_000, |n| format!("192.0.2.1:{n}")), 2);
    assert_eq!(brief(&gate, 1_000, |n| format!("192.0.2.{}:1", 2 + n % 250)), 3);
    assert_eq!(admit(&gate, Some("198.51.100.1:1")).unwrap_err(), TooFast);
}

// covers: HS-30
#[tokio::test]
async fn no_address_has_more_than_a_quarter_of_the_places_of_the_unauthenticated() {
    let gate = gate(Admission::new().max_unauthenticated(count(100)));
    let open = |peer: &dyn Fn(u32) -> String| -> Vec<_> {
        (0..100).map_while(|n| admit(&gate, Some(&peer(n))).ok()).collect()
    };
    let mut held = open(&|n| format!("192.0.2.1:{n}"));
    assert_eq!(held.len(), 25);
    let refused = admit(&gate, Some("192.0.2.1:1")).unwrap_err();
    assert_eq!((refused, refused.status().as_u16()), (TooManyUnauthenticatedFromPeer, 429));
    // The same for an IPv6 host, and half of all for whatever its owner has.
    assert_eq!(open(&|n| format!("[2001:db8:1:1::{n:x}]:1")).len(), 25);
    assert_eq!(open(&|n| format!("[2001:db8:1:{n:x}::1]:1")).len(), 50);
    // Who was let in makes room.
    held[0].verdict();
    assert!(admit(&gate, Some("192.0.2.1:1")).is_ok());
}

// covers: HS-30
#[tokio::test(start_paused = true)]
async fn ten_thousand_addresses_leave_nothing_behind() {
    let gate = gate(Admission::new().handshakes(Quota::per_second(u32::MAX)));
    let address = |n: u32| format!("[2001:db8:{:x}:{:x}::1]:1", n >> 8, n & 0xff);
    assert_eq!(brief(&gate, 10_000, address), 10_000);
    assert!(gate.is_empty());
}

/// What one limit allows, another must not make unreachable.
// covers: HS-30
#[tokio::test(start_paused = true)]
async fn everybody_behind_one_address_is_back_after_a_restart() {
    let gate = gate(Admission::new());
    let mut open = Vec::new();
    let mut waited = Duration::ZERO;
    while open.len() < 256 {
        match admit(&gate, Some("192.0.2.1:1")) {
            Ok(mut permit) => {
                permit.verdict();
                open.push(permit);
            }
            Err(TooFastFromPeer) => {
                waited += Duration::from_secs(1);
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(admit(&gate, Some("192.0.2.1:1")).unwrap_err(), TooManyFromPeer);
    assert!(waited <= Duration::from_secs(30), "{waited:?}");
}

/// The reasons in the table of [`Admission`], as numbers.
#[test]
fn the_defaults_are_what_their_reasons_say() {
    let limits = Admission::new();
    let each = limits.each_of_connections().unwrap().get();
    assert_eq!(each, 2 * 128);
    assert_eq!(limits.each_of_unauthenticated().unwrap().get(), 1_000 / 4);
    let quota = limits.each_of_handshakes().unwrap();
    assert_eq!(quota, Quota::per_second(10).burst(256));
    assert_eq!(limits.max_connections.get() / limits.handshakes.rate() as usize, 20);
    let logins = limits.max_unauthenticated.get() as u64 / AUTH_TIMEOUT.as_secs();
    assert_eq!(logins, 200);
    assert_eq!(ConnectionConfig::new().auth_timeout, AUTH_TIMEOUT);
}

#[tokio::test]
async fn shares_follow_what_there_is() {
    let shares = |limits: &Admission| {
        let each = limits.each_of_connections().map(NonZeroUsize::get);
        (each, limits.each_of_unauthenticated().map(NonZeroUsize::get))
    };
    let default = Admission::new;
    assert_eq!(shares(&default().max_connections(count(200))), (Some(50), Some(250)));
    // One page of a person with a few of them may be all there is.
    assert_eq!(shares(&default().max_connections(count(10))), (None, None));
    assert_eq!(shares(&default().max_unauthenticated(count(3))), (Some(256), Some(16)));
    // Addresses tell nothing: no share holds, unless it is set.
    let proxied = default().max_connections(count(300)).max_connections_per_peer(count(300));
    assert_eq!(shares(&proxied), (None, None));
    assert_eq!(proxied.each_of_handshakes(), None);
    let quota = Quota::per_second(7);
    assert_eq!(proxied.handshakes_per_peer(quota).each_of_handshakes(), Some(quota));
}

const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
