//~ error[E0308]: mismatched types

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

fn main() {
    let _ = RateLimitLayer::per_user(Quota::per_second(1)).cost(|message: &Message| message.is_empty());
}
