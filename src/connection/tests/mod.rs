//! The state, on a clock of its own.

mod state_operation;
mod state;
mod state_stages;
mod state_edges;
mod state_properties;
