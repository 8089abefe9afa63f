//! See whether the reference server leaks or gives way, from outside and over hours.
//!
//! `scripts/soak` builds everything and runs this. It starts the server and holds many members in its
//! rooms, while visitors come and go in good and bad ways, others attack, and some do not read. Once a
//! minute it prints what the server has open; at the end all go, and everything must be as it was at
//! the start. With `--memory` it measures what a few kinds of attack make the server hold.
//!
//! It needs two processes' worth of open files (`ulimit -n`) and Linux's `/proc`.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

mod attacks;
mod crowd;
mod kinds;
mod memory;
mod peer;
mod run;
mod server;

/// Load and attack the reference server, and see what remains.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Options {
    /// The built reference server.
    #[arg(long)]
    server: PathBuf,
    /// Members that stay.
    #[arg(long, default_value_t = 15_000)]
    members: u64,
    /// Minutes, after all members are there.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Visitors each second, at most 1,000.
    #[arg(long, default_value_t = 60)]
    visitors: u64,
    /// Attacks each second, at most 1,000.
    #[arg(long, default_value_t = 20)]
    attacks: u64,
    /// Measure memory instead.
    #[arg(long)]
    memory: bool,
    /// Only the kinds with this in their names when measuring memory.
    #[arg(long, default_value = "")]
    kind: String,
    /// Peers of each kind when measuring memory.
    #[arg(long, default_value_t = 1000)]
    peers: usize,
    /// Seconds that each kind goes on when measuring memory.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let work = async {
        if options.memory {
            return memory::measure(&options).await;
        }
        run::soak(&options).await
    };
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        passed = work => Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        // The server ends with the work.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::FAILURE),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
    }
}

/// Of the server that is started here, and nobody else's.
const TOKEN: &str = "soak-token";
