//! Hand out a ticket to whoever says a name: the page's way in, without a token in it.
//!
//! Anybody may say any name, so unless it is asked for this is there only where everybody knows the token
//! anyway: on the loopback interface, with none set. A real
//! server looks at its session's cookie here.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tower_websocket::{ClientAddr, Session, Tickets, tickets::TicketError};

use crate::auth::{User, is_name};

/// What the endpoint for tickets knows.
#[derive(Clone)]
pub(crate) struct Desk {
    tickets: Option<Tickets<User>>,
    asked: Arc<Mutex<Asked>>,
}

/// Who has asked in this minute.
struct Asked {
    since: Instant,
    times: HashMap<IpAddr, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// Empty: the server makes one up.
    name: String,
}

impl Desk {
    /// Issues `tickets`, or tells everybody that there are none.
    pub(crate) fn new(tickets: Option<Tickets<User>>) -> Self {
        let asked = Asked { since: Instant::now(), times: HashMap::new() };
        Self { tickets, asked: Arc::new(Mutex::new(asked)) }
    }

    /// Whether `ip` may ask once more in this minute.
    fn may_ask(&self, ip: IpAddr) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.since.elapsed() > MINUTE {
            *asked = Asked { since: Instant::now(), times: HashMap::new() };
        }
        if asked.times.len() >= MAX_ADDRESSES && !asked.times.contains_key(&network(ip)) {
            return false;
        }
        let times = asked.times.entry(network(ip)).or_default();
        *times += 1;
        *times <= EACH_MINUTE
    }
}

/// `POST /ticket` with `{"name": ".."}`.
pub(crate) async fn issue(
    State(desk): State<Desk>,
    client: Option<Extension<ClientAddr>>,
    headers: HeaderMap,
    ask: Result<Json<Ask>, JsonRejection>,
) -> Response {
    let answer = desk.answer(client.map(|it| it.ip()), &headers, ask).await;
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

impl Desk {
    async fn answer(
        &self,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
        ask: Result<Json<Ask>, JsonRejection>,
    ) -> Response {
        let refuse =
            |status, why: &'static str| (status, Json(json!({ "error": why }))).into_response();
        if !is_own_page(headers) {
            return refuse(StatusCode::FORBIDDEN, "Only pages of this server get a ticket.");
        }
        let wait = [(header::RETRY_AFTER, "20")];
        let Some(ip) = ip else {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "It is not known who asks.");
        };
        if !self.may_ask(ip) {
            let answer =
                refuse(StatusCode::TOO_MANY_REQUESTS, "That were too many logins for one minute.");
            return (wait, answer).into_response();
        }
        let Some(tickets) = &self.tickets else {
            return refuse(
                StatusCode::FORBIDDEN,
                "This server lets nobody in by name: --login-by-name is off.",
            );
        };
        let name = match ask {
            Ok(Json(Ask { name })) if name.is_empty() => format!("user-{:08x}", fastrand::u32(..)),
            Ok(Json(Ask { name })) if is_name(&name) => name,
            Ok(_) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "A name is 1 to 32 of A-Z a-z 0-9 _ and -, without spaces.",
                );
            }
            Err(_) => {
                return refuse(StatusCode::BAD_REQUEST, "A JSON object with a name is expected.");
            }
        };
        match tickets.issue(Session::new(name.clone())).await {
            Ok(ticket) => Json(json!({ "ticket": ticket, "name": name })).into_response(),
            Err(TicketError::Full) => {
                (wait, refuse(StatusCode::SERVICE_UNAVAILABLE, "There are too many logins."))
                    .into_response()
            }
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "There are no tickets."),
        }
    }
}

/// Whether it is a page of this server that asks. A browser says so where the page came over TLS or from
/// the same machine; elsewhere, a page of another origin cannot send this header without asking first, and
/// nobody here says yes.
fn is_own_page(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => headers.contains_key("x-requested-with"),
    }
}

/// What one customer has of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A house of people who open several tabs. One of them who comes back again and again asks twice a minute
/// at most.
const EACH_MINUTE: u32 = 120;

/// Two megabytes at most; who comes after that waits for the next minute.
const MAX_ADDRESSES: usize = 50_000;
