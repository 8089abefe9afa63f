//! Measure what some kinds of peer make the server hold, one of them and many, as a table.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    Options,
    attacks::fragments,
    crowd::World,
    peer::{PING, Peer, TEXT, frame, header},
    server::Server,
};

/// What the peers do until their time is over. One that the server closes comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Idle,
    PingFlood,
    EmptyFragments,
    EndlessFragments,
    EndlessFrame,
    DeafInOneRoom,
    DeafInRoomsOfTheirOwn,
    /// So many of each, at once.
    Everything,
}

const KINDS: &[(Kind, &str)] = &[
    (Kind::Idle, "idle member"),
    (Kind::PingFlood, "ping flood, never reads"),
    (Kind::EmptyFragments, "flood of empty fragments, never reads"),
    (Kind::EndlessFragments, "60 KiB in 60 fragments, then a byte now and then"),
    (Kind::EndlessFrame, "64 KiB frame, all but a few bytes at once"),
    (Kind::DeafInOneRoom, "never reads, all in one room flooded with 1 KiB messages"),
    (Kind::DeafInRoomsOfTheirOwn, "never reads, each in a flooded room of its own"),
    (Kind::Everything, "all of these at once, so many of each"),
];

/// KiB; and how many connections the peers made.
struct Measured {
    before: u64,
    /// While they were there, and when all were gone: both times, since what grows again is a leak,
    /// and what the allocator keeps for the next time is none.
    rounds: [(u64, u64); 2],
    connections: u64,
}

pub(crate) async fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    println!(
        "| peers | kind | budget | before | peak | for each peer | after | second peak | after | \
         connections made |"
    );
    println!("|{}", "---|".repeat(10));
    for (kind, what) in KINDS.iter().filter(|(_, what)| what.contains(&options.kind)) {
        for (peers, budget) in [(1, 0), (options.peers, 0), (options.peers, BUDGET_MB)] {
            let Measured { before, rounds: [(peak, after), (again, after_again)], connections } =
                one(options, *kind, peers, budget).await?;
            let each = peak.saturating_sub(before) as f64 / peers as f64;
            let budget = if budget == 0 { "none".into() } else { format!("{budget} MiB") };
            println!(
                "| {peers} | {what} | {budget} | {before} | {peak} | {each:.1} | {after} | {again} | \
                 {after_again} | {connections} |"
            );
        }
    }
    Ok(())
}

async fn one(
    options: &Options,
    kind: Kind,
    peers: usize,
    budget: usize,
) -> Result<Measured, Box<dyn Error>> {
    let budget = format!("--memory-budget-mb={budget}");
    let mut server = Server::start(&options.server, &[SERVER, &[&budget]].concat()).await?;
    let world = Arc::new(World::new(server.addr));
    let made = Arc::new(AtomicU64::new(0));
    for _ in 0..20 {
        join(&world, "warm-up", false).await?.close().await?;
    }
    let before = server.empty().await?.rss;
    let mut rounds = [(0, 0); 2];
    for round in &mut rounds {
        server.reset_peak()?;
        let mut kinds = JoinSet::new();
        for (each, _) in KINDS.iter().filter(|(each, _)| includes(kind, *each)) {
            let (world, made) = (Arc::clone(&world), Arc::clone(&made));
            let (each, time) = (*each, Duration::from_secs(options.seconds));
            kinds.spawn(async move { everybody(each, peers, time, &world, &made).await });
        }
        while kinds.join_next().await.is_some() {}
        let peak = server.peak_rss()?;
        let after = server.empty().await?;
        if after.status.connections + after.status.members + after.status.rooms > 0 {
            return Err(format!("{kind:?}: {:?}", after.status).into());
        }
        *round = (peak, after.rss);
    }
    if !server.stop().await? {
        return Err("the server failed".into());
    }
    Ok(Measured { before, rounds, connections: made.load(Ordering::Relaxed) })
}

fn includes(kind: Kind, each: Kind) -> bool {
    kind == each || kind == Kind::Everything && each != Kind::Everything
}

