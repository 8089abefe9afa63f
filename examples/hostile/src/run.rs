//! Run the attacks: most at the same time, those that use up shared limits one by one at the end.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    attacks::shares,
    catalogue::{self, Attack},
    options::Options,
    report,
    target::Target,
    verdict::{Trouble, Verdict},
};

/// The attacks of these rows, or all.
pub(crate) fn chosen(options: &Options) -> Result<Vec<&'static Attack>, String> {
    let rows = &options.only;
    for row in rows {
        if !catalogue::attacks().any(|it| it.row == *row) {
            return Err(format!("{row} is not a row that can be tried; --list prints those"));
        }
    }
    // It takes all there is, and so only if it was said from where to look.
    let unasked = |row| row != shares::ONE_ADDRESS || options.other_address.is_some();
    let wanted = |it: &&Attack| match rows.is_empty() {
        true => unasked(it.row),
        false => rows.iter().any(|row| row == it.row),
    };
    Ok(catalogue::attacks().filter(wanted).collect())
}

/// Whether the target is there and speaks the protocol that the options say. Without this, every
/// attack would fail to begin.
pub(crate) async fn probe(target: &Target) -> Result<(), String> {
    if let Err(error) = target.socket().await {
        return Err(format!("nothing answers at {}: {error}", target.authority));
    }
    let (room, text) = (target.name(), target.name());
    let heard = async {
        let mut peer = target.member(&room).await?;
        peer.say(&target.protocol.chat(&room, &text)).await;
        peer.hear(&text).await?;
        Ok(())
    };
    match heard.await {
        Ok(()) => Ok(()),
        Err(Trouble::NotTried(_)) if target.refused_as_too_many() > 0 => {
            Err(format!("the target answers with HTTP 429. {}", report::TOO_MANY))
        }
        Err(Trouble::NotTried(why)) => Err(format!("this is not the server it should be: {why}")),
        Err(Trouble::Found(_)) => Err("this is not the server it should be".to_owned()),
    }
}

/// What came of each.
pub(crate) async fn all(
    target: &Target,
    attacks: Vec<&'static Attack>,
) -> Vec<(&'static Attack, Verdict)> {
    let end = Instant::now() + target.bounds.total_timeout;
    let (alone, shared): (Vec<_>, Vec<_>) = attacks.into_iter().partition(|it| it.alone);
    let run = |attack| async move { (attack, one(target, attack, end).await) };
    let mut results = some_at_a_time(AT_ONCE, shared.into_iter().map(run)).await;
    for attack in alone {
        results.push(run(attack).await);
    }
    results
}

/// What comes of all `work`, in its order, of which no more than `limit` is done at a time.
pub(crate) async fn some_at_a_time<W: Future>(
    limit: usize,
    work: impl IntoIterator<Item = W>,
) -> Vec<W::Output> {
    let places = &Semaphore::new(limit);
    let placed = work.into_iter().map(|work| async move {
        let _place = places.acquire().await;
        work.await
    });
    join_all(placed).await
}

async fn one(target: &Target, attack: &Attack, end: Instant) -> Verdict {
    let left = end.saturating_duration_since(Instant::now());
    let limit = target.bounds.row_timeout.min(left);
    if limit == Duration::ZERO {
        return not_tried("there was no time left");
    }
    let verdict = match timeout(limit, (attack.run)(target)).await {
        Ok(verdict) => verdict,
        Err(_) => not_tried("it took too long"),
    };
    if target.is_spent() { not_tried("there was as much traffic as there may be") } else { verdict }
}

fn not_tried(why: &str) -> Verdict {
    Err(Trouble::NotTried(why.to_owned()))
}

/// Rows at a time. With the cases of each, still fewer sockets than a server allows one address.
const AT_ONCE: usize = 10;
