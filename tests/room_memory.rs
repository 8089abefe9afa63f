//! What rooms take in memory: while somebody is in them, and when most have gone.
//!
//! A binary of its own: the allocator counts the process.
#![cfg(test)]

use peak_alloc::PeakAlloc;
use test_support::turns::alone;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuditRecord, AuditSink, AuthFailure, Authenticate, Connection, ConnectionConfig, DecodeLayer,
    Message, OpenRooms, RequireAuthLayer, Rooms, RoomsLayer, Session,
    internal::{self, Authentication},
    service::{self, ClientMessage, ServerMessage},
    testing::wire,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

type User = String;

struct Anybody;

impl Authenticate for Anybody {
    type User = User;

    async fn authenticate(
        &self,
        name: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        Ok(Session::new(name.as_text().ok_or(AuthFailure::Rejected)?.to_owned()))
    }
}

struct Silent;

impl AuditSink for Silent {
    fn record(&self, _: &AuditRecord) {}
}

/// A peer of the room service, over a line that keeps nothing.
struct Peer(DuplexStream);

impl Peer {
    async fn connect(rooms: &Rooms<ServerMessage>, name: &str) -> Self {
        let (ours, theirs) = duplex(16 * 1024);
        let config = ConnectionConfig::new();
        let connection = internal::connection(&config, Silent);
        let stack = ServiceBuilder::new()
            .layer(RequireAuthLayer::new(Anybody))
            .layer(DecodeLayer::<ClientMessage>::json())
            .layer(RoomsLayer::new(rooms.clone(), OpenRooms))
            .service(service_fn(service::handle::<User, ()>));
        tokio::spawn(internal::serve(theirs, connection, config, Authentication::Required, stack));
        let mut peer = Self(ours);
        peer.send(name).await;
        peer
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(&wire::frame(0x81, text)).await.unwrap();
    }

    /// Joins or leaves, and waits for the answer.
    async fn ask(&mut self, what: &str, room: &str) {
        self.send(&format!(r#"{{"type":"{what}","roomId":"{room}"}}"#)).await;
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.unwrap();
        let mut answer = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut answer).await.unwrap();
        assert!(!String::from_utf8(answer).unwrap().contains("error"), "{what} {room}");
    }
}

/// One user, so that the rooms are measured, and not the table of what each user has published.
async fn crowd(rooms: &Rooms<ServerMessage>, size: usize) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(size);
    for _ in 0..size {
        peers.push(Peer::connect(rooms, "user").await);
    }
    peers
}

/// Waits until the server has noticed that those have hung up who have.
async fn settle(rooms: &Rooms<ServerMessage>, count: usize) {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rooms.len(), count);
}

// covers: RM-17
#[test]
fn a_room_that_was_full_costs_what_any_room_of_one_does() {
    alone(async {
        const ROOMS: usize = 20;
        let rooms = Rooms::new();
        let mut keeper = Peer::connect(&rooms, "keeper").await;
        let before = ALLOCATOR.current_usage();
        for n in 0..ROOMS {
            keeper.ask("join", &format!("plain-{n}")).await;
        }
        let plain = ALLOCATOR.current_usage() - before;

        let before = ALLOCATOR.current_usage();
        let mut others = crowd(&rooms, 1_000).await;
        for n in 0..ROOMS {
            let name = format!("was-full-{n}");
            for peer in &mut others {
                peer.ask("join", &name).await;
            }
            // The last to come, and so where the last place was.
            keeper.ask("join", &name).await;
            for peer in &mut others {
                peer.ask("leave", &name).await;
            }
        }
        drop(others);
        settle(&rooms, 2 * ROOMS).await;
        let emptied = ALLOCATOR.current_usage() - before;
        // A little for the tables of who is where, which are kept for the next.
        let spare = 32 * 1024;
        assert!(emptied <= plain + spare, "{emptied} bytes, and {plain} where nobody else was");
    });
}

// covers: RM-17
#[test]
fn a_connection_that_was_in_many_rooms_costs_what_one_in_a_single_room_does() {
    alone(async {
        let rooms = Rooms::new();
        let mut keepers = crowd(&rooms, 50).await;
        for keeper in &mut keepers {
            keeper.ask("join", "r0").await;
        }
        let before = ALLOCATOR.current_usage();
        for keeper in &mut keepers {
            for n in 1..100 {
                keeper.ask("join", &format!("r{n}")).await;
            }
            for n in 1..100 {
                keeper.ask("leave", &format!("r{n}")).await;
            }
        }
        settle(&rooms, 1).await;
        let more = ALLOCATOR.current_usage().saturating_sub(before) / keepers.len();
        assert!(more < 1_000, "{more} bytes more for each connection");
    });
}
