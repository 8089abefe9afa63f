//! Say who shares a bucket: one connection alone, a user's connections, or an address's.

use crate::{
    connection::Connection,
    layers::Authenticated,
    principal::Principal,
    quota::{Network, RateKeyValue},
};

/// Each connection has a bucket of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerConnection;

/// All connections of a user share a bucket. Users are told apart by tenant and id.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerUser;

/// All connections of a client address share a bucket: an IPv4 address, or an IPv6 /56, which is the
/// least that RFC 6177 gives a subscriber. Connections whose address is not known share one.
///
/// A subscriber that has a /48 has 256 of those. How many connections it may spread over them is bounded
/// by [`Admission::max_connections_per_peer`](crate::Admission::max_connections_per_peer): four times
/// as many as one address may have.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerAddress;

/// Who shares a bucket.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no bucket for a sender that has shown `{P}`",
    note = "`RateLimitLayer::per_user` stands behind `RequireAuthLayer`: before it there is no user"
)]
pub trait RateKey<P>: Send + Sync + 'static {
    /// The bucket's key for messages with `proof` on `connection`; `None` for a bucket of the connection's
    /// own.
    ///
    /// It is asked once for a proof, and not for each message. So it must follow from the proof and from
    /// what never changes about a connection, and from nothing else.
    fn key(&self, proof: &P, connection: &Connection) -> Option<RateKeyValue>;
}

impl<P> RateKey<P> for PerConnection {
    fn key(&self, _: &P, _: &Connection) -> Option<RateKeyValue> {
        None
    }
}

impl<U: Principal> RateKey<Authenticated<U>> for PerUser {
    fn key(&self, user: &Authenticated<U>, _: &Connection) -> Option<RateKeyValue> {
        Some(RateKeyValue::of((user.tenant(), user.id())))
    }
}

impl<P> RateKey<P> for PerAddress {
    fn key(&self, _: &P, connection: &Connection) -> Option<RateKeyValue> {
        Some(RateKeyValue::of(connection.client_ip().map(Network::subscriber)))
    }
}
