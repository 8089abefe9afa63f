//! What the fuzz targets begin with holds in every build, also where nobody fuzzes.

use std::{fs, future::Future, path::Path};

use super::driver_properties::config;
use crate::testing::driven::{operation, rooms};

/// The committed inputs of a fuzz target: a name and the bytes in hexadecimal on each line.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/seeds/{target}.txt"));
    let lines = fs::read_to_string(file).unwrap();
    let seeds: Vec<_> = lines.lines().map(|line| bytes(line.split_once(' ').unwrap().1)).collect();
    assert!(seeds.len() > 10, "{target}");
    seeds
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
}

// holds: I3, I4, I5, I6, I8
#[test]
fn every_seed_of_a_connection_holds() {
    for seed in seeds("connection") {
        run(async {
            let (mut input, mut run) = (&*seed, operation::Run::new(config(48 * 1024)));
            while let Some(operation) = operation::Operation::read(&mut input) {
                run.apply(&operation).await;
                run.check();
            }
            run.finish().await;
        });
    }
}

// holds: I2, I7, I8
#[test]
fn every_seed_of_the_rooms_holds() {
    for seed in seeds("rooms") {
        run(async {
            let (mut input, mut run) = (&*seed, rooms::Run::new().await);
            while let Some(operation) = rooms::Operation::read(&mut input) {
                run.apply(&operation).await;
            }
            run.finish().await;
        });
    }
}
