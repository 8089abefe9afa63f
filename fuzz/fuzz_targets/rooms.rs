//! Rooms with several connections in them against a plain model, step by step: the operations and the
//! model are those of the crate's own properties.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_websocket::testing::driven::rooms::{Operation, Run};

fuzz_target!(|input: &[u8]| {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(input));
});

async fn run(mut input: &[u8]) {
    let mut run = Run::new().await;
    while let Some(operation) = Operation::read(&mut input) {
        run.apply(&operation).await;
    }
    run.finish().await;
}
