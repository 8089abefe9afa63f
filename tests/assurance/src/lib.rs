//! What the documents say is shown by tests, and what the tests say that they show. The tests of this
//! package compare the two.

pub mod document;
pub mod evidence;
