//! Measure what some kinds of peer make the server hold, one of them and many, as a table.

use std::{
    error::Error,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{task::JoinSet, time::interval};

use crate::{
    Options,
    crowd::World,
    kinds::{KINDS, Kind, Made, everybody, join, somebody_else_gets_in},
    server::Server,
};

/// Of one kind: KiB, and how many connections the peers made.
struct Measured {
    before: u64,
    /// Both times, since what grows again is a leak, and what the allocator keeps for the next time is
    /// none.
    rounds: [Round; 2],
    connections: u64,
    told: u64,
    shut_out: u64,
}

/// KiB.
#[derive(Clone, Copy, Default)]
struct Round {
    /// While the peers were there.
    peak: u64,
    /// The most that was charged to the budget, of what was seen.
    charged: u64,
    /// When they had had their time, and were about to go.
    end: u64,
    charged_at_the_end: u64,
    /// When all were gone.
    after: u64,
}

pub(crate) async fn measure(options: &Options) -> Result<bool, Box<dyn Error>> {
    println!(
        "| peers | kind | budget | before | peak | for each peer | charged | at the end | charged then | \
         after | second peak | after | connections made | told 1013 | others shut out |"
    );
    println!("|{}", "---|".repeat(15));
    let mut passed = true;
    for (kind, what) in KINDS.iter().filter(|(_, what)| what.contains(&options.kind)) {
        for (peers, budget) in [(1, NO_LIMIT), (options.peers, NO_LIMIT), (options.peers, BUDGET)] {
            let Measured { before, rounds: [first, second], connections, told, shut_out } =
                one(options, *kind, peers, budget).await?;
            let each = first.peak.saturating_sub(before) as f64 / peers as f64;
            let Round { peak, charged, end, charged_at_the_end, after } = first;
            let budget = if budget == NO_LIMIT { "none".into() } else { format!("{budget} MiB") };
            println!(
                "| {peers} | {what} | {budget} | {before} | {peak} | {each:.1} | {charged} | {end} | \
                 {charged_at_the_end} | {after} | {} | {} | {connections} | {told} | {shut_out} |",
                second.peak, second.after,
            );
            passed &= shut_out == 0;
        }
    }
    Ok(passed)
}

async fn one(
    options: &Options,
    kind: Kind,
    peers: usize,
    budget: u64,
) -> Result<Measured, Box<dyn Error>> {
    let budget = format!("--memory-budget-mb={budget}");
    let mut server = Server::start(&options.server, &[SERVER, &[&budget]].concat()).await?;
    let world = Arc::new(World::new(server.addr));
    let made = Arc::new(Made::default());
    for _ in 0..20 {
        join(&world, "warm-up", false).await?.close().await?;
    }
    let before = server.empty().await?.rss;
    let (mut rounds, mut shut_out) = ([Round::default(); 2], 0);
    for round in &mut rounds {
        server.reset_peak()?;
        let mut kinds = JoinSet::new();
        for (each, _) in KINDS.iter().filter(|(each, _)| kind.includes(*each)) {
            let (world, made) = (Arc::clone(&world), Arc::clone(&made));
            let (each, time) = (*each, Duration::from_secs(options.seconds));
            kinds.spawn(async move { everybody(each, peers, time, &world, &made).await });
        }
        let mut look = interval(Duration::from_millis(500));
        while !kinds.is_empty() {
            tokio::select! {
                // What broke down has measured nothing.
                Some(ended) = kinds.join_next() => ended?,
                _ = look.tick() => {
                    let sample = server.sample().await?;
                    round.charged = round.charged.max(sample.status.charged / 1024);
                    (round.end, round.charged_at_the_end) = (sample.rss, sample.status.charged / 1024);
                    if kind == Kind::HttpNeverReads {
                        shut_out += u64::from(!somebody_else_gets_in(&world).await);
                    }
                }
            }
        }
        round.peak = server.peak_rss()?;
        let after = server.empty().await?;
        let status = after.status;
        if status.connections + status.members + status.rooms + status.charged > 0 {
            return Err(format!("{kind:?}: {status:?}").into());
        }
        round.after = after.rss;
    }
    if !server.stop().await? {
        return Err("the server failed".into());
    }
    let (connections, told) =
        (made.connections.load(Ordering::Relaxed), made.told.load(Ordering::Relaxed));
    Ok(Measured { before, rounds, connections, told, shut_out })
}

/// As the crate's defaults; and no limit on what a user may say, for the floods in rooms, nor on what an
/// address may have: all peers have a few.
const SERVER: &[&str] = &[
    "--max-message-bytes=65536",
    "--max-connections=15000",
    "--max-unauthenticated=5000",
    "--max-connections-per-peer=15000",
    "--max-connections-per-user=15000",
    "--handshake-rate=5000",
    "--message-rate=1000000",
    "--message-burst=1000000",
    "--user-rate=1000000",
    "--user-burst=1000000",
    "--publish-rate=1000000000",
    "--publish-burst=1000000000",
];

/// MiB: none that is ever reached, so that what is charged is known.
const NO_LIMIT: u64 = 1 << 20;

/// MiB.
const BUDGET: u64 = 256;
