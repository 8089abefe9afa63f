//! The state on a clock of its own, and the driver over a socket of its own.

mod state_operation;
mod state;
mod state_stages;
mod state_edges;
mod unread;
mod state_properties;
mod support;
mod turns;
mod contexts;
mod backpressure;
mod ending;
mod faults;
mod driver_properties;
mod auth_properties;
mod seeds;
mod corners;
mod writer;
mod ping;
mod drops;
mod flushing;
mod scanner;
mod scanner_oracle;
mod scanner_reports;
mod scanner_streams;
