//~ error[E0277]: the trait bound `Bare: Serialize` is not satisfied

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

struct Bare;

async fn other(_: Inbound<Hello, Authenticated<User>>) -> HandlerResult<Bare> {
    Ok(Reply::none())
}

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(other));
}
