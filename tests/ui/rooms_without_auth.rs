//~ error[E0277]: `RoomsLayer` lets `Authenticated` users into rooms, and not `Anonymous`

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{room::*, service::*, *};

async fn handle_in_rooms(
    _: Inbound<ClientMessage, Member<User, ServerMessage>>,
) -> HandlerResult<ServerMessage> {
    Ok(Reply::none())
}

fn main() {
    let messages = ServiceBuilder::new()
        .layer(DecodeLayer::<ClientMessage>::json().anonymous())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let _ = WebSocketEndpoint::new(messages, service_fn(handle_in_rooms)).allow_anonymous();
}
