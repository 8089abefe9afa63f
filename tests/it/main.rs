//! The promises of the crate, over real sockets.
#![cfg(test)]

mod support_http;
mod echo;
mod handshake;
mod origin;
mod admission;
