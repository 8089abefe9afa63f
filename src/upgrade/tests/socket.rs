//! The promises of `tests/it` before there is a connection stage.
//!
//! The files are those of the integration tests; only `echo` is ours. Once
//! `WebSocketLayer::new` exists they belong into `tests/it/main.rs`, and this file, `echo.rs` and
//! the `extern crate self` in `lib.rs` go.

#[path = "."]
mod it {
    #[path = "echo.rs"]
    mod echo;

    #[path = "../../../tests/it/support_http.rs"]
    mod support_http;

    #[path = "../../../tests/it/handshake.rs"]
    mod handshake;

    #[path = "../../../tests/it/origin.rs"]
    mod origin;

    #[path = "../../../tests/it/admission.rs"]
    mod admission;
}
