//~ error[E0277]: the trait bound `Hello: Principal` is not satisfied

mod prelude;

use prelude::*;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{layers::*, *};

struct Nobody;

impl Authenticate for Nobody {
    type User = Hello;

    async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<Hello>, AuthFailure> {
        Err(AuthFailure::Rejected)
    }
}

fn main() {}
