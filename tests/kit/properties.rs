//! Properties: what a good stack has, and what is found in bad ones.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower::{ServiceBuilder, layer::util::Identity, service_fn};
use tower_websocket::{
    Anonymous, Close, Connection, DecodeLayer, Inbound, Message, OriginPolicy, Reply,
    RequireAuthLayer, RoomPolicy, Rooms, RoomsLayer, WebSocketEndpoint,
    room::{JoinDenied, JoinRequest},
    service::{self, ClientMessage},
    testing::{Properties, TestServer, handshake},
};

use super::{Tokens, User, join, leave, login, rooms, say};

// holds: I1
// covers: AU-01
#[tokio::test(start_paused = true)]
async fn nothing_of_the_room_service_runs_before_authentication() {
    let (endpoint, calls) = rooms();
    let server = TestServer::endpoint(endpoint);
    let messages = [join("r"), leave("r"), say("r", "hello"), json!({ "type": "ping" })];
    let properties = Properties::new(&server, "/").login(login);
    properties.nothing_before_auth(messages, || calls.load(Ordering::SeqCst)).await;
}

// holds: I2
// covers: RM-01
#[tokio::test(start_paused = true)]
async fn nothing_leaks_between_the_rooms_of_the_room_service() {
    let server = TestServer::endpoint(rooms().0);
    let properties = Properties::new(&server, "/").login(login);
    properties.no_leak_between_rooms(join, leave, say).await;
}

/// What a property says of `server`, which has a mistake.
async fn complaint(property: impl Future<Output = ()>) -> String {
    let complaint = AssertUnwindSafe(property).catch_unwind().await.unwrap_err();
    let constant = complaint.downcast_ref::<&str>().map(|it| (*it).to_owned());
    constant.unwrap_or_else(|| *complaint.downcast().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_answers_strangers_is_found() {
    let calls = AtomicUsize::new(0);
    let echo = |m: Inbound<Message, Anonymous>| async { Ok::<_, Close>(m.message.into()) };
    let echo = WebSocketEndpoint::new(Identity::new(), service_fn(echo)).allow_anonymous();
    let server = TestServer::endpoint(echo);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth(["x"], || calls.fetch_add(1, Ordering::SeqCst));
    assert!(complaint(found).await.contains("was not just closed"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_for_strangers_is_found_though_they_are_closed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |_: Inbound<Message, Anonymous>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<Reply<Message>, _>(Close::FORBIDDEN) }
    };
    let server = WebSocketEndpoint::new(Identity::new(), service_fn(handler));
    let server = TestServer::endpoint(server);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth(["x"], || calls.load(Ordering::SeqCst));
    assert!(complaint(found).await.contains("the handler ran for a stranger"));
}

#[tokio::test(start_paused = true)]
async fn a_property_that_would_show_nothing_says_so() {
    let server = TestServer::endpoint(rooms().0);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth([say("r", "hello")], || 0);
    assert!(complaint(found).await.contains("does not run after a login either"));
}

/// What is wrong with a room server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// Who leaves hears the room for good.
    Sticky,
    /// Who leaves hears the room a moment longer.
    Late,
    /// Rooms whose names begin alike are one.
    Prefix,
    /// Rooms whose names differ in case are one.
    Case,
    /// All other rooms get a copy, as binary.
    Binary,
    /// Each member hears things in an order of its own.
    Unordered,
    /// What is said later is heard earlier.
    Reversed,
}

/// Rooms of the application's own.
#[derive(Default)]
struct Own {
    members: Mutex<BTreeMap<String, Vec<Connection>>>,
    said: AtomicU64,
}

impl Own {
    fn members(&self, room: &str) -> Vec<Connection> {
        self.members.lock().unwrap().get(room).cloned().unwrap_or_default()
    }

    fn leave(&self, room: &str, who: &Connection) {
        let mut rooms = self.members.lock().unwrap();
        rooms.entry(room.to_owned()).or_default().retain(|it| it.id() != who.id());
    }

    fn say(&self, room: &str, message: &Message, mistake: Mistake) {
        let nth = self.said.fetch_add(1, Ordering::SeqCst);
        for member in self.members(room) {
            let message = message.clone();
            let delay = match mistake {
                Mistake::Unordered => fastrand::u64(..50),
                Mistake::Reversed => 500 - nth % 500,
                _ => 0,
            };
            after(delay, move || _ = member.push(message));
        }
        if mistake == Mistake::Binary {
            let rooms = self.members.lock().unwrap();
            for member in rooms.iter().filter(|(it, _)| *it != room).flat_map(|(_, it)| it) {
                let _ = member.push(Message::binary(message.as_bytes().to_vec()));
            }
        }
    }

    async fn handle(
        self: Arc<Self>,
        mistake: Mistake,
        inbound: Inbound<Message, Anonymous>,
    ) -> Result<Reply<Message>, Close> {
        let message: Value = serde_json::from_str(inbound.message.as_text().unwrap()).unwrap();
        let mut room = message["roomId"].as_str().unwrap_or_default().to_owned();
        match mistake {
            Mistake::Prefix => room.truncate("room-1".len()),
            Mistake::Case => room.make_ascii_lowercase(),
            _ => {}
        }
        let me = inbound.connection().clone();
        let known = self.members(&room).iter().any(|it| it.id() == me.id());
        match message["type"].as_str() {
            Some("join") if !known => {
                self.members.lock().unwrap().entry(room).or_default().push(me)
            }
            Some("chat") if known => self.say(&room, &inbound.message, mistake),
            Some("leave") if mistake == Mistake::Sticky => {}
            Some("leave") => {
                let late = if mistake == Mistake::Late { 50 } else { 0 };
                after(late, move || self.leave(&room, &me));
            }
            _ => return Ok(Reply::none()),
        }
        Ok(Reply::one(Message::text("done")))
    }
}

/// Does something now, or in so many milliseconds.
fn after(millis: u64, act: impl FnOnce() + Send + 'static) {
    if millis == 0 {
        return act();
    }
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        act();
    });
}

