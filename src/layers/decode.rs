//! Refuse messages that are not what the endpoint's schema says, and hand on the rest as a type.

use std::{
    any::TypeId,
    marker::PhantomData,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    audit::Refused,
    close::Close,
    connection::Connection,
    layers::{
        Anonymous, Authenticated, Decode, DecodeError, Encode, Failure, HandlerResult, Inbound,
        Json, Reply,
        binding::Binding,
        future::{Answer, ResponseFuture},
        ready_on_call::ReadyOnCall,
    },
    message::Message,
    opaque::opaque_debug,
};

/// Layer that applies [`DecodeMessage`].
///
/// `Who` says whose messages are decoded: [`Authenticated`] senders' by default.
/// [`DecodeLayer`] turns each message into an application's type `T` with a codec ([`Json`] unless
/// told otherwise), and the handler's answers back into messages. What does not decode closes the
/// connection: 1003 for binary where text is spoken, or text where binary is; 1008 for anything else.
/// A layer made with [`DecodeLayer::reply_invalid`] answers with an error message instead, and closes
/// after so many in a row.
///
/// Only authenticated messages are decoded: the layer is a service for
/// [`Authenticated`] senders, so a stack without
/// [`RequireAuthLayer`](crate::RequireAuthLayer) outside of it does not compile. An endpoint for
/// everybody says so with [`DecodeLayer::anonymous`].
///
/// # Example
///
/// ```
/// use tower_websocket::DecodeLayer;
///
/// #[derive(serde::Deserialize)]
/// #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
/// enum ClientMessage {
///     Say { text: String },
/// }
///
/// let layer = DecodeLayer::<ClientMessage>::json();
/// # let _ = layer;
/// ```
#[must_use]
pub struct DecodeLayer<T, C = Json, Who = OnlyAuthenticated> {
    codec: Arc<C>,
    on_invalid: OnInvalid,
    marker: PhantomData<fn() -> (T, Who)>,
}

/// Whose messages a [`DecodeLayer`] reads: those of senders that have shown `P`.
///
/// There is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`DecodeLayer` reads messages of `Authenticated` senders only, and not of `{P}`",
    label = "decodes before anybody is authenticated",
    note = "`RequireAuthLayer` stands in front of `DecodeLayer`",
    note = "an endpoint that is open to everybody says so: `DecodeLayer::<T>::json().anonymous()`, and its \
            handler takes `Inbound<T, Anonymous>`"
)]
pub trait Reads<P> {}

impl<U> Reads<Authenticated<U>> for OnlyAuthenticated {}
impl Reads<Anonymous> for Everybody {}

/// Messages of authenticated senders only.
#[derive(Debug)]
#[non_exhaustive]
pub struct OnlyAuthenticated;

/// Messages of anybody.
#[derive(Debug)]
#[non_exhaustive]
pub struct Everybody;

/// What to do with a message that does not decode.
#[derive(Clone)]
enum OnInvalid {
    Close,
    Reply { make: Arc<MakeReply>, close_after: NonZeroU32 },
}

type MakeReply = dyn Fn(&DecodeError) -> Result<Message, Close> + Send + Sync;

impl<T> DecodeLayer<T> {
    /// Decodes JSON within the default [`JsonLimits`](crate::JsonLimits).
    pub fn json() -> Self {
        Self::new(Json::default())
    }
}

impl<T, C> DecodeLayer<T, C> {
    /// Decodes with `codec`.
    pub fn new(codec: C) -> Self {
        Self { codec: Arc::new(codec), on_invalid: OnInvalid::Close, marker: PhantomData }
    }

    /// Decodes everybody's messages: for endpoints that are open to the public.
    pub fn anonymous(self) -> DecodeLayer<T, C, Everybody> {
        DecodeLayer { codec: self.codec, on_invalid: self.on_invalid, marker: PhantomData }
    }
}

impl<T, C, Who> DecodeLayer<T, C, Who> {
    /// Answers an invalid message with `make`'s, and closes at the `close_after`th in a row.
    ///
    /// The error says what was wrong, and nothing of what was sent: its
    /// [`field`](DecodeError::field), its [`fault`](DecodeError::fault) and the
    /// [`constraint`](DecodeError::constraint) of the field's type may go into the answer as they are,
    /// or all of it as its `Display`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use serde::{Deserialize, Serialize};
    /// use tower_websocket::DecodeLayer;
    ///
    /// #[derive(Deserialize)]
    /// struct Say { text: String }
    ///
    /// #[derive(Serialize)]
    /// struct Invalid { error: String }
    ///
    /// let layer = DecodeLayer::<Say>::json().reply_invalid(
    ///     // `text: missing`
    ///     |error| Invalid { error: error.to_string() },
    ///     NonZeroU32::new(5).unwrap(),
    /// );
    /// # let _ = layer;
    /// ```
    pub fn reply_invalid<R>(
        mut self,
        make: impl Fn(&DecodeError) -> R + Send + Sync + 'static,
        close_after: NonZeroU32,
    ) -> Self
    where
        C: Encode<R>,
    {
        let codec = Arc::clone(&self.codec);
        let make = move |error: &DecodeError| Ok(codec.encode(&make(error))?);
        self.on_invalid = OnInvalid::Reply { make: Arc::new(make), close_after };
        self
    }
}

