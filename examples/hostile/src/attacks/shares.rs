//! Taking for one address what all share.

use futures_util::future::join;
use tokio::time::{Instant, sleep};

use crate::{
    catalogue::Attack,
    http::Request,
    run::some_at_a_time,
    target::Target,
    verdict::{Severity::*, Trouble, Verdict, Weight, found},
};

use super::each;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "HS-31",
        severity: P1,
        name: "ask for pages and never read them",
        test: "a socket that asks and never reads is hung up on",
        alone: false,
        run: |target| Box::pin(never_reads(target)),
    },
    Attack {
        row: ONE_ADDRESS,
        severity: P1,
        name: "open and hang up until nobody else gets in",
        test: "one address that opens and hangs up keeps nobody out",
        alone: true,
        run: |target| Box::pin(opens_and_hangs_up(target)),
    },
];

/// What asks and does not read is let go of, before it would have read everything.
async fn never_reads(target: &Target) -> Verdict {
    let page = Request::get(&target.page).set("Host", &[&target.authority]).bytes();
    // As one who asks once, and as one who goes on asking.
    each([ASKED, 1], async |at_once| {
        let limit = target.limits.http_timeout;
        let mut peer = target.narrow_socket().await?;
        let (start, mut asked) = (Instant::now(), 0);
        let mut open = true;
        while start.elapsed() < limit + target.patience() {
            if open && asked < ASKED {
                // What it has got room for.
                open = peer.send_unread(&page.repeat(at_once));
                asked += at_once;
            }
            sleep(target.patience() / 20).await;
        }
        let (answers, over) = peer.rest(target.patience()).await;
        // It has waited for the peer if it goes on with what no kernel has kept for it.
        let count = answers.windows(ANSWER.len()).filter(|it| it == &ANSWER).count();
        let waited = count >= asked && answers.len() > KEPT_BY_A_KERNEL;
        if over && !waited {
            return Ok(());
        }
        let sent = format!("{asked} requests for {}, and nothing was read meanwhile", target.page);
        let came =
            format!("{count} answers later, {}", if over { "the end" } else { "still open" });
        let expected = format!("the end after {} ms", limit.as_millis());
        found(Weight::Broken, sent, came, expected)
    })
    .await
}

/// Meanwhile another address gets in, each time.
async fn opens_and_hangs_up(target: &Target) -> Verdict {
    let Some(other) = target.other_address else {
        return Err(Trouble::NotTried("there is no other address to look from".to_owned()));
    };
    let request = target.handshake().bytes();
    let taken = async |_| {
        let Ok(mut peer) = target.socket().await else { return false };
        peer.send(&request).await;
        peer.head().await.status == 101
    };
    let take = some_at_a_time(AT_ONCE, (0..HANDSHAKES).map(taken));
    let look = async {
        let mut refused = Vec::new();
        for _ in 0..LOOKS {
            sleep(target.patience() / LOOKS).await;
            let mut peer = target.socket_from(other).await?;
            peer.send(&request).await;
            let head = peer.head().await;
            if head.status != 101 {
                refused.push(head.to_string());
            }
        }
        Ok::<_, Trouble>(refused)
    };
    let (taken, refused) = join(take, look).await;
    let refused = refused?;
    let Some(first) = refused.first() else { return Ok(()) };
    let sent = format!("{HANDSHAKES} handshakes from one address, each hung up at once");
    let let_in = taken.iter().filter(|taken| **taken).count();
    let came =
        format!("{let_in} were taken; {} of {LOOKS} from {other} were not: {first}", refused.len());
    found(Weight::Broken, sent, came, "101 for a peer from another address")
}

/// The row that takes all there is, and is tried only from two addresses.
pub(crate) const ONE_ADDRESS: &str = "HS-30";

/// How an answer begins.
const ANSWER: &[u8] = b"HTTP/1.1 ";

/// Requests. With a page of a few KiB the answers are more than a kernel keeps.
const ASKED: usize = 1000;

/// A kernel keeps less for a peer that does not read: 4 MiB of what is sent, unless it was told otherwise.
const KEPT_BY_A_KERNEL: usize = 8 * 1024 * 1024;

/// Several times what a server takes at once and in the seconds that this takes.
const HANDSHAKES: usize = 4000;

/// Of them at a time.
const AT_ONCE: usize = 32;

/// How often another address tries, in the time that a server has to answer.
const LOOKS: u32 = 10;
