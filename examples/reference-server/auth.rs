//! Let in whoever knows the one token. A real server verifies tickets here.

use tower_websocket::{
    AuthFailure, Authenticate, Connection, Json, Message, Principal, Session,
    message::Encode as _,
    room::service::{ServerMessage, credentials},
};

/// Somebody who knew the token.
pub(crate) struct User {
    name: String,
}

impl Principal for User {
    fn id(&self) -> &str {
        &self.name
    }
}

/// Accepts one token, alone or followed by `:` and the name to go by.
pub(crate) struct DevTokens {
    token: String,
}

impl DevTokens {
    pub(crate) fn new(token: &str) -> Self {
        Self { token: token.to_owned() }
    }

    /// The name that goes with `offered`: `None` if it is not the token, or the name is not one.
    fn name(&self, offered: &str, connection: &Connection) -> Option<String> {
        let (token, name) = match offered.split_once(':') {
            Some((token, name)) => (token, Some(name)),
            None => (offered, None),
        };
        if !same(token.as_bytes(), self.token.as_bytes()) {
            return None;
        }
        match name {
            Some(name) => is_name(name).then(|| name.to_owned()),
            None => Some(format!("user-{:.8}", connection.id().to_string())),
        }
    }
}

impl Authenticate for DevTokens {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let offered = credentials(message).ok_or(AuthFailure::Required)?;
        let name = self.name(offered.as_str(), connection).ok_or(AuthFailure::Rejected)?;
        let user = User { name };
        let welcome = ServerMessage::auth_ok(connection, &user);
        let welcome = Json::default().encode(&welcome).map_err(|_| AuthFailure::Unavailable)?;
        Ok(Session::new(user).reply(welcome))
    }
}

/// Compares without an early exit, so that time does not tell how much of a guess was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}
