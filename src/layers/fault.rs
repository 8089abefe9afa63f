//! Say what was wrong with a message, and where, without a word of the peer's.
//!
//! A record or an answer that only says "not what the schema says" is no help; one that quotes what
//! was sent carries the peer's text to where it does not belong. So everything here is a constant of
//! the server's: a [`Fault`], the names of fields as the *type* has them, and the words of a
//! [`Constraint`].

use std::{cell::Cell, error::Error, fmt, fmt::Write as _};

/// The kind of thing that was wrong with a message. `Display` gives words for people.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A binary message where text is spoken.
    Binary,
    /// A text message where binary is spoken.
    Text,
    /// Not JSON.
    Syntax,
    /// A string with half a surrogate pair: half an emoji, as a program cuts it.
    Surrogate,
    /// JSON, but no object.
    NotAnObject,
    /// Nested too deeply.
    TooDeep,
    /// An object with too many keys.
    TooManyKeys,
    /// Too many values in all.
    TooManyValues,
    /// A key that occurs twice in one object.
    DuplicateKey,
    /// A field that must be there is not.
    Missing,
    /// A field, or a field here, that the type does not have.
    UnknownField,
    /// A value of another type: a number for a string.
    WrongType,
    /// A name that is none of those that the type has.
    UnknownVariant,
    /// A value of the right type that is out of range, or breaks a [`Constraint`].
    InvalidValue,
    /// Anything else.
    Schema,
}

/// What a value has to be, in the words of the application's own type.
///
/// A `Deserialize` that refuses a value with `serde::de::Error::custom(constraint)` has its words in the
/// [`DecodeError`](crate::layers::DecodeError), for the audit record and the answer to the peer; of
/// any other error text nothing is kept, because it may quote the peer. An error of the
/// application's own may show the constraint within its text, as long as no more than 256 bytes of it
/// come before.
///
/// # Example
///
/// ```
/// use serde::{Deserialize, Deserializer, de};
/// use tower_websocket::{Json, Message, layers::{Constraint, Decode, DecodeError, Fault}};
///
/// /// A whole number from 1 to 6.
/// struct Pips(u8);
///
/// impl<'de> Deserialize<'de> for Pips {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         match u8::deserialize(deserializer)? {
///             pips @ 1..=6 => Ok(Self(pips)),
///             _ => Err(de::Error::custom(Constraint::new("not from 1 to 6"))),
///         }
///     }
/// }
///
/// #[derive(Deserialize)]
/// struct Throw {
///     dice: Vec<Pips>,
/// }
///
/// let thrown: Result<Throw, DecodeError> =
///     Json::default().decode(&Message::text(r#"{"dice":[3,7]}"#));
/// let error = thrown.err().unwrap();
/// assert_eq!(error.fault(), Fault::InvalidValue);
/// assert_eq!(error.field(), Some("dice[1]"));
/// assert_eq!(error.constraint(), Some("not from 1 to 6"));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Constraint {
    words: &'static str,
    fault: Fault,
    /// The field it is about, if it is not that of the value.
    field: Option<&'static str>,
}

/// An error whose text is replaced by a constant: other parsers than [`Json`](crate::layers::Json) quote
/// what they read. What the types here have to say passes.
#[derive(Debug)]
pub(crate) struct Reworded<E>(pub(crate) E, pub(crate) &'static str);

impl<E: fmt::Display> fmt::Display for Reworded<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = write!(Discarding { left: MAX_TEXT }, "{}", self.0);
        f.write_str(self.1)
    }
}

/// What was wrong, and where, as far as that can be said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LocatedFault {
    pub(super) fault: Fault,
    words: Option<&'static str>,
    path: Path,
}

/// Where a fault is, and the words for it, where there are any: one pointer in an error that is handed
/// around.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Details(Option<Box<DetailFields>>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct DetailFields {
    field: Option<Box<str>>,
    constraint: Option<&'static str>,
}

/// The way to a field from the inside out: an error learns it on its way up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Path {
    steps: [Option<Step>; STEPS],
    len: usize,
}

/// One step of the way: the names are the type's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Field(&'static str),
    /// An element of an array.
    Index(u32),
    /// An entry of a map, whose keys are the peer's.
    Entry,
}

impl Fault {
    /// What audit records call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
            Self::Syntax => "syntax",
            Self::Surrogate => "surrogate",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::TooManyKeys => "too_many_keys",
            Self::TooManyValues => "too_many_values",
            Self::DuplicateKey => "duplicate_key",
            Self::Missing => "missing",
            Self::UnknownField => "unknown_field",
            Self::WrongType => "wrong_type",
            Self::UnknownVariant => "unknown_variant",
            Self::InvalidValue => "invalid_value",
            Self::Schema => "schema",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary, where text is spoken",
            Self::Text => "text, where binary is spoken",
            Self::Syntax => "not JSON",
            Self::Surrogate => "half a surrogate pair",
            Self::NotAnObject => "not an object",
            Self::TooDeep => "nested too deeply",
            Self::TooManyKeys => "too many keys",
            Self::TooManyValues => "too many values",
            Self::DuplicateKey => "a key that occurs twice",
            Self::Missing => "missing",
            Self::UnknownField => "an unknown field",
            Self::WrongType => "of the wrong type",
            Self::UnknownVariant => "none of the known names",
            Self::InvalidValue => "not a valid value",
            Self::Schema => "not what the schema says",
        })
    }
}

