//! Rooms that hold values by key, over real sockets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use test_support::slow::{self, FrozenClock, Peer, Server, Tokens, nonzero};
use tokio::task::{JoinSet, yield_now};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    DecodeLayer, HandlerResult, Inbound, Member, OpenRooms, Reply, RequireAuthLayer, RoomKey,
    RoomName, RoomNotice, RoomScoped, Rooms, RoomsLayer, Scope, WebSocketEndpoint,
    room::{Keyed, RoomAdmin, RoomsConfig},
};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Ask {
    Join { room_id: RoomName },
    Set { room_id: RoomName, key: String },
}

impl RoomScoped for Ask {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join { room_id } => Scope::Join(room_id.into()),
            Self::Set { room_id, .. } => Scope::Within(room_id),
        }
    }
}

#[derive(Serialize)]
struct Answer {
    key: String,
    n: usize,
    pad: String,
}

impl From<RoomNotice> for Answer {
    fn from(notice: RoomNotice) -> Self {
        Self { key: notice.code().to_owned(), n: 0, pad: String::new() }
    }
}

impl Answer {
    fn of(key: impl ToString, n: usize) -> Self {
        Self { key: key.to_string(), n, pad: "x".repeat(100) }
    }
}

async fn handle(inbound: Inbound<Ask, Member<String, Answer>>) -> HandlerResult<Answer> {
    let (message, member, _) = inbound.into_parts();
    if let Ask::Set { key, .. } = message {
        member.room()?.set(&key, &Answer::of(&key, 1)).await?;
    }
    Ok(Reply::none())
}

/// A server with these keyed rooms, whose walkers write to sockets by themselves or leave that to the
/// drivers.
fn serve(keyed: Keyed, is_direct: bool) -> (Server, Rooms<Answer>) {
    let rooms = Rooms::with(RoomsConfig::new().keyed(keyed).unwrap());
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<Ask>::json())
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(handle));
    let endpoint = endpoint.connection(slow::quiet()).unwrap();
    let server = match is_direct {
        true => Server::start(endpoint),
        false => Server::start_on(endpoint, |socket| {
            let (read, write) = tokio::io::split(socket);
            tokio::io::join(read, write)
        }),
    };
    (server, rooms)
}

fn room(rooms: &Rooms<Answer>) -> RoomAdmin<Answer> {
    rooms.at(&RoomKey::new("r".parse().unwrap()))
}

/// What a peer has heard of each key: the last, and how many there were.
#[derive(Default)]
struct Heard {
    last: BTreeMap<String, u64>,
    count: usize,
}

impl Heard {
    async fn hear(&mut self, peer: &mut Peer) {
        let value: Value = serde_json::from_str(&peer.message().await).unwrap();
        let (key, n) = (value["key"].as_str().unwrap(), value["n"].as_u64().unwrap());
        let before = self.last.insert(key.to_owned(), n);
        assert!(before.is_none_or(|before| before < n), "{key}: {n} after {before:?}");
        self.count += 1;
    }

    /// Hears the peer until it has the last of all keys.
    async fn hear_all(peer: &mut Peer, keys: usize, last: usize) -> Self {
        let mut heard = Self::default();
        while heard.last.len() < keys || heard.last.values().any(|n| *n < last as u64) {
            heard.hear(peer).await;
        }
        heard
    }
}

async fn set_all(room: &RoomAdmin<Answer>, n: usize) {
    for key in 0..KEYS {
        room.set(&format!("k{key}"), &Answer::of(format!("k{key}"), n)).await.unwrap();
        if key % 20 == 0 {
            yield_now().await;
        }
    }
}

