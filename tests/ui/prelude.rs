//! What the cases have in common.

use tower_websocket::{
    AuthFailure, Authenticate, Connection, HandlerResult, Inbound, Message, Principal, Reply, Session,
};

pub struct User;

impl Principal for User {
    fn id(&self) -> &str {
        "ada"
    }
}

pub struct Tickets;

impl Authenticate for Tickets {
    type User = User;

    async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<User>, AuthFailure> {
        Err(AuthFailure::Rejected)
    }
}

#[derive(Clone, serde::Deserialize, serde::Serialize)]
pub struct Hello {}

pub async fn handle<P>(inbound: Inbound<Hello, P>) -> HandlerResult<Hello> {
    Ok(Reply::one(inbound.message))
}
