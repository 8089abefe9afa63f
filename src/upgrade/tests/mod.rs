//! The decision functions, as tables, and the service around them without a socket.

use http::{HeaderName, HeaderValue, Request};

mod client;
mod request;
mod origin;
mod origin_settings;
mod admission;
mod layer;

/// The handshake a browser sends for a page of the same host: `HS` of the attack catalogue.
fn handshake() -> Request<()> {
    Request::get("/ws")
        .header("Host", "app.example")
        .header("Origin", "https://app.example")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap()
}

/// [`handshake`] with the lines of one header replaced; without any value it is left out.
fn handshake_with(name: &'static str, values: &[&'static str]) -> Request<()> {
    let mut request = handshake();
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    request.headers_mut().remove(&name);
    for value in values {
        request.headers_mut().append(name.clone(), HeaderValue::from_static(value));
    }
    request
}
