//! A room service with several connections at once, against a plain model of who hears what.
//!
//! Stack, drivers and queues are the real ones; sockets are in memory and take as much as an operation
//! lets them. What is compared is what is on each peer's wire.

pub use self::{
    operation::{LIVE, Operation, PEERS, ROOMS, Saying, Verdict},
    run::Run,
};

mod operation;
mod service;
mod peer;
mod model;
mod run;
