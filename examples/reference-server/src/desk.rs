//! Hand out a ticket to whoever says a name: the page's way in, without a token in it; and end what came of it.
//!
//! Anybody may say any name, so unless it is asked for this is there only where everybody knows the token
//! anyway: on the loopback interface, with none set. A real server looks its session's cookie up here; of this
//! one it is known that it was not logged out.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tower_websocket::{ClientAddr, Connections, Session, Tickets, tickets::TicketError};

use crate::{
    asked::Asked,
    auth::{User, is_name},
    session::{self, Ended, SessionId},
};

/// What the endpoints for tickets and log-outs know.
#[derive(Clone)]
pub(crate) struct Desk {
    tickets: Option<Tickets<User>>,
    connections: Connections,
    /// Cookies go over nothing else.
    over_tls: bool,
    /// Tickets.
    asked: Arc<Mutex<Asked>>,
    /// Log-outs: who shares an address with many that log in can still leave.
    left: Arc<Mutex<Asked>>,
    ended: Ended,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// Empty: the server makes one up.
    name: String,
    /// The page comes back, and nobody has pressed anything: only in the session that it has.
    #[serde(default)]
    again: bool,
}

impl Desk {
    /// Issues `tickets`, or tells everybody that there are none.
    pub(crate) fn new(
        tickets: Option<Tickets<User>>,
        connections: Connections,
        over_tls: bool,
    ) -> Self {
        let counts = || Arc::new(Mutex::new(Asked::new(Instant::now())));
        let (asked, left) = (counts(), counts());
        Self { tickets, connections, over_tls, asked, left, ended: Ended::default() }
    }
}

/// Why there is nothing, in words for a person.
struct Refusal(StatusCode, &'static str);

/// `POST /ticket` with `{"name": "..", "again"?: true}`.
pub(crate) async fn issue(
    State(desk): State<Desk>,
    client: Option<Extension<ClientAddr>>,
    headers: HeaderMap,
    ask: Result<Json<Ask>, JsonRejection>,
) -> Response {
    answered(desk.issue(client.map(|it| it.ip()), &headers, ask).await)
}

/// `POST /logout`: ends the session of the browser, and with it what all its tabs have open.
pub(crate) async fn log_out(
    State(desk): State<Desk>,
    client: Option<Extension<ClientAddr>>,
    headers: HeaderMap,
) -> Response {
    answered(desk.log_out(client.map(|it| it.ip()), &headers))
}

impl Desk {
    async fn issue(
        &self,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
        ask: Result<Json<Ask>, JsonRejection>,
    ) -> Result<Response, Refusal> {
        admit(&self.asked, ip, headers)?;
        let closed = "This server lets nobody in by name: --login-by-name is off.";
        let tickets = self.tickets.as_ref().ok_or(Refusal(StatusCode::FORBIDDEN, closed))?;
        let no_json = "A JSON object with a name is expected.";
        let Json(Ask { name, again }) =
            ask.map_err(|_| Refusal(StatusCode::BAD_REQUEST, no_json))?;
        let name = match name {
            name if name.is_empty() => format!("user-{:08x}", fastrand::u32(..)),
            name if is_name(&name) => name,
            _ => return Err(Refusal(StatusCode::BAD_REQUEST, NO_NAME)),
        };
        let known = SessionId::of(headers).filter(|it| !self.ended.has(it));
        if known.is_none() && again {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "You are logged out."));
        }
        let is_new = known.is_none();
        let id = known.or_else(SessionId::random).ok_or(NO_TICKETS)?;
        let ticket = tickets.issue(Session::new(name.clone()).session_id(id.as_str())).await;
        let ticket = ticket.map_err(|error| match error {
            TicketError::Full => {
                Refusal(StatusCode::SERVICE_UNAVAILABLE, "There are too many logins.")
            }
            _ => NO_TICKETS,
        })?;
        let body = Json(json!({ "ticket": ticket, "name": name }));
        let cookie = is_new.then(|| [(header::SET_COOKIE, id.cookie(self.over_tls))]);
        Ok(match cookie {
            Some(cookie) => (cookie, body).into_response(),
            None => body.into_response(),
        })
    }

    fn log_out(&self, ip: Option<IpAddr>, headers: &HeaderMap) -> Result<Response, Refusal> {
        admit(&self.left, ip, headers)?;
        if let Some(id) = SessionId::of(headers) {
            // In this order: what comes between the two finds that it has ended.
            self.ended.note(id.clone());
            self.connections.session(id.as_str()).revoke();
        }
        let forget = session::no_cookie(self.over_tls);
        Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, forget)]).into_response())
    }
}

/// Whether a page at `ip` may ask for one more of what `asked` counts.
fn admit(asked: &Mutex<Asked>, ip: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Refusal> {
    if !is_own_page(headers) {
        return Err(Refusal(StatusCode::FORBIDDEN, "Only pages of this server may ask."));
    }
    let unknown = "It is not known who asks.";
    let ip = ip.ok_or(Refusal(StatusCode::INTERNAL_SERVER_ERROR, unknown))?;
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    if asked.may_ask(ip, Instant::now()) {
        return Ok(());
    }
    let words = "That were too many for one minute.";
    Err(Refusal(StatusCode::TOO_MANY_REQUESTS, words))
}

fn answered(answer: Result<Response, Refusal>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, why) = self;
        let refusal = (status, Json(json!({ "error": why })));
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                ([(header::RETRY_AFTER, "20")], refusal).into_response()
            }
            _ => refusal.into_response(),
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

const NO_NAME: &str = "A name is 1 to 32 of A-Z a-z 0-9 _ and -, without spaces.";

const NO_TICKETS: Refusal = Refusal(StatusCode::INTERNAL_SERVER_ERROR, "There are no tickets.");
