//~ error[E0277]: `PerUser` has no bucket for a sender that has shown `Anonymous`

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_user(Quota::per_second(1)))
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(handle::<Authenticated<User>>));
}