// holds: I7, I9
// covers: DL-03
#[tokio::test(start_paused = true)]
async fn a_slow_reader_hears_fewer_values_never_an_old_one_and_the_last() {
    let _frozen = FrozenClock::new();
    for is_direct in [true, false] {
        let (server, rooms) = serve(Keyed::new(), is_direct);
        let mut slow = server.member("slow", "r").await;
        let mut fast = server.member("fast", "r").await;
        let fast = tokio::spawn(async move { Heard::hear_all(&mut fast, KEYS, ROUNDS).await });
        for n in 1..=ROUNDS {
            set_all(&room(&rooms), n).await;
        }
        let fast = fast.await.unwrap();
        // What was on its way when the sockets were full, and after that what is left.
        let heard = Heard::hear_all(&mut slow, KEYS, ROUNDS).await;
        assert!(heard.count < ROUNDS * KEYS / 4, "{is_direct}: {}", heard.count);
        assert!(fast.count > heard.count, "{is_direct}: {} {}", fast.count, heard.count);
        assert!(slow.nothing_comes().await);
        slow.text(r#"{"type":"set","roomId":"r","key":"k0"}"#).await;
        assert!(slow.message().await.contains("k0"), "it lives");
    }
}

// holds: I9
#[tokio::test(start_paused = true)]
async fn who_joins_gets_the_whole_state_and_what_changes_and_nothing_twice() {
    let _frozen = FrozenClock::new();
    for is_direct in [true, false] {
        let (server, rooms) = serve(Keyed::new(), is_direct);
        set_all(&room(&rooms), 1).await;
        let mut joiners = JoinSet::new();
        for n in 2..=ROUNDS {
            let mut joiner = server.user(&format!("u{n}")).await;
            joiner.text(r#"{"type":"join","roomId":"r"}"#).await;
            joiners.spawn(async move {
                assert!(joiner.message().await.contains("joined"));
                let heard = Heard::hear_all(&mut joiner, KEYS, ROUNDS).await;
                (joiner, heard)
            });
            set_all(&room(&rooms), n).await;
        }
        while let Some(joined) = joiners.join_next().await {
            let (mut joiner, heard) = joined.unwrap();
            assert_eq!(heard.last.len(), KEYS);
            assert!(joiner.nothing_comes().await, "{is_direct}");
        }
    }
}

// covers: DL-21
#[tokio::test(start_paused = true)]
async fn who_sets_more_than_a_room_may_hold_is_told_and_nobody_else() {
    let (server, _rooms) = serve(Keyed::new().max_keys(nonzero(3)), true);
    let mut much = server.member("much", "r").await;
    let mut other = server.member("other", "r").await;
    for key in ["a", "b", "c", "a", "d"] {
        much.text(&format!(r#"{{"type":"set","roomId":"r","key":"{key}"}}"#)).await;
    }
    // It could go on by handling the error.
    let (heard, code) = much.until_close().await;
    assert!((3..=4).contains(&heard.len()), "{heard:?}");
    assert_eq!(code, Some(1013));
    for _ in 0..heard.len() {
        assert!(!other.message().await.contains(r#""d""#));
    }
    other.text(r#"{"type":"set","roomId":"r","key":"b"}"#).await;
    while !other.message().await.contains(r#""b""#) {}
}

// holds: I9
#[tokio::test(start_paused = true)]
async fn who_cannot_be_told_of_removals_any_more_forgets_all_and_gets_what_there_is() {
    let _frozen = FrozenClock::new();
    for is_direct in [true, false] {
        let (server, rooms) = serve(Keyed::new().max_keys(nonzero(1_000)), is_direct);
        let room = room(&rooms);
        let mut slow = server.member("slow", "r").await;
        let mut fast = server.member("fast", "r").await;
        let reader = tokio::spawn(async move {
            while !fast.message().await.contains("last") {}
            fast
        });
        for n in 1..=3 {
            set_all(&room, n).await;
        }
        for key in 0..KEYS {
            room.unset(&format!("k{key}"), &Answer::of("gone", 1)).await.unwrap();
            yield_now().await;
        }
        room.set("stays", &Answer::of("stays", 1)).await.unwrap();
        for key in 0..=KEYS {
            room.set(&format!("l{key}"), &Answer::of("comes", 1)).await.unwrap();
            room.unset(&format!("l{key}"), &Answer::of("goes", 1)).await.unwrap();
            yield_now().await;
        }
        room.set("last", &Answer::of("last", 1)).await.unwrap();
        let mut fast = reader.await.unwrap();
        let mut heard = Vec::new();
        while heard.last().is_none_or(|it: &String| !it.contains("last")) {
            heard.push(slow.message().await);
        }
        let gap = heard.iter().rposition(|it| it.contains(r#""gap""#)).expect("it is told");
        // What there was then, and what has changed since.
        let behind = &heard[gap + 1..];
        assert_eq!(behind.iter().filter(|it| it.contains("stays")).count(), 1, "{behind:?}");
        assert!(!behind.iter().any(|it| it.contains("gone")), "{behind:?}");
        assert!(slow.nothing_comes().await && fast.nothing_comes().await);
        room.set("last", &Answer::of("last", 2)).await.unwrap();
        for peer in [&mut slow, &mut fast] {
            assert!(peer.message().await.contains("last"));
        }
    }
}

/// A hundred and fifty kilobytes of values, which no socket here holds.
const KEYS: usize = 1_000;
const ROUNDS: usize = 12;
