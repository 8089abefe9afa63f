//! A service with rooms: who says what it is told, a policy that decides when it is told to, and a
//! handler that passes on.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    connection::Connection,
    driver::{Authentication, ConnectionConfig},
    layers::{
        AuthFailure, Authenticate, DecodeLayer, Failure, Inbound, Reply, RequireAuthLayer, Session,
    },
    message::Message,
    principal::Principal,
    room::{
        JoinDenied, JoinRequest, Member, RoomName, RoomNotice, RoomPolicy, RoomScoped, Rooms,
        RoomsConfig, RoomsLayer, Scope, SlowMember,
    },
    testing::{Records, driven::served::Served, wire::frame},
};

use super::operation::{ASK, LIVE, NO, PEERS, ROOMS, Verdict};

/// What peers say.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Say {
    Join { room: RoomName },
    Leave { room: RoomName },
    Chat { room: RoomName, text: String },
}

/// What peers hear.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line(pub(super) String);

/// One of [`PEERS`].
pub(super) struct User(usize);

/// The rooms, and everything that connections share.
pub(super) struct Chat {
    pub(super) rooms: Rooms<Line>,
    layer: RoomsLayer<User, Doors, Line>,
    doors: Doors,
}

/// Lets everybody in, but for two rooms.
#[derive(Clone, Default)]
struct Doors(Arc<Mutex<[Option<oneshot::Sender<Verdict>>; PEERS.len()]>>);

impl Chat {
    pub(super) fn new() -> Self {
        let config = RoomsConfig::new().audit(Records::new()).slow_members_of(|room| {
            if room.name().as_str() == ROOMS[LIVE] { SlowMember::Skip } else { SlowMember::Close }
        });
        let rooms = Rooms::with(config);
        let doors = Doors::default();
        let layer = RoomsLayer::new(rooms.clone(), doors.clone());
        Self { rooms, layer, doors }
    }

    /// A connection that the peer has logged in on.
    pub(super) async fn connect(&self, at: usize, config: ConnectionConfig) -> Served {
        let rooms = self.layer.layer(PassOn);
        let decode = DecodeLayer::<Say>::json().layer(rooms);
        let mut served = Served::with(
            config,
            Authentication::Required,
            RequireAuthLayer::new(Names).layer(decode),
        );
        served.peer.send(frame(0x81, at.to_string()));
        served.settle().await;
        served
    }

    /// Whether the policy is being asked about a join of the peer's.
    pub(super) fn is_asking(&self, at: usize) -> bool {
        self.doors.0.lock().unwrap()[at].as_ref().is_some_and(|it| !it.is_closed())
    }

    pub(super) fn decide(&self, at: usize, verdict: Verdict) {
        let asked = self.doors.0.lock().unwrap()[at].take();
        asked.map(|it| it.send(verdict));
    }
}

/// Whoever says which peer it is, is believed.
struct Names;

impl Authenticate for Names {
    type User = User;

    async fn authenticate(
        &self,
        credentials: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let at = credentials.as_text().and_then(|it| it.parse().ok());
        let user = User(at.ok_or(AuthFailure::Required)?);
        let welcome = Message::text(format!("\"welcome {}\"", user.id()));
        Ok(Session::new(user).reply(welcome))
    }
}

impl Principal for User {
    fn id(&self) -> &str {
        PEERS[self.0].1
    }

    fn tenant(&self) -> Option<&str> {
        Some(PEERS[self.0].0)
    }
}

impl RoomPolicy<User> for Doors {
    type Role = ();

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        let room = request.key();
        if room.name().as_str() == ROOMS[NO] {
            return Err(JoinDenied::new());
        }
        if room.name().as_str() != ROOMS[ASK] {
            return Ok(());
        }
        let (asked, verdict) = oneshot::channel();
        self.0.lock().unwrap()[request.user().0] = Some(asked);
        match verdict.await {
            Ok(Verdict::Yes) => Ok(()),
            Ok(Verdict::Panics) => panic!("as planned"),
            Ok(Verdict::No) | Err(_) => Err(JoinDenied::new()),
        }
    }
}

impl RoomScoped for Say {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join { room } => Scope::Join(room.into()),
            Self::Leave { room } => Scope::Leave(room),
            Self::Chat { room, .. } => Scope::Within(room),
        }
    }
}

impl From<Message> for Line {
    fn from(message: Message) -> Self {
        Self(message.as_text().unwrap().trim_matches('"').to_owned())
    }
}

impl From<RoomNotice> for Line {
    fn from(notice: RoomNotice) -> Self {
        let (room, code) = notice.into_parts();
        Self(format!("{code} {room}"))
    }
}

/// Tells the room what its member said.
struct PassOn;

impl Service<Inbound<Say, Member<User, Line>>> for PassOn {
    type Response = Reply<Line>;
    type Error = Failure<Line>;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Line>, Failure<Line>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<Say, Member<User, Line>>) -> Self::Future {
        Box::pin(async move {
            let (message, member, _) = inbound.into_parts();
            if let Say::Chat { text, .. } = message {
                let room = member.room()?;
                let line = format!("{} in {}: {text}", room.user_id(), room.name());
                room.broadcast(&Line(line)).await?;
            }
            Ok(Reply::none())
        })
    }
}
