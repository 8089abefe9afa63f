//! The attacks, and what several of them have in common.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    http::Request,
    peer::{End, Peer},
    run::some_at_a_time,
    target::Target,
    verdict::{Trouble, Verdict, Weight, found, together},
    wire::text,
};

pub(crate) mod handshake;
pub(crate) mod requests;
pub(crate) mod origin;
pub(crate) mod limits;
pub(crate) mod shares;
pub(crate) mod auth;
pub(crate) mod auth_clock;
pub(crate) mod guessing;
pub(crate) mod rooms;
pub(crate) mod frames;
pub(crate) mod close_frames;
pub(crate) mod messages;
pub(crate) mod texts;
pub(crate) mod json;
pub(crate) mod delivery;
pub(crate) mod floods;
pub(crate) mod hygiene;

/// Runs every case, several at a time.
async fn each<T, F>(cases: impl IntoIterator<Item = T>, run: impl Fn(T) -> F) -> Verdict
where
    F: Future<Output = Verdict>,
{
    together(some_at_a_time(CASES_AT_ONCE, cases.into_iter().map(run)).await)
}

/// Each request must be answered with its status.
async fn each_answered(
    target: &Target,
    cases: impl IntoIterator<Item = (impl Into<String>, Request, u16)>,
) -> Verdict {
    each(cases, async |(name, request, status)| {
        let (head, _peer) = target.ask(&request).await?;
        let weight = match head.status {
            it if it == status => return Ok(()),
            101 => Weight::Broken,
            _ => Weight::WrongAnswer,
        };
        let sent = format!("a handshake with {}: {request}", name.into());
        found(weight, sent, head.to_string(), status.to_string())
    })
    .await
}

/// Who sends something.
#[derive(Clone, Copy)]
enum By {
    /// A connection that has not logged in.
    Stranger,
    User,
}

/// Each of `stimuli` must end its connection with one of `codes`.
async fn each_ends(
    target: &Target,
    by: By,
    stimuli: impl IntoIterator<Item = Vec<u8>>,
    codes: &[u16],
) -> Verdict {
    let never = [target.protocol.welcome(), target.protocol.joined()];
    each(stimuli, async |stimulus| {
        let mut peer = match by {
            By::Stranger => target.stranger().await?,
            By::User => target.user(&target.name()).await?,
        };
        peer.send(&stimulus).await;
        peer.must_close(codes, &never).await
    })
    .await
}

/// Each text, from a member of `{room}`, must close its connection with 1008 and reach no member: neither
/// in that room nor in `{other}`, where its sender is no member. `{text}` is what to listen for.
async fn each_unheard(target: &Target, texts: impl IntoIterator<Item = String>) -> Verdict {
    each(texts, async |template| {
        let (room, other, mark) = (target.name(), target.name(), target.name());
        let mut witnesses = Vec::new();
        for room in [&room, &other] {
            witnesses.push((target.member(room).await?, room));
        }
        let mut attacker = target.member(&room).await?;
        let said = template.replace("{room}", &room).replace("{other}", &other);
        attacker.send(&text(said.replace("{text}", &mark))).await;
        let mut verdicts =
            vec![attacker.must_close(&[1008], &[target.protocol.joined(), &mark]).await];
        for (witness, room) in &mut witnesses {
            verdicts.push(silent(target, witness, room, &mark, &attacker.sent()).await);
        }
        together(verdicts)
    })
    .await
}

/// The member of `room` has heard nothing with `mark` in it by the time that it hears itself.
async fn silent(
    target: &Target,
    witness: &mut Peer<'_>,
    room: &str,
    mark: &str,
    sent: &str,
) -> Verdict {
    let own = target.name();
    witness.say(&target.protocol.chat(room, &own)).await;
    let deadline = Instant::now() + 3 * target.patience();
    while let Some(frame) = witness.next(deadline).await {
        let heard = String::from_utf8_lossy(&frame.payload);
        if heard.contains(mark) {
            return found(
                Weight::Broken,
                sent,
                format!("the room heard {heard}"),
                "nobody hears it",
            );
        }
        if heard.contains(&own) {
            return Ok(());
        }
    }
    Err(Trouble::NotTried("a member of the room does not hear itself".to_owned()))
}

/// Sends `piece` again and again, so that the connection is never quiet, until the server has ended
/// it: with `code`, when `limit` has passed.
async fn nag(
    target: &Target,
    peer: &mut Peer<'_>,
    piece: &[u8],
    limit: Duration,
    every: Duration,
    code: u16,
) -> Verdict {
    let start = Instant::now();
    let mut end = End::default();
    while end.closes.is_empty() && !end.over && start.elapsed() < limit + target.patience() {
        peer.send(piece).await;
        end = peer.end_within(every).await;
    }
    end.took = start.elapsed();
    peer.judge(&end, &[code], &[])?;
    in_time(peer, &end, limit)
}

/// The end did not come long before it was due. How late it may be is a matter of patience.
fn in_time(peer: &Peer<'_>, end: &End, limit: Duration) -> Verdict {
    if end.took < limit.mul_f64(0.8) {
        let expected = format!("the same after {} ms", limit.as_millis());
        return found(Weight::WrongAnswer, peer.sent(), end.describe(), expected);
    }
    Ok(())
}

/// Cases of a row at a time.
const CASES_AT_ONCE: usize = 6;
