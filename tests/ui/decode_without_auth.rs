//~ error[E0277]: `DecodeLayer` reads messages of `Authenticated` senders only, and not of `Anonymous`

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let messages = ServiceBuilder::new().layer(DecodeLayer::<Hello>::json());
    let _ = WebSocketEndpoint::new(messages, service_fn(handle::<Authenticated<User>>));
}
