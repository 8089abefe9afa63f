// What the others differ from, each in one line.

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(RateLimitLayer::per_user(Quota::per_second(1)).cost(|_: &Message| 1))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(handle::<Authenticated<User>>));
}
