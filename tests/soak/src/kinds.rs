//! What some kinds of peer do, of which the server's memory is measured.

use std::{
    io,
    net::SocketAddr,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    attacks::fragments,
    crowd::World,
    peer::{CLOSE, PATIENCE, PING, Peer, TEXT, frame, header},
};

/// What the peers do until their time is over. One that the server closes comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Idle,
    PingFlood,
    EmptyFragments,
    EndlessFragments,
    EndlessFrame,
    EndlessPing,
    DeafInOneRoom,
    DeafInRoomsOfTheirOwn,
    SlowInOneRoom,
    EmptiedRooms,
    HttpNeverReads,
    /// So many of each, at once.
    Everything,
}

pub(crate) const KINDS: &[(Kind, &str)] = &[
    (Kind::Idle, "idle member"),
    (Kind::PingFlood, "ping flood, never reads"),
    (Kind::EmptyFragments, "flood of empty fragments, never reads"),
    (Kind::EndlessFragments, "60 KiB in 60 fragments, then a byte now and then"),
    (Kind::EndlessFrame, "64 KiB frame, all but a few bytes at once"),
    (Kind::EndlessPing, "64 KiB message, then a ping without an end"),
    (Kind::DeafInOneRoom, "never reads, all in one room flooded with 1 KiB messages"),
    (Kind::DeafInRoomsOfTheirOwn, "never reads, each in a flooded room of its own"),
    (Kind::SlowInOneRoom, "reads 20 KB/s through a real window, in one room with 200 KB/s"),
    (Kind::EmptiedRooms, "in one room, and gone from it after half the time, but for one"),
    (Kind::HttpNeverReads, "asks for the page 240 times and never reads"),
    (Kind::Everything, "all of these at once, so many of each"),
];

impl Kind {
    /// Whether `each` is a part of it.
    pub(crate) fn includes(self, each: Self) -> bool {
        self == each || self == Self::Everything && each != Self::Everything
    }
}

/// Connections that were made, and how many of them the server has closed with 1013.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) connections: AtomicU64,
    pub(crate) told: AtomicU64,
}

/// Peers of one kind. Returns when all are gone.
pub(crate) async fn everybody(
    kind: Kind,
    peers: usize,
    time: Duration,
    world: &Arc<World>,
    made: &Arc<Made>,
) {
    let start = Instant::now();
    let until = start + time;
    let mut tasks = JoinSet::new();
    for number in 0..peers {
        let (world, made) = (Arc::clone(world), Arc::clone(made));
        tasks.spawn(async move {
            // Whatever a peer was doing, it stops, and its socket closes.
            let _ = timeout_at(until, attack(kind, number, start + time / 2, &world, &made)).await;
        });
    }
    let (speakers, pause) = match kind {
        Kind::DeafInOneRoom => (1, Duration::ZERO),
        Kind::DeafInRoomsOfTheirOwn => (peers, Duration::ZERO),
        // 32 messages of a little more than 1 KB.
        Kind::SlowInOneRoom => (1, Duration::from_millis(165)),
        _ => (0, Duration::ZERO),
    };
    for number in 0..speakers {
        let world = Arc::clone(world);
        tasks.spawn(async move { _ = timeout_at(until, speak(&world, number, kind, pause)).await });
    }
    while let Some(ended) = tasks.join_next().await {
        // A peer that broke down has measured nothing.
        if let Err(error) = ended {
            resume_unwind(error.into_panic());
        }
    }
}

