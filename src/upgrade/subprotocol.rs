//! Choose the subprotocol, and take out a token that is carried as one.
//!
//! `Sec-WebSocket-Protocol` is a list of tokens (RFC 6455 §11.3.4), over as many lines as the client likes. It
//! is read once, in a time that is linear in its length, within a bound, and not at all where the endpoint
//! has no subprotocols.

use std::{error::Error, fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, header};

use super::rejection::UpgradeRejectionKind;
use crate::message::Message;

/// The subprotocols that an endpoint speaks.
///
/// The first of them that the client offers is chosen, stands in the answer, and is the
/// [`protocol`](crate::Connection::protocol) of the connection. If none is, the answer has no such header, as
/// RFC 6455 §4.2.2 has it: browsers then fail the connection, because they were not given what they asked for,
/// and other clients go on. A client that offers none is served as well, unless it [must](Self::require).
///
/// What is no list of tokens, has one twice, more than 16 of them or more than 1 KiB is answered `400`.
///
/// # Example
///
/// ```
/// use tower_websocket::upgrade::{InvalidSubprotocol, Subprotocols};
///
/// # fn main() -> Result<(), InvalidSubprotocol> {
/// let ours = Subprotocols::new(["chat.v2", "chat.v1"])?;
/// assert!(Subprotocols::new(["chat v2"]).is_err());
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Subprotocols {
    ours: Arc<[Ours]>,
    without: Without,
    token_prefix: Option<Arc<str>>,
}

/// One that the endpoint speaks.
#[derive(Clone, Debug)]
struct Ours {
    name: Arc<str>,
    value: HeaderValue,
}

/// What becomes of a client with which there is none in common.
#[derive(Clone, Copy, Debug)]
enum Without {
    Served,
    Refused,
}

/// A subprotocol that no client could offer.
///
/// Its text is a sentence for the operator, with the value.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidSubprotocol {
    /// It is no token (RFC 9110 §5.6.2).
    Name(String),
    /// It is there twice.
    Twice(String),
    /// A subprotocol begins with it, and would be taken for a token.
    TokenPrefix(String),
}

/// What was made of a handshake's offers.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// The one that is spoken, and how it stands in the answer.
    pub(crate) protocol: Option<(Arc<str>, HeaderValue)>,
    /// The credentials among them. As a message it does not show.
    pub(crate) token: Option<Message>,
}

impl Subprotocols {
    /// Those with these names, the one that is preferred first.
    ///
    /// # Errors
    ///
    /// [`InvalidSubprotocol`] if a name is none, or there twice.
    pub fn new<N: AsRef<str>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidSubprotocol> {
        let mut ours: Vec<Ours> = Vec::new();
        for name in names {
            let name = name.as_ref();
            let invalid = || InvalidSubprotocol::Name(name.to_owned());
            if !is_token(name.as_bytes()) {
                return Err(invalid());
            }
            if ours.iter().any(|it| *it.name == *name) {
                return Err(InvalidSubprotocol::Twice(name.to_owned()));
            }
            let value = HeaderValue::from_str(name).map_err(|_| invalid())?;
            ours.push(Ours { name: name.into(), value });
        }
        Ok(Self { ours: ours.into(), without: Without::Served, token_prefix: None })
    }

    /// Answers `400` to a client that offers none of these.
    pub fn require(mut self) -> Self {
        self.without = Without::Refused;
        self
    }

