//! Tests of this stage, and what they share.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use serde::Serialize;
use tower::{ServiceBuilder, service_fn, util::BoxService};
use tower_service::Service;

use crate::{
    audit::{Audit, AuditEvent, AuditRecord, AuditSink},
    close::CloseReason,
    connection::Connection,
    layers::{Authenticated, Failure, Inbound, Reply},
    outbound::{OutboundLimits, drained},
    principal::Principal,
    room::{
        Join, Member, Position, RoomError, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped,
        Rooms, RoomsLayer, Scope,
    },
};

mod broadcast;
mod budget;
mod codec;
mod drops;
mod entry;
mod hooks;
mod hosted;
mod join;
mod keyed;
mod lane;
mod lifetime;
mod members;
mod model;
mod model_keyed;
mod model_retention;
mod model_room;
mod model_skip;
mod name;
mod overflow;
mod pace;
mod race;
mod removed;
mod shares;
mod sizes;
mod tenants;
mod together;
mod values;

/// A user; the part before the first `/` is the tenant.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) tenant: String,
    pub(crate) id: String,
}

impl Principal for User {
    fn id(&self) -> &str {
        &self.id
    }

    fn tenant(&self) -> Option<&str> {
        Some(&self.tenant).filter(|it| !it.is_empty()).map(String::as_str)
    }
}

/// What peers say in these tests.
#[derive(Clone, Debug)]
enum Say {
    Join(RoomName),
    /// Back into it, which was heard up to there.
    Back(RoomName, Position),
    Leave(RoomName),
    Tell(RoomName, String),
    Nothing,
}

impl RoomScoped for Say {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join(name) => Scope::Join(name.into()),
            Self::Back(name, at) => Scope::Join(Join::new(name).since(Some(*at))),
            Self::Leave(name) => Scope::Leave(name),
            Self::Tell(name, _) => Scope::Within(name),
            Self::Nothing => Scope::Connection,
        }
    }
}

/// What peers hear: a line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Line(String);

impl From<RoomNotice> for Line {
    fn from(notice: RoomNotice) -> Self {
        let (room, code) = notice.into_parts();
        Self(format!("{code} {room}"))
    }
}

/// Keeps events as text: what happened, to whom, where.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl AuditSink for Events {
    fn record(&self, record: &AuditRecord) {
        let user = record.user.as_deref().unwrap_or("nobody");
        let line = match &record.event {
            AuditEvent::Joined(joined) => format!("joined {user} {}", joined.room),
            AuditEvent::Left(left) => format!("left {user} {}", left.room),
            AuditEvent::LeftAll(left) => {
                format!("left {user} {}: {}", left.count, left.rooms.join(" "))
            }
            AuditEvent::Published(it) => format!("published {} {}", it.room, it.members),
            AuditEvent::Refused(refusal) => format!("refused {}", refusal.rule),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Events {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A connection and the stack that its driver would hold.
struct Peer {
    connection: Connection,
    user: Authenticated<User>,
    stack: BoxService<Inbound<Say, Authenticated<User>>, Reply<Line>, Failure<Line>>,
    events: Events,
}

impl Peer {
    /// A peer over `rooms`, whose handler tells the room what it is told and remembers nothing.
    fn new<P: RoomPolicy<User>>(rooms: &Rooms<Line>, policy: P, user: &str) -> Self {
        Self::with_layer(&RoomsLayer::new(rooms.clone(), policy), user)
    }

    fn with_layer<P: RoomPolicy<User>>(layer: &RoomsLayer<User, P, Line>, user: &str) -> Self {
        Self::with_stack(user, |_| {
            let stack = ServiceBuilder::new().layer(layer.clone());
            BoxService::new(stack.service(service_fn(tell::<P::Role>)))
        })
    }

    fn with_stack(
        user: &str,
        stack: impl FnOnce(
            &Connection,
        )
            -> BoxService<Inbound<Say, Authenticated<User>>, Reply<Line>, Failure<Line>>,
    ) -> Self {
        let events = Events::default();
        let connection = connect(events.clone());
        let (tenant, id) = user.split_once('/').unwrap_or(("", user));
        let user = User { tenant: tenant.into(), id: id.into() };
        connection.authenticated(&user, None, crate::login::Login::now()).unwrap();
        events.take();
        let user = Authenticated::claim(user);
        Self { stack: stack(&connection), connection, user, events }
    }

    /// Says something. The answer must not need anything to happen elsewhere; letting others run is
    /// all right.
    fn say(&mut self, say: Say) -> Result<Vec<String>, CloseReason> {
        let mut answer = self.start(say);
        let polled = std::iter::repeat_with(|| (&mut answer).now_or_never()).take(3);
        lines(polled.flatten().next().expect("nothing to wait for"))
    }

    fn start(
        &mut self,
        say: Say,
    ) -> impl Future<Output = Result<Reply<Line>, Failure<Line>>> + use<> {
        let inbound = Inbound::new(say, self.user.clone(), self.connection.clone());
        self.stack.call(inbound)
    }

    fn join(&mut self, name: &str) -> Result<Vec<String>, CloseReason> {
        self.say(Say::Join(room(name)))
    }

    fn leave(&mut self, name: &str) -> Result<Vec<String>, CloseReason> {
        self.say(Say::Leave(room(name)))
    }

    fn tell(&mut self, name: &str, text: &str) -> Result<Vec<String>, CloseReason> {
        self.say(Say::Tell(room(name), text.into()))
    }

    /// What is queued for the peer.
    fn heard(&self) -> Vec<String> {
        drain(&self.connection)
    }
}

async fn tell<Role>(
    inbound: Inbound<Say, Member<User, Line, Role>>,
) -> Result<Reply<Line>, Failure<Line>> {
    let (message, member, _) = inbound.into_parts();
    let Say::Tell(_, text) = message else {
        return Ok(Reply::one(Line("nothing".into())));
    };
    member.room()?.broadcast(&Line(text)).await?;
    Ok(Reply::none())
}

fn lines(answer: Result<Reply<Line>, Failure<Line>>) -> Result<Vec<String>, CloseReason> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(Failure::Reply(line)) => Reply::one(line),
        Err(Failure::Close(close)) => return Err(close.into()),
    };
    let mut lines = Vec::new();
    let pushed = reply.try_for_each(|Line(line)| {
        lines.push(line);
        Ok::<_, CloseReason>(())
    });
    pushed.map(|()| lines)
}

pub(crate) fn connect(sink: impl AuditSink) -> Connection {
    connect_within(limits(), sink)
}

/// Nothing is too much.
fn limits() -> OutboundLimits {
    let most = usize::MAX / 2;
    OutboundLimits::of(most, most)
}

fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn connect_within(limits: OutboundLimits, sink: impl AuditSink) -> Connection {
    Connection::new(None, limits, None, Audit::new(sink))
}

/// What a driver would write, with JSON's quotes taken off.
pub(crate) fn drain(connection: &Connection) -> Vec<String> {
    let text = |it: crate::Message| it.as_text().unwrap_or_default().trim_matches('"').to_owned();
    drained::drain(connection.outbound(), usize::MAX).messages.into_iter().map(text).collect()
}

fn room(name: &str) -> RoomName {
    name.parse().expect("a room name")
}

fn key(tenant: &str, name: &str) -> RoomKey {
    let name = room(name);
    if tenant.is_empty() { RoomKey::new(name) } else { RoomKey::in_tenant(tenant, name) }
}

/// What the rooms of one process say at once.
fn now<T>(said: impl Future<Output = Result<T, RoomError>>) -> T {
    said.now_or_never().expect("nothing to wait for").expect("one process")
}
