//~ error[E0271]: expected `impl Future<Output = Result<Hello, Close>>` to be a future that resolves to `Result<Reply<_>, _>`, but it resolves to `Result<Hello, Close>`

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

async fn bare(inbound: Inbound<Hello, Authenticated<User>>) -> Result<Hello, Close> {
    Ok(inbound.message)
}

fn main() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tickets))
        .layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(bare));
}
