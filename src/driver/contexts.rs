//! Keep a few protocol contexts for the connections of a thread.
//!
//! A context has a buffer of its own and the state of a message that is under way. Between messages there
//! is neither, and one connection's is as good as another's: it goes back here, so that a connection that
//! is quiet holds none.

use std::cell::RefCell;

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

/// A context that is lent to a connection.
pub(super) type Context = Box<WebSocketContext>;

/// A context that keeps to `config`.
pub(super) fn take(config: WebSocketConfig) -> Context {
    let spare = SPARE.with(|spare| spare.try_borrow_mut().ok()?.pop());
    match spare {
        Some(mut context) => {
            context.set_config(|it| *it = config);
            context
        }
        None => Box::new(WebSocketContext::new(Role::Server, Some(config))),
    }
}

/// `context` is between messages, was not told to close, and its buffer has not grown. An answer that it
/// would give to a ping goes nowhere, whosever it is.
pub(super) fn give_back(context: Context) {
    SPARE.with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < SPARE_CONTEXTS
        {
            spare.push(context);
        }
    });
}

/// What the context of a connection keeps to that takes messages of up to `max_message` bytes.
pub(super) fn config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_SIZE)
        // It writes nothing that is kept.
        .write_buffer_size(0)
        .max_message_size(Some(max_message))
        // A ping may be longer than a message may be.
        .max_frame_size(Some(max_message.max(MAX_CONTROL)))
        .accept_unmasked_frames(false)
}

thread_local! {
    static SPARE: RefCell<Vec<Context>> = const { RefCell::new(Vec::new()) };
}

/// One connection of a thread reads at a time; a few more are in the middle of a message.
const SPARE_CONTEXTS: usize = 4;

/// What a context reads at a time. It zero-fills that much at every read.
const READ_SIZE: usize = 1024;

/// The most payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;