impl Constraint {
    /// A value is refused because it is `words`: `longer than 1,000 characters`, `not from 1 to 6`.
    pub const fn new(words: &'static str) -> Self {
        Self { words, fault: Fault::InvalidValue, field: None }
    }

    /// The words.
    pub const fn as_str(&self) -> &'static str {
        self.words
    }

    /// The value is none of the names that the type has.
    pub(crate) const fn unknown_variant(words: &'static str) -> Self {
        Self { words, fault: Fault::UnknownVariant, field: None }
    }

    /// The type has the field `name`, but not here.
    pub(crate) const fn misplaced(name: &'static str) -> Self {
        let words = "not a field of this type of message";
        Self { words, fault: Fault::UnknownField, field: Some(name) }
    }
}

/// The words. An error that is made of it finds the rest.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = LocatedFault { words: Some(self.words), ..LocatedFault::of(self.fault) };
        self.field.map_or(fault, |name| fault.at(Step::Field(name))).stash();
        f.write_str(self.words)
    }
}

impl Error for Constraint {}

impl Details {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn field(&self) -> Option<&str> {
        self.0.as_ref()?.field.as_deref()
    }

    pub(super) fn constraint(&self) -> Option<&'static str> {
        self.0.as_ref()?.constraint
    }
}

impl LocatedFault {
    pub(super) const fn of(fault: Fault) -> Self {
        Self { fault, words: None, path: Path { steps: [None; STEPS], len: 0 } }
    }

    /// The same, seen from one step further out. What is deeper than the path is long is told without
    /// its outermost steps.
    pub(super) fn at(mut self, step: Step) -> Self {
        if let Some(free) = self.path.steps.get_mut(self.path.len) {
            *free = Some(step);
        }
        self.path.len = self.path.len.saturating_add(1);
        self
    }

    pub(super) fn details(&self) -> Details {
        let (field, constraint) = (self.field(), self.words);
        let found = field.is_some() || constraint.is_some();
        Details(found.then(|| Box::new(DetailFields { field, constraint })))
    }

    /// Where: `dice[1]`, `items[3].name`, `seats.*.user`; nothing if it is about the whole message. At
    /// most 128 bytes.
    fn field(&self) -> Option<Box<str>> {
        let mut field = String::new();
        if self.path.len > STEPS {
            field.push_str("..");
        }
        for step in self.path.steps.iter().rev().flatten() {
            let before = field.len();
            let first = field.is_empty() || field.ends_with("..");
            let dot = if first { "" } else { "." };
            let written = match step {
                Step::Field(name) if name.len() > LONGEST => Err(fmt::Error),
                Step::Field(name) => write!(field, "{dot}{name}"),
                Step::Entry => write!(field, "{dot}*"),
                Step::Index(index) => write!(field, "[{index}]"),
            };
            if written.is_err() || field.len() > LONGEST - 2 {
                field.truncate(before);
                field.push_str("..");
                break;
            }
        }
        (!field.is_empty()).then(|| field.into())
    }

    /// Leaves it for [`stashed_by`](Self::stashed_by), when this is formatted.
    pub(super) fn stash(&self) {
        let _ = STASHED.try_with(|stashed| stashed.set(Some(*self)));
    }

    /// What `message` has to say for itself, if one of the types here is in it. Its text is thrown
    /// away as it is written, and not much of it is asked for.
    pub(super) fn stashed_by(message: impl fmt::Display) -> Option<Self> {
        let _ = STASHED.try_with(|stashed| stashed.set(None));
        let _ = write!(Discarding { left: MAX_TEXT }, "{message}");
        STASHED.try_with(Cell::take).ok().flatten()
    }
}

thread_local! {
    /// What the last of these types that was formatted has to say. An error of serde's is made of
    /// something that can be formatted, and of nothing else: this is the way past its text.
    static STASHED: Cell<Option<LocatedFault>> = const { Cell::new(None) };
}

/// Takes a text and keeps nothing.
struct Discarding {
    left: usize,
}

impl fmt::Write for Discarding {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Messages nest three to six deep.
const STEPS: usize = 8;

/// In bytes, of a path: several names, and one line of a log.
const LONGEST: usize = 128;

/// In bytes, of a text that may have a constraint in it.
const MAX_TEXT: usize = 256;
