//! The promises of the crate, over real sockets.
#![cfg(test)]

mod support_client;
mod support;
mod log;
mod handshake;
mod origin;
mod admission;
mod client_addr;
mod reachable;
mod auth_first;
mod auth_deadline;
mod auth_load;
mod auth_guessing;
mod frames;
mod frame_times;
mod frame_floods;
mod closing;
mod messages;
mod binary_codec;
mod chopping;
mod extremes;
mod rooms;
mod keyed;
mod heartbeat;
mod ghosts;

mod slow_line;
mod slow_members;
mod walks;
mod backpressure;
mod ping_flood;
mod budget;
mod fairness;
mod rate_limit;
mod rate_cost;
mod rate_wait;
mod publish_rate;
mod shared;
mod shared_login;
mod compose;
mod panics;
mod hooks;
mod runtime_end;
mod audit;
