//! Go through the orders in which calls can come, each of which is a critical section.
//!
//! A world is plain data; it is built anew for each order and led along it. Where several could go on, each
//! does, in an order of its own, unless the world has been in the same state before: so all orders are
//! looked at, to the depth that is asked for. Beyond, one is drawn, always the same.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// Something made of critical sections.
pub(crate) trait World {
    /// Who can go on now, and how.
    fn able(&self) -> Vec<usize>;

    /// Lets one of them.
    fn act(&mut self, who: usize);

    /// Everything that decides what can happen from here on.
    fn state(&self, into: &mut impl Hasher);

    /// Nobody can go on.
    fn rests(&self);
}

/// Leads worlds along all orders; returns how many states there were.
pub(crate) fn explore<W: World>(depth: usize, new: impl Fn() -> W) -> usize {
    let mut seen = HashSet::new();
    let mut paths = vec![Vec::new()];
    while let Some(mut path) = paths.pop() {
        let mut world = new();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            path.iter().for_each(|who| world.act(*who));
            follow(depth, &mut world, &mut path, &mut paths, &mut seen);
        }));
        if let Err(panic) = ended {
            eprintln!("after {path:?}");
            resume_unwind(panic);
        }
        assert!(seen.len() < MOST, "more states than there is time for");
    }
    seen.len()
}

fn follow<W: World>(
    depth: usize,
    world: &mut W,
    path: &mut Vec<usize>,
    paths: &mut Vec<Vec<usize>>,
    seen: &mut HashSet<u64>,
) {
    // Along the path itself, the last call has not been looked at yet.
    while path.is_empty() || path.len() > depth || seen.insert(hash_of(&*world)) {
        let mut able = world.able();
        if able.is_empty() {
            return world.rests();
        }
        let next = if path.len() < depth {
            able.swap_remove(0)
        } else {
            able.swap_remove(draw(path, able.len()))
        };
        if path.len() < depth {
            paths.extend(able.into_iter().map(|who| [&path[..], &[who]].concat()));
        }
        path.push(next);
        assert!(path.len() < ENDLESS, "it does not come to rest");
        world.act(next);
    }
}

fn hash_of(world: &impl World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.state(&mut hasher);
    hasher.finish()
}

/// One of so many, drawn by what came before.
fn draw(path: &[usize], most: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    usize::try_from(hasher.finish() % most as u64).unwrap()
}

/// Calls: a world of the tests here comes to rest long before.
const ENDLESS: usize = 1_000;

/// States: some seconds of an unoptimised build.
const MOST: usize = 400_000;
