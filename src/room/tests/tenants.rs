//! A policy that puts users of several tenants into one room: whom the application removes.

use crate::room::{JoinDenied, JoinRequest, RoomKey, RoomName, RoomPolicy, Rooms};

use super::{Line, Peer, User, key, now};

/// One room for all who mean it, whatever their tenant.
struct Shared;

impl RoomPolicy<User> for Shared {
    type Role = ();

    fn key(&self, _: &User, name: &RoomName) -> RoomKey {
        RoomKey::new(name.clone())
    }

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        Ok(())
    }
}

// covers: RM-06
#[test]
fn a_user_of_one_tenant_is_removed_and_the_namesake_of_another_stays() {
    let rooms = Rooms::<Line>::new();
    let [mut acme, mut evil, mut none] = ["acme/alice", "evil/alice", "alice"].map(|user| {
        let mut peer = Peer::new(&rooms, Shared, user);
        peer.join("lobby").unwrap();
        peer
    });
    let lobby = rooms.at(&key("", "lobby"));
    for tenant in [Some(""), Some("nobody's"), Some("alice")] {
        assert_eq!(now(lobby.remove_in_tenant(tenant, "alice")), 0, "{tenant:?}");
    }
    assert_eq!(now(lobby.remove_in_tenant(Some("acme"), "bob")), 0);
    assert_eq!(now(lobby.remove_in_tenant(Some("evil"), "alice")), 1);
    let removed = Ok(vec!["removed lobby".to_owned()]);
    assert_eq!(evil.tell("lobby", "hello"), removed);
    assert_eq!(acme.tell("lobby", "hello"), Ok(vec![]));
    assert_eq!(now(lobby.remove_in_tenant(None, "alice")), 1);
    assert_eq!(none.tell("lobby", "hello"), removed);
    let left = now(lobby.members());
    assert_eq!((left.len(), left[0].tenant.as_deref()), (1, Some("acme")));

    // An id alone is that of a user of the room's tenant, which this one does not have.
    none.join("lobby").unwrap();
    assert_eq!(now(lobby.remove("alice")), 1);
    assert_eq!(none.tell("lobby", "hello"), removed);
    assert_eq!(acme.tell("lobby", "hello"), Ok(vec![]));
    assert_eq!(rooms.memberships(), 1);
}
