//! Answer a message: with nothing, one message, several, or the end of the connection.

use std::{error::Error, fmt};

use tower::BoxError;

use crate::{
    close::{Close, CloseReason},
    foreign::Caught,
    message::Message,
};

/// The answer to one message: nothing, one message or several, to the peer that asked.
#[must_use]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply<R>(Messages<R>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Messages<R> {
    None,
    One(R),
    /// Dropped whole, also if one of them panics.
    Many(Vec<Caught<R>>),
}

/// Why a message was not handled.
#[non_exhaustive]
#[derive(Clone, Eq, PartialEq)]
pub enum Failure<R> {
    /// Answer with this message; the connection goes on.
    Reply(R),
    /// Close the connection.
    Close(Close),
}

/// What a handler returns: an answer of type `R`, or why there is none.
///
/// The error is a [`Failure`], which `?` makes of a [`Close`]. A handler that has an error of its own,
/// which becomes a [`Failure`], names it as `E`.
pub type HandlerResult<R = Message, E = Failure<R>> = Result<Reply<R>, E>;

impl<R> Reply<R> {
    /// No answer.
    pub const fn none() -> Self {
        Self(Messages::None)
    }

    /// One message.
    pub const fn one(message: R) -> Self {
        Self(Messages::One(message))
    }

    /// Several messages, in this order.
    pub fn many(messages: impl IntoIterator<Item = R>) -> Self {
        Self(Messages::Many(messages.into_iter().map(Caught::new).collect()))
    }

    /// Hands each message to `each`, in order. What is behind an error is dropped.
    ///
    /// # Errors
    ///
    /// The first error of `each`.
    pub(crate) fn try_for_each<E>(self, mut each: impl FnMut(R) -> Result<(), E>) -> Result<(), E> {
        match self.0 {
            Messages::None => Ok(()),
            Messages::One(message) => each(message),
            Messages::Many(messages) => {
                messages.into_iter().filter_map(Caught::into_inner).try_for_each(each)
            }
        }
    }

    /// The same answer, each message turned into another: what an encoding layer does.
    ///
    /// # Errors
    ///
    /// The first error of `map`.
    pub fn try_map<N, E>(self, mut map: impl FnMut(R) -> Result<N, E>) -> Result<Reply<N>, E> {
        Ok(Reply(match self.0 {
            Messages::None => Messages::None,
            Messages::One(message) => Messages::One(map(message)?),
            Messages::Many(messages) => {
                let messages = messages.into_iter().filter_map(Caught::into_inner);
                let mapped = messages.map(|message| Ok(Caught::new(map(message)?)));
                Messages::Many(mapped.collect::<Result<_, E>>()?)
            }
        }))
    }
}

impl<R> From<R> for Reply<R> {
    fn from(message: R) -> Self {
        Self::one(message)
    }
}

impl<R> From<Close> for Failure<R> {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// What stock tower layers fail with: their errors are boxed.
///
/// tower's `Elapsed` becomes [`CloseReason::HandlerTimeout`] and its `Overloaded`
/// [`CloseReason::Overloaded`]; a [`Failure`] or a [`Close`] that passed through is itself
/// again; anything else is [`CloseReason::HandlerFailed`].
impl<R: 'static> From<BoxError> for Failure<R> {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => *failure,
            Err(error) => Self::Close(error.into()),
        }
    }
}

impl From<BoxError> for Close {
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(close) => return *close,
            Err(error) => error,
        };
        if error.is::<tower::timeout::error::Elapsed>() {
            Self::because(CloseReason::HandlerTimeout)
        } else if error.is::<tower::load_shed::error::Overloaded>() {
            Self::OVERLOADED
        } else {
            Self::HANDLER_FAILED
        }
    }
}

impl<R> From<std::convert::Infallible> for Failure<R> {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl<R> fmt::Debug for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(_) => f.write_str("Reply(..)"),
            Self::Close(close) => write!(f, "{close:?}"),
        }
    }
}

impl<R> fmt::Display for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(_) => f.write_str("answered with an error reply"),
            Self::Close(close) => write!(f, "connection closed: {close}"),
        }
    }
}

impl<R> Error for Failure<R> {}