async fn attack(kind: Kind, number: usize, half: Instant, world: &World, made: &Made) {
    loop {
        // Refused, perhaps, for want of memory.
        if let Ok(mut peer) = begin(kind, number, world).await {
            made.connections.fetch_add(1, Ordering::Relaxed);
            let _ = act(kind, number, half, &mut peer, made).await;
        }
        if kind == Kind::EmptiedRooms && Instant::now() >= half {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn begin(kind: Kind, number: usize, world: &World) -> io::Result<Peer> {
    match kind {
        Kind::HttpNeverReads => {
            let (source, _) = world.somebody();
            Peer::socket(source, world.server, true).await
        }
        // The kernel takes as much for it as for anybody.
        Kind::SlowInOneRoom => join(world, &room(kind, number), false).await,
        _ => join(world, &room(kind, number), true).await,
    }
}

/// Returns when the server has had enough.
async fn act(
    kind: Kind,
    number: usize,
    half: Instant,
    peer: &mut Peer,
    made: &Made,
) -> io::Result<()> {
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
        Kind::EndlessPing => {
            // Legal, and with blanks as long as a message may be. What the buffers grew to for it is to go
            // with it, whatever comes behind.
            let mut message = br#"{"type":"ping"}"#.to_vec();
            message.resize(MESSAGE, b' ');
            peer.send(&frame(TEXT, &message)).await?;
            peer.send(&header(PING, 125)).await?;
            trickle(peer, b" ").await
        }
        Kind::DeafInOneRoom | Kind::DeafInRoomsOfTheirOwn => {
            // Until the server has given up: an error of the socket, at the latest when it is used.
            let byte = frame(TEXT, br#"{"type":"ping"}"#);
            trickle(peer, &byte).await
        }
        Kind::SlowInOneRoom => read_slowly(peer, made).await,
        Kind::EmptiedRooms => {
            if number > 0 {
                let _ = timeout_at(half, peer.hear("nothing that is ever said")).await;
                return peer.close().await.map(drop);
            }
            peer.hear("nothing that is ever said").await
        }
        Kind::HttpNeverReads => {
            peer.socket
                .write_all(&b"GET /page.mjs HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(240))
                .await?;
            // One more now and then, by which it is known whether the server has given up.
            trickle(peer, b"GET /page.mjs HTTP/1.1\r\nHost: localhost\r\n\r\n").await
        }
    }
}

/// Takes 4 KB each fifth of a second and looks for the close.
async fn read_slowly(peer: &mut Peer, made: &Made) -> io::Result<()> {
    let mut piece = [0; 4000];
    let mut last = Vec::new();
    loop {
        sleep(Duration::from_millis(200)).await;
        let read = peer.socket.read(&mut piece).await?;
        last.extend(piece.iter().take(read));
        // Close frames of this server have a code, a reason, and nothing behind them.
        let told = last.windows(4).any(|it| matches!(*it, [CLOSE, 2..=125, 0x03, 0xf5]));
        if told {
            made.told.fetch_add(1, Ordering::Relaxed);
        }
        if told || read == 0 {
            return Ok(());
        }
        last.drain(..last.len().saturating_sub(3));
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

/// Says one message after the other, as fast as they come back and with a pause after some, to whoever
/// is in the room.
async fn speak(world: &World, number: usize, kind: Kind, pause: Duration) -> io::Result<()> {
    let room = room(kind, number);
    let mut peer = join(world, &room, false).await?;
    let text = "x".repeat(1000);
    loop {
        for _ in 0..WINDOW {
            peer.chat(&room, &text).await?;
        }
        for _ in 0..WINDOW {
            peer.hear(r#""text":"x"#).await?;
        }
        sleep(pause).await;
    }
}

/// A member of `room`; a small one lets the kernel take little for it.
pub(crate) async fn join(world: &World, room: &str, small: bool) -> io::Result<Peer> {
    let (source, name) = world.somebody();
    let server: SocketAddr = world.server;
    let mut peer = Peer::login(source, server, small, &name).await?;
    peer.join(room).await?;
    Ok(peer)
}

/// Whether somebody gets in whose address is none of the peers'.
pub(crate) async fn somebody_else_gets_in(world: &World) -> bool {
    let (_, name) = world.somebody();
    let visit = async {
        let mut peer = Peer::login([127, 0, 2, 1].into(), world.server, false, &name).await?;
        peer.join("elsewhere").await?;
        peer.close().await
    };
    matches!(timeout_at(Instant::now() + PATIENCE, visit).await, Ok(Ok(_)))
}

fn room(kind: Kind, number: usize) -> String {
    match kind {
        Kind::DeafInRoomsOfTheirOwn => format!("room-{number}"),
        _ => format!("{kind:?}"),
    }
}

/// What one message may have.
const MESSAGE: usize = 65_536;

/// Messages that a speaker has under way.
const WINDOW: usize = 32;
