//! Switch protocols: answer 101, and hand the socket to the connection stage.
//!
//! hyper fulfils an upgrade once the connection is done, whatever the status of the answer was: a
//! 403 too leads to a live socket for the holder of the `OnUpgrade`. So it leaves the request before
//! other code can take it, and it reaches the connection stage only together with the 101.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{
    gate::{AdmittedRequest, ConnectionPermit},
    identity::IdentityPolicy,
    rejection::UpgradeRejectionKind,
    subprotocol::{Chosen, Subprotocols},
};
use crate::{
    audit::{Audit, Closed, Connected},
    client_addr::ClientAddr,
    connection::Connection,
    connections::Connections,
    driver::{Authentication, ConnectionConfig},
    hooks::Hooks,
    layers::HandshakeIdentity,
    message::Message,
    outbound::budget::MemoryBudget,
};

/// What the upgrade hands to the connection stage.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket, once the 101 is written; an error if that never happens.
    pub(crate) upgrade: OnUpgrade,
    /// Where it comes from, where the server told it.
    pub(crate) client: Option<ClientAddr>,
    /// Who it is, if the layers in front have said so.
    pub(crate) identity: Option<HandshakeIdentity>,
    /// The subprotocol that is spoken.
    pub(crate) protocol: Option<Arc<str>>,
    /// Credentials that came with the handshake.
    pub(crate) token: Option<Message>,
    /// What the handshake offered besides, for the record.
    pub(crate) offers: Connected,
    /// To be kept until the connection is over.
    pub(crate) permit: ConnectionPermit,
}

/// A handshake that has passed all that could be looked at so far.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) admitted: AdmittedRequest,
    pub(super) upgrade: OnUpgrade,
    pub(super) client: Option<ClientAddr>,
    pub(super) offers: Connected,
    pub(super) chosen: Chosen,
}

/// The connection stage, as the upgrade sees it.
pub(crate) trait SpawnConnection: Send + Sync + 'static {
    /// Spawns the connection's one task; the code that makes its handler may look at `request`.
    ///
    /// The task must bound its wait for the upgrade: a layer outside that replaces the 101 on a
    /// connection that stays open keeps it waiting.
    ///
    /// # Errors
    ///
    /// Why there is no connection after all: its layers let in only whom the handshake has told of.
    fn spawn(
        &self,
        accepted: Accepted,
        request: &mut Parts,
        settings: &Settings,
    ) -> Result<(), UpgradeRejectionKind>;
}

/// What all connections of an endpoint have in common.
pub(crate) struct Settings {
    pub(crate) connection: Arc<ConnectionConfig>,
    pub(crate) authentication: Authentication,
    pub(crate) identity: IdentityPolicy,
    pub(crate) connections: Option<Arc<Connections>>,
    pub(crate) subprotocols: Option<Subprotocols>,
    pub(crate) audit: Audit,
    pub(crate) budget: Option<MemoryBudget>,
    pub(crate) on_connect: Hooks<OnConnect>,
    pub(crate) on_close: Hooks<OnClose>,
    /// The log has said that the server cannot upgrade.
    pub(crate) warned: Arc<AtomicBool>,
}

/// What happens when a handshake has been accepted, before the peer can say anything.
pub(crate) type OnConnect = dyn Fn(&Connection) + Send + Sync;

/// What happens when a connection has ended: its socket is gone, its memberships are over.
pub(crate) type OnClose = dyn Fn(&Connection, &Closed) + Send + Sync;

/// Takes the promise of a socket out of `request`, so that no other code can have it.
pub(super) fn take_upgrade<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    request.extensions_mut().remove()
}

/// Starts the connection. The answer must be returned as it is: the socket is its other half.
pub(super) fn switch_protocols<T: Default>(
    attempt: Attempt,
    request: &mut Parts,
    connections: &dyn SpawnConnection,
    settings: &Settings,
) -> Result<Response<T>, UpgradeRejectionKind> {
    let Attempt { admitted, upgrade, client, offers, chosen } = attempt;
    let (AdmittedRequest { accept, permit }, Chosen { protocol, token }) = (admitted, chosen);
    let (protocol, spoken) = protocol.unzip();
    if let Some(ours) = settings.subprotocols.as_ref().filter(|_| token.is_some()) {
        // From here on it is the verifier's alone.
        ours.take_token(&mut request.headers);
    }
    // Whether it counts or not: no layer further in is to find it.
    let identity = settings.identity.read(request.extensions.remove())?;
    let accepted = Accepted { upgrade, client, identity, protocol, token, offers, permit };
    connections.spawn(accepted, request, settings)?;
    let mut response = Response::new(T::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(spoken) = spoken {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, spoken);
    }
    Ok(response)
}

impl fmt::Debug for dyn SpawnConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpawnConnection")
    }
}

const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