impl<T, C, Who, S> Layer<S> for DecodeLayer<T, C, Who> {
    type Service = DecodeMessage<S, T, C, Who>;

    fn layer(&self, inner: S) -> Self::Service {
        let (inner, binding) = (ReadyOnCall::new(inner), Binding::default());
        DecodeMessage { inner, layer: self.clone(), binding, invalid_in_row: 0 }
    }
}

/// Decodes messages and encodes answers.
///
/// See [`DecodeLayer`].
pub struct DecodeMessage<S, T, C = Json, Who = OnlyAuthenticated> {
    inner: ReadyOnCall<S>,
    layer: DecodeLayer<T, C, Who>,
    binding: Binding,
    invalid_in_row: u32,
}

impl<S, T, C, Who> DecodeMessage<S, T, C, Who>
where
    C: Decode<T>,
{
    /// The typed message, or the answer to one that is none.
    fn decode(
        &mut self,
        message: &Message,
        connection: &Connection,
    ) -> Result<T, Failure<Message>> {
        if self.binding.is_new() {
            connection.set_codec(TypeId::of::<C>());
        }
        // The count is the connection's own: it is not closed for what others sent.
        let _own = self.binding.admit("decode", connection)?;
        let error = match self.layer.codec.decode(message) {
            Ok(typed) => {
                self.invalid_in_row = 0;
                return Ok(typed);
            }
            Err(error) => error,
        };
        self.invalid_in_row = self.invalid_in_row.saturating_add(1);
        connection.refuse_as(error.rule(), || Refused {
            observed: u64::try_from(message.len()).ok(),
            fault: Some(error.fault().as_str()),
            field: error.field().map(Arc::from),
            constraint: error.constraint(),
            ..Refused::by("decode", error.rule())
        });
        match &self.layer.on_invalid {
            OnInvalid::Reply { make, close_after } if self.invalid_in_row < close_after.get() => {
                Err(make(&error).map_or_else(Failure::Close, Failure::Reply))
            }
            _ => Err(Failure::Close(error.into())),
        }
    }
}

impl<S, T, C, Who, P, R> Service<Inbound<Message, P>> for DecodeMessage<S, T, C, Who>
where
    Who: Reads<P>,
    S: Service<Inbound<T, P>, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
    C: Decode<T> + Encode<R>,
{
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = ResponseFuture<S, Inbound<T, P>, Message, Encoded<C>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<Message, P>) -> Self::Future {
        let (message, proof, connection) = inbound.into_parts();
        match self.decode(&message, &connection) {
            Ok(typed) => {
                // The payload is a slice of the read buffer: not held while the handler runs.
                drop(message);
                let inbound = Inbound::new(typed, proof, connection);
                self.inner.call(inbound, Encoded(Arc::clone(&self.layer.codec)))
            }
            Err(failure) => ResponseFuture::refused(failure),
        }
    }
}

impl<T, C, Who> Clone for DecodeLayer<T, C, Who> {
    fn clone(&self) -> Self {
        Self {
            codec: Arc::clone(&self.codec),
            on_invalid: self.on_invalid.clone(),
            marker: PhantomData,
        }
    }
}

opaque_debug! {
    [T, C, Who] DecodeLayer<T, C, Who>;
    [S, T, C, Who] DecodeMessage<S, T, C, Who>;
}

/// The answer is the service's, encoded with `C`.
#[derive(Debug)]
pub struct Encoded<C>(Arc<C>);

impl<C: Encode<R>, R> Answer<R, Message> for Encoded<C> {
    fn answer(&mut self, inner: HandlerResult<R>) -> HandlerResult<Message> {
        let codec = &*self.0;
        match inner {
            Ok(reply) => reply
                .try_map(|message| codec.encode(&message))
                .map_err(|error| Failure::Close(error.into())),
            Err(failure) => Err(encode_failure(codec, failure)),
        }
    }
}

fn encode_failure<R>(codec: &impl Encode<R>, failure: Failure<R>) -> Failure<Message> {
    match failure {
        Failure::Reply(message) => match codec.encode(&message) {
            Ok(message) => Failure::Reply(message),
            Err(error) => Failure::Close(error.into()),
        },
        Failure::Close(reason) => Failure::Close(reason),
    }
}