/// Returns when all are gone.
async fn everybody(
    kind: Kind,
    peers: usize,
    time: Duration,
    world: &Arc<World>,
    made: &Arc<AtomicU64>,
) {
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for number in 0..peers {
        let (world, made) = (Arc::clone(world), Arc::clone(made));
        tasks.spawn(async move {
            // Whatever a peer was doing, it stops, and its socket closes.
            let _ = timeout_at(until, attack(kind, number, &world, &made)).await;
        });
    }
    let speakers = match kind {
        Kind::DeafInOneRoom => 1,
        Kind::DeafInRoomsOfTheirOwn => peers,
        _ => 0,
    };
    for number in 0..speakers {
        let world = Arc::clone(world);
        tasks.spawn(async move { _ = timeout_at(until, speak(&world, number)).await });
    }
    while tasks.join_next().await.is_some() {}
}

async fn attack(kind: Kind, number: usize, world: &World, made: &AtomicU64) {
    loop {
        // Refused, perhaps, for want of memory.
        if let Ok(mut peer) = join(world, &room(kind, number), true).await {
            made.fetch_add(1, Ordering::Relaxed);
            let _ = act(kind, &mut peer).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns when the server has had enough.
async fn act(kind: Kind, peer: &mut Peer) -> io::Result<()> {
    match kind {
        Kind::Idle | Kind::Everything => peer.hear("nothing that is ever said").await,
        Kind::PingFlood => flood(peer, &frame(PING, &[b'p'; 125])).await,
        Kind::EmptyFragments => {
            peer.send(&fragments(b"", 1)).await?;
            flood(peer, &frame(0, b"")).await
        }
        Kind::EndlessFragments => {
            peer.send(&fragments(&[b' '; 1024], 60)).await?;
            let byte = frame(0, b" ");
            trickle(peer, &byte).await
        }
        Kind::EndlessFrame => {
            let mut bytes = header(TEXT, MESSAGE as u64);
            bytes.resize(MESSAGE - 64, b' ');
            peer.send(&bytes).await?;
            trickle(peer, b" ").await
        }
        Kind::DeafInOneRoom | Kind::DeafInRoomsOfTheirOwn => {
            // Until the server has given up: an error of the socket, at the latest when it is used.
            let byte = frame(TEXT, br#"{"type":"ping"}"#);
            trickle(peer, &byte).await
        }
    }
}

/// A good deal more than any limit, without reading. The rest is for the server to refuse.
async fn flood(peer: &mut Peer, bytes: &[u8]) -> io::Result<()> {
    let many = bytes.repeat(1000);
    for _ in 0..20 {
        peer.socket.write_all(&many).await?;
    }
    let _ = peer.end().await?;
    Ok(())
}

async fn trickle(peer: &mut Peer, bytes: &[u8]) -> io::Result<()> {
    loop {
        sleep(Duration::from_secs(1)).await;
        peer.send(bytes).await?;
    }
}

/// Says one message after the other, as fast as they come back, to whoever is in the room.
async fn speak(world: &World, number: usize) -> io::Result<()> {
    let room = format!("room-{number}");
    let mut peer = join(world, &room, false).await?;
    let text = "x".repeat(1000);
    loop {
        for _ in 0..WINDOW {
            peer.chat(&room, &text).await?;
        }
        for _ in 0..WINDOW {
            peer.hear(r#""text":"x"#).await?;
        }
    }
}

async fn join(world: &World, room: &str, small: bool) -> io::Result<Peer> {
    let (source, name) = world.somebody();
    let server: SocketAddr = world.server;
    let mut peer = Peer::login(source, server, small, &name).await?;
    peer.join(room).await?;
    Ok(peer)
}

fn room(kind: Kind, number: usize) -> String {
    let number = if kind == Kind::DeafInRoomsOfTheirOwn { number } else { 0 };
    format!("room-{number}")
}

/// As the crate's defaults; and no limit on what a user may say, for the floods in rooms.
const SERVER: &[&str] = &[
    "--max-message-bytes=65536",
    "--max-connections=40000",
    "--max-unauthenticated=5000",
    "--max-connections-per-peer=5000",
    "--handshake-rate=5000",
    "--message-rate=1000000",
    "--message-burst=1000000",
    "--user-rate=1000000",
    "--user-burst=1000000",
    "--publish-rate=1000000000",
    "--publish-burst=1000000000",
];

/// What one message may have.
const MESSAGE: usize = 65_536;

const BUDGET_MB: usize = 256;

/// Messages that a speaker has under way.
const WINDOW: usize = 32;
