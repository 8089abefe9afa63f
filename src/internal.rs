//! What the crate's own fuzz targets, benchmarks and tests may call. No promises.

pub use crate::{
    connection::scanner::{FrameScanner, ProtocolViolation, ScannerLimits, Violation},
    message::json::from_str,
};