    /// Takes an offer that begins with `prefix` for credentials: for pages that cannot do otherwise, since a
    /// browser lets them set no other header. Default: no offer is.
    ///
    /// What follows the prefix comes to the endpoint's [`Authenticate`](crate::Authenticate) as if it had been
    /// the first message, a text of nothing but that. It is taken out of the request before any other code
    /// sees it, is never chosen, recorded or logged, and may be as long as a
    /// [first message](crate::ConnectionConfig::max_first_message_size). A client has to offer a subprotocol
    /// besides it: there would be nothing to answer with, which browsers take for a failure. Two tokens, one
    /// that is empty or alone, are answered `400`.
    ///
    /// # Errors
    ///
    /// [`InvalidSubprotocol::Name`] if no offer can begin so; [`InvalidSubprotocol::TokenPrefix`] if one of
    /// these does.
    ///
    /// # Deployment
    ///
    /// HTTP layers in front of the endpoint, proxies among them, see the header, and some log it: in
    /// tower-http, `SetSensitiveRequestHeadersLayer` hides it. A [ticket](crate::Tickets) in the first message
    /// is seen by none of them.
    pub fn token_prefix(mut self, prefix: &str) -> Result<Self, InvalidSubprotocol> {
        if !is_token(prefix.as_bytes()) {
            return Err(InvalidSubprotocol::Name(prefix.to_owned()));
        }
        if self.ours.iter().any(|it| it.name.starts_with(prefix)) {
            return Err(InvalidSubprotocol::TokenPrefix(prefix.to_owned()));
        }
        self.token_prefix = Some(prefix.into());
        Ok(self)
    }

    /// Chooses among the offers in `headers`, in which a token may have `max_token` bytes.
    pub(super) fn choose(
        &self,
        headers: &HeaderMap,
        max_token: usize,
    ) -> Result<Chosen, UpgradeRejectionKind> {
        let invalid = UpgradeRejectionKind::Subprotocol;
        let (mut offers, mut token): (Vec<&[u8]>, Option<&[u8]>) = (Vec::new(), None);
        let mut length = 0;
        for line in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
            for element in line.as_bytes().split(|it| *it == b',') {
                // With its comma, so that there is an end to empty ones, which RFC 9110 §5.6.1.2 allows.
                length += element.len() + 1;
                let offer = element.trim_ascii();
                let prefix = self.token_prefix.as_ref().map(|it| it.as_bytes());
                if let Some(found) = prefix.and_then(|it| offer.strip_prefix(it)) {
                    length -= offer.len();
                    if found.len() > max_token || !is_token(found) || token.replace(found).is_some()
                    {
                        return Err(invalid);
                    }
                } else if !offer.is_empty() {
                    if offers.len() == MAX_OFFERS || !is_token(offer) || offers.contains(&offer) {
                        return Err(invalid);
                    }
                    offers.push(offer);
                }
                if length > MAX_LENGTH {
                    return Err(invalid);
                }
            }
        }
        if token.is_some() && offers.is_empty() {
            return Err(invalid);
        }
        let ours = self.ours.iter().find(|it| offers.contains(&it.name.as_bytes()));
        match (ours, self.without) {
            (None, Without::Refused) => Err(UpgradeRejectionKind::SubprotocolMissing),
            (ours, _) => Ok(Chosen {
                protocol: ours.map(|it| (Arc::clone(&it.name), it.value.clone())),
                token: token.and_then(|it| str::from_utf8(it).ok()).map(Message::text),
            }),
        }
    }

    /// Takes the token out of `headers`, in which there is one.
    pub(super) fn take_token(&self, headers: &mut HeaderMap) {
        let Some(prefix) = &self.token_prefix else { return };
        let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let offers = offers.flat_map(|line| line.as_bytes().split(|it| *it == b','));
        let offers = offers.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty());
        let kept: Vec<&[u8]> = offers.filter(|it| !it.starts_with(prefix.as_bytes())).collect();
        match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
            Ok(kept) => _ = headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept),
            Err(_) => _ = headers.remove(header::SEC_WEBSOCKET_PROTOCOL),
        }
    }
}

impl fmt::Display for InvalidSubprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) => {
                write!(f, "{text:?} is no subprotocol: letters, digits and !#$%&'*+-.^_`|~")
            }
            Self::Twice(text) => write!(f, "the subprotocol {text:?} is there twice"),
            Self::TokenPrefix(text) => {
                write!(f, "a subprotocol begins with {text:?}, which is to be the mark of a token")
            }
        }
    }
}

impl Error for InvalidSubprotocol {}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let allowed = |it: &u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(it);
    !text.is_empty() && text.iter().all(allowed)
}

/// More than any client has versions of its protocols.
const MAX_OFFERS: usize = 16;

/// Bytes of all lines together, with commas and spaces, but without a token.
const MAX_LENGTH: usize = 1024;

#[cfg(test)]
#[path = "tests/subprotocol.rs"]
mod tests;
