//~ error: future cannot be sent between threads safely

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

async fn local(_: Inbound<Hello, Authenticated<User>>) -> HandlerResult<Hello> {
    let held = std::rc::Rc::new(());
    std::future::ready(()).await;
    drop(held);
    Ok(Reply::none())
}

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(local));
}
