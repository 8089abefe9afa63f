//~ error[E0631]: type mismatch in function arguments

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(handle::<Anonymous>));
}
