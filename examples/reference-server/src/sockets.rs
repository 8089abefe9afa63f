//! Know how many sockets are still HTTP, and may become connections, to wait for them at the end.

use tokio::sync::watch;

/// The sockets that are still HTTP. Clones share the count.
#[derive(Clone)]
pub(crate) struct Sockets(watch::Sender<usize>);

/// One of them, until it is dropped.
pub(crate) struct Socket(watch::Sender<usize>);

impl Sockets {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Counts a socket in, until what is returned is dropped.
    pub(crate) fn socket(&self) -> Socket {
        self.0.send_modify(|count| *count += 1);
        Socket(self.0.clone())
    }

    /// Waits until there is none.
    pub(crate) async fn ended(&self) {
        // There is a sender: this one.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