#[tokio::test(start_paused = true)]
async fn each_way_to_mix_up_rooms_is_found() {
    // The disorder of one of them, the same each time.
    fastrand::seed(0);
    for (mistake, found) in [
        (Mistake::Sticky, "not in room-1"),
        (Mistake::Late, "not in"),
        (Mistake::Prefix, "not in"),
        (Mistake::Case, "not in"),
        (Mistake::Binary, "heard"),
        (Mistake::Unordered, "order"),
        (Mistake::Reversed, "said it in another order"),
    ] {
        let own = Arc::new(Own::default());
        let handler = service_fn(move |inbound| Arc::clone(&own).handle(mistake, inbound));
        let server = WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous();
        let server = TestServer::endpoint(server);
        let properties = Properties::new(&server, "/");
        let complaint = complaint(properties.no_leak_between_rooms(join, leave, say)).await;
        assert!(complaint.contains(found), "{mistake:?}: {complaint}");
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_of_ones_own_that_answer_everything_are_all_right() {
    let own = Arc::new(Own::default());
    let handler = service_fn(move |inbound| Arc::clone(&own).handle(Mistake::None, inbound));
    let server = WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous();
    let server = TestServer::endpoint(server);
    let properties = Properties::new(&server, "/").cases(16).seed(u64::MAX);
    properties.no_leak_between_rooms(join, leave, say).await;
}

/// Lets everybody in who knocks, after a while.
struct Slow;

impl RoomPolicy<User> for Slow {
    type Role = ();

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_policy_and_a_page_of_another_site_are_no_mistake() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), Slow));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(service::handle));
    let server = TestServer::endpoint(endpoint.origin(OriginPolicy::new().require_origin()));
    let request = |_| handshake("/").header("origin", "http://localhost").body(()).unwrap();
    let properties = Properties::new(&server, "/").request(request).login(login).cases(8);
    properties.no_leak_between_rooms(join, leave, say).await;
}
