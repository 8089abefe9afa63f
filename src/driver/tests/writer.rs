//! Output to a socket that takes little.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use crate::{
    driver::{
        scanner::{FrameScanner, ScannerLimits},
        transport::Opaque,
        wire::Wire,
        writer::Writer,
        written::Written,
    },
    message::Message,
    outbound::{Dropped, OutboundLimits, Outlet},
};

struct Line {
    wire: Wire<Opaque<DuplexStream>>,
    writer: Writer,
    queue: Arc<Outlet>,
    peer: DuplexStream,
}

impl Line {
    fn new(bytes: usize) -> Self {
        let (peer, ours) = duplex(bytes);
        let limits = ScannerLimits {
            max_message: 1024,
            max_first_message: 1024,
            max_fragments: 8,
            control_burst: 8,
        };
        Self {
            wire: Wire::new(Opaque(ours), 1, FrameScanner::new(limits), None),
            writer: Writer::default(),
            queue: Arc::new(Outlet::new(OutboundLimits::of(1 << 30, 1000), None)),
            peer,
        }
    }

    fn push(&self, bytes: impl Into<Bytes>) {
        self.queue.push_reply(Message::binary(bytes), &mut Dropped::default()).unwrap();
    }

    fn poll(&mut self) -> Written {
        let mut cx = Context::from_waker(Waker::noop());
        self.writer.poll(&mut self.wire, &self.queue, &mut cx)
    }
}

/// Behind a backlog some of which has gone out since, a payload has to wait: it must not hold the
/// buffer that it is a piece of.
#[tokio::test]
async fn what_joins_a_backlog_owns_its_payload_too() {
    let mut line = Line::new(20_000);
    (0..10).for_each(|_| line.push(vec![0; 8_000]));
    assert_eq!(line.poll(), Written::Pending);
    let buffer = Bytes::from(vec![0; 60_000]);
    line.queue.push_reply(Message::binary(buffer.slice(..1)), &mut Dropped::default()).unwrap();
    line.peer.read_exact(&mut [0; 18_000]).await.unwrap();
    assert_eq!(line.poll(), Written::Pending);
    assert!(buffer.is_unique());
}
