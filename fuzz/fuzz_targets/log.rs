//! A room's log against a list of all that was ever said, step by step: the operations and the list are those of the
//! crate's own property.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tower_websocket::testing::driven::log::{LogOperation, LogRun};

fuzz_target!(|input: &[u8]| {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(input));
});

async fn run(mut input: &[u8]) {
    let mut run = LogRun::read(&mut input);
    while let Some(operation) = LogOperation::read(&mut input) {
        if let LogOperation::Pass(millis) = operation {
            tokio::time::advance(Duration::from_millis(millis)).await;
        }
        run.apply(&operation);
    }
}
