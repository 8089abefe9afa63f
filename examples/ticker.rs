//! Prices that change all the time, for thousands, and where everybody's pointer is.
//!
//! Run with `cargo run --example ticker` and open <http://127.0.0.1:8080/> in a few windows; another address can be
//! given as the argument. Two rooms are keyed: `prices` has a value for each symbol, which the server sets, and
//! `cursors` one for each connection, which it sets itself. Who comes gets what there is and then what changes;
//! who is slow gets fewer values, never an old one after a new one.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, response::Html, routing::get};
use tokio::time::{MissedTickBehavior, interval};
use tower::ServiceBuilder;
use tower_websocket::{
    AuthFailure, Close, DecodeLayer, Handler, HandlerResult, Inbound, Member, Principal, Quota,
    RateLimitLayer, Reply, RequireAuthLayer, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped,
    Rooms, RoomsLayer, Scope, Session, WebSocketEndpoint,
    room::{JoinDenied, JoinRequest, Keyed, KeyedConfigError, PublishError, RoomsConfig},
};

/// What a page says.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Said {
    Join {
        room: RoomName,
    },
    /// Where its pointer is, in thousandths of the page.
    Point {
        room: RoomName,
        x: u16,
        y: u16,
    },
}

impl RoomScoped for Said {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join { room } => Scope::Join(room.into()),
            Self::Point { room, .. } => Scope::Within(room),
        }
    }
}

/// What a page hears.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Heard {
    Room {
        room: RoomName,
        code: &'static str,
    },
    /// In hundredths, and how often it has changed.
    Price {
        symbol: &'static str,
        price: u32,
        n: u64,
    },
    Cursor {
        id: String,
        name: String,
        x: u16,
        y: u16,
    },
    Gone {
        id: String,
    },
}

impl From<RoomNotice> for Heard {
    fn from(notice: RoomNotice) -> Self {
        let (room, code) = notice.into_parts();
        Self::Room { room, code }
    }
}

/// There are two rooms. A member of the one only listens.
struct TwoRooms;

impl RoomPolicy<String> for TwoRooms {
    /// Whether it is the room of the cursors.
    type Role = bool;

    async fn join(&self, request: JoinRequest<'_, String>) -> Result<bool, JoinDenied> {
        match request.key().name().as_str() {
            PRICES => Ok(false),
            CURSORS => Ok(true),
            _ => Err(JoinDenied::new()),
        }
    }
}

/// A connection, and its cursor.
struct Guest {
    rooms: Rooms<Heard>,
    id: String,
    has_cursor: bool,
}

impl Handler<Said, Member<String, Heard, bool>> for Guest {
    type Reply = Heard;

    async fn handle(
        &mut self,
        inbound: Inbound<Said, Member<String, Heard, bool>>,
    ) -> HandlerResult<Heard> {
        let (Said::Point { x, y, .. }, member, _) = inbound.into_parts() else {
            return Ok(Reply::none());
        };
        if !member.role().is_some_and(|has_cursors| *has_cursors) || x > 1_000 || y > 1_000 {
            return Err(Close::INVALID_MESSAGE.into());
        }
        let cursor = Heard::Cursor { id: self.id.clone(), name: member.id().to_owned(), x, y };
        match member.room()?.set(&self.id, &cursor).await {
            // Of thousands, not all have a cursor.
            Err(
                PublishError::TooManyKeys | PublishError::TooManyBytes | PublishError::RateLimited,
            ) => {}
            set => self.has_cursor |= set.map(|_| true)?,
        }
        Ok(Reply::none())
    }
}

impl Drop for Guest {
    /// Whoever goes takes its cursor along.
    fn drop(&mut self) {
        if self.has_cursor {
            let (rooms, id) = (self.rooms.clone(), std::mem::take(&mut self.id));
            tokio::spawn(async move {
                let gone = Heard::Gone { id: id.clone() };
                rooms.at(&key(CURSORS)).unset(&id, &gone).await
            });
        }
    }
}

fn endpoint(rooms: &Rooms<Heard>) -> WebSocketEndpoint {
    // A name is all it takes. A real one asks for more.
    let door = RequireAuthLayer::from_fn(async |credentials, _connection| {
        let name = credentials.as_text().unwrap_or_default();
        let is_name =
            (1..=20).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_alphanumeric());
        is_name.then(|| Session::new(name.to_owned())).ok_or(AuthFailure::Rejected)
    });
    let messages = ServiceBuilder::new()
        // A pointer is told 20 times a second.
        .layer(RateLimitLayer::per_connection(Quota::per_second(30).burst(60)))
        .layer(door)
        .layer(DecodeLayer::<Said>::json())
        .layer(RoomsLayer::new(rooms.clone(), TwoRooms));
    let rooms = rooms.clone();
    WebSocketEndpoint::with_handler(messages, move |connection, _| Guest {
        rooms: rooms.clone(),
        id: connection.id().to_string(),
        has_cursor: false,
    })
    .peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0))
}

/// Makes up prices, twenty times a second. What is set costs the same for one member as for thousands.
async fn make_prices(rooms: Rooms<Heard>) -> Result<(), PublishError> {
    let room = rooms.at(&key(PRICES));
    let mut prices: Vec<_> = SYMBOLS.iter().map(|it| (*it, fastrand::u32(2_000..40_000))).collect();
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for n in 1.. {
        ticks.tick().await;
        for (symbol, price) in &mut prices {
            let step = (*price / 500).max(1);
            *price = (*price + fastrand::u32(0..=2 * step)).saturating_sub(step).max(100);
            room.set(symbol, &Heard::Price { symbol, price: *price, n }).await?;
        }
    }
    Ok(())
}

#[expect(clippy::expect_used, reason = "the names are constants")]
fn key(name: &str) -> RoomKey {
    RoomKey::new(name.parse().expect("a name"))
}

fn rooms() -> Result<Rooms<Heard>, KeyedConfigError> {
    Ok(Rooms::with(RoomsConfig::new().keyed(Keyed::new())?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rooms = rooms()?;
    tokio::spawn(make_prices(rooms.clone()));
    let page = include_str!("ticker.html");
    let app = Router::new()
        .route("/", get(async move || Html(page)))
        .route_service("/ws", endpoint(&rooms).into_service())
        .into_make_service_with_connect_info::<SocketAddr>();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

const PRICES: &str = "prices";
const CURSORS: &str = "cursors";

const SYMBOLS: [&str; 24] = [
    "ALDER", "ASH", "ASPEN", "BEECH", "BIRCH", "BOX", "CEDAR", "CHERRY", "ELDER", "ELM", "FIR",
    "HAZEL", "HOLLY", "LARCH", "LIME", "MAPLE", "OAK", "PINE", "PLANE", "ROWAN", "SPRUCE",
    "WALNUT", "WILLOW", "YEW",
];
