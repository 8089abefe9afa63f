//! Give back what a container was once as large as.
//!
//! A container keeps the room that it had at its peak, and who fills it for a moment has made it that
//! large for good. One of which no more than a quarter is used gives half of it back: so it is never
//! more than four times as large as what is in it, and moving costs each removal a constant.

/// What a container of this `capacity` with `len` entries is to shrink to, if it is to. Room for `kept`
/// is never given back: growing again would cost more than it saves.
pub(crate) fn smaller(len: usize, capacity: usize, kept: usize) -> Option<usize> {
    let to = (capacity / 2).max(kept);
    (len <= capacity / 4 && to < capacity).then_some(to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // covers: RM-17
        #[test]
        fn four_times_what_is_used_is_the_most_that_is_kept(
            changes in prop::collection::vec((any::<bool>(), 1_usize..200), 1..50),
        ) {
            let mut full = Vec::new();
            for (grows, by) in changes {
                for n in 0..by {
                    if grows {
                        full.push(n);
                    } else {
                        full.pop();
                        if let Some(capacity) = smaller(full.len(), full.capacity(), 4) {
                            full.shrink_to(capacity);
                        }
                    }
                }
                let most = (4 * full.len()).max(8);
                prop_assert!(full.capacity() <= most, "{} for {}", full.capacity(), full.len());
            }
        }
    }
}
