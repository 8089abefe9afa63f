//~ error[E0631]: type mismatch in closure arguments

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(Quota::per_second(1)).cost(|_: &Hello| 1))
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(handle::<Authenticated<User>>));
}
