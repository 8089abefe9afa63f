//! `Debug` for types that hold functions, services or futures: the name, and nothing of what is inside.

/// Implements `Debug` for each type; the brackets hold its parameters with their bounds.
macro_rules! opaque_debug {
    ($([$($parameters:tt)*] $name:ident $(<$($argument:ident),+>)?;)+) => {$(
        impl<$($parameters)*> ::std::fmt::Debug for $name $(<$($argument),+>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

pub(crate) use opaque_debug;
