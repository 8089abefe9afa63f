//! A connection on a socket whose every answer is the input's, step by step: the operations, and what
//! must hold after each, are those of the crate's own properties.

#![no_main]

use std::{num::NonZeroUsize, time::Duration};

use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    ConnectionConfig,
    testing::driven::operation::{Operation, Run},
};

fuzz_target!(|input: &[u8]| {
    // The only randomness is the time of the first ping.
    fastrand::seed(0);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(input));
});

async fn run(mut input: &[u8]) {
    let millis = Duration::from_millis;
    let config = ConnectionConfig::new()
        .ping_interval(millis(60))
        .pong_timeout(millis(300))
        .message_timeout(millis(500))
        .write_timeout(millis(100))
        .handler_timeout(millis(300))
        .close_timeout(millis(50))
        .max_outbound_bytes(NonZeroUsize::new(48 * 1024).unwrap());
    let mut run = Run::new(config);
    while let Some(operation) = Operation::read(&mut input) {
        run.apply(&operation).await;
        run.check();
    }
    run.finish().await;
}
