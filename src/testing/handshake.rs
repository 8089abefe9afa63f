//! A handshake, as a client that is no browser sends it, or with what a test adds.

use std::{future::Future, panic::Location};

use bytes::Bytes;
use http::{Request, Response, header, request};

use super::{TestPeer, TestServer};

/// A handshake that has not been sent: made by [`TestServer::handshake`].
#[derive(Debug)]
#[must_use = "nothing is sent before `connect` or `send`"]
pub struct TestHandshake<'a> {
    server: &'a TestServer,
    request: request::Builder,
}

impl<'a> TestHandshake<'a> {
    pub(super) fn new(server: &'a TestServer, path: &str) -> Self {
        Self { server, request: handshake(path) }
    }

    /// It comes from a page of this origin: `https://app.example`.
    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    /// It comes with these cookies: `session=1`, or `session=1; theme=dark`.
    pub fn cookie(self, cookies: &str) -> Self {
        self.header("cookie", cookies)
    }

    /// One header line more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// What the layers in front leave in the request's extensions: a
    /// [`PeerAddr`](crate::PeerAddr) says where it comes from.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
        self.request = self.request.extension(extension);
        self
    }

    /// A peer that has connected with it.
    ///
    /// # Panics
    ///
    /// If the handshake is refused, or not answered within a minute.
    #[track_caller]
    pub fn connect(self) -> impl Future<Output = TestPeer> + Send + 'a {
        let (at, answer) = (Location::caller(), self.send());
        async move {
            match answer.await {
                Ok(peer) => peer,
                Err(response) => panic!("{at}: the handshake was refused: {response:?}"),
            }
        }
    }

    /// The peer, if it is let in.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`TestServer::request`].
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Result<TestPeer, Response<Bytes>>> + Send + 'a {
        let request = self.request.body(()).expect("a path, and headers");
        self.server.answer(request, Vec::new(), Location::caller())
    }
}

/// The handshake of a client that is no browser, to be changed as a test needs it (RFC 6455 §4.1).
pub fn handshake(path: &str) -> request::Builder {
    Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        // The key of RFC 6455 §1.3.
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
}
