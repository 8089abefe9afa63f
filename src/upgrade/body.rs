//! Answer with the inner service's body, or with a fixed text.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::opaque::opaque_debug;

pin_project! {
    /// The body of a response that went through [`WebSocket`](super::WebSocket): the inner
    /// service's, or the fixed text of a refusal.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // Empty once it was read.
        Fixed { text: &'static str },
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    const fn fixed(text: &'static str) -> Self {
        Self { kind: Kind::Fixed { text } }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Fixed { text } => Poll::Ready(match mem::take(text) {
                "" => None,
                text => Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Fixed { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Fixed { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}

/// The empty body.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::fixed("")
    }
}

impl<B> From<&'static str> for ResponseBody<B> {
    fn from(text: &'static str) -> Self {
        Self::fixed(text)
    }
}

opaque_debug! { [B] ResponseBody<B>; }
