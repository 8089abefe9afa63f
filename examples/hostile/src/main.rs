//! Attack a WebSocket room server from outside, row by row of the catalogue of attacks.
//!
//! ```text
//! cargo run --release -p hostile -- ws://127.0.0.1:8080/ws
//! ```
//!
//! It speaks raw bytes on plain TCP and knows nothing of the target but the URL, a token, and the shape
//! of the room protocol, which options set: the defaults fit the reference server. What the target did
//! not withstand is printed with what was sent, what came back, what was expected, and the name of the
//! test that is missing. `docs/assurance/attacks.md` has all rows.
//!
//! To add a row, write an `Attack` into the table of one of the files in `attacks`.

use std::process::ExitCode;

use clap::Parser;

use crate::{options::Options, target::Target};

mod options;
mod catalogue;
mod run;
mod report;
mod verdict;
mod target;
mod protocol;
mod http;
mod peer;
mod wire;
mod attacks;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        report::list();
        return ExitCode::SUCCESS;
    }
    let code = attack(&options).await.unwrap_or_else(|problem| {
        eprintln!("hostile: {problem}");
        report::MISUSE
    });
    ExitCode::from(code)
}

/// The exit code.
async fn attack(options: &Options) -> Result<u8, String> {
    let attacks = run::chosen(options)?;
    let target = Target::new(options).await?;
    run::probe(&target).await?;
    let results = run::all(&target, attacks).await;
    Ok(report::print(&target, &results, options.only.is_empty()))
}
