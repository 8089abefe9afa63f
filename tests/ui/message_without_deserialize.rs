//~ error[E0277]: the trait bound `Bare: Deserialize<'de>` is not satisfied

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

struct Bare;

async fn other(_: Inbound<Bare, Authenticated<User>>) -> HandlerResult<Hello> {
    Ok(Reply::none())
}

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Bare>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(other));
}
