//! The promises of the crate, over real sockets.

mod support_http;
mod echo;
mod handshake;
mod origin;
mod admission;
