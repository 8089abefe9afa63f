//! Those who stay, those who come and go, and those who do not read.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::peer::{CLOSE, Peer};

/// What everybody shares.
pub(crate) struct World {
    pub(crate) server: SocketAddr,
    phase: watch::Sender<Phase>,
    /// Members that stay, now.
    pub(crate) held: AtomicU64,
    /// What they said, what all of them together must hear of it, and what they heard.
    pub(crate) said: AtomicU64,
    pub(crate) due: AtomicU64,
    pub(crate) heard: AtomicU64,
    names: AtomicU64,
    ends: Mutex<BTreeMap<(&'static str, u16), u64>>,
    surprises: AtomicU64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Members come and are silent.
    Quiet,
    /// They talk.
    Talk,
    /// They go.
    Go,
}

/// One that stays.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) room: String,
    /// How many like it there are in the room.
    pub(crate) size: u64,
    /// Between two of its messages, on average.
    pub(crate) pause: Duration,
    pub(crate) text: Arc<str>,
}

impl World {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            phase: watch::Sender::new(Phase::Quiet),
            held: AtomicU64::new(0),
            said: AtomicU64::new(0),
            due: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            names: AtomicU64::new(0),
            ends: Mutex::default(),
            surprises: AtomicU64::new(0),
        }
    }

    pub(crate) fn go_to(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// An address of the many, and a name that nobody had.
    pub(crate) fn somebody(&self) -> (Ipv4Addr, String) {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        (Ipv4Addr::new(127, 0, 1, (number % SOURCES) as u8 + 1), format!("u{number}"))
    }

    /// Records how something ended. What was not meant to end like that is a failure of the run.
    pub(crate) fn ended(&self, what: &'static str, end: io::Result<u16>, meant: &[u16]) {
        let code = match &end {
            Ok(code) => *code,
            Err(_) => 1,
        };
        *self.ends().entry((what, code)).or_default() += 1;
        if !meant.contains(&code) && self.surprises.fetch_add(1, Ordering::Relaxed) < 50 {
            eprintln!("{what}: ended with {end:?}, expected {meant:?}");
        }
    }

    pub(crate) fn surprises(&self) -> u64 {
        self.surprises.load(Ordering::Relaxed)
    }

    pub(crate) fn ends(&self) -> MutexGuard<'_, BTreeMap<(&'static str, u16), u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many ended with each code; 0 is none.
    pub(crate) fn codes(&self) -> String {
        let mut codes = BTreeMap::<u16, u64>::new();
        for ((_, code), count) in &*self.ends() {
            *codes.entry(*code).or_default() += count;
        }
        let codes: Vec<_> = codes.iter().map(|(code, count)| format!("{code}:{count}")).collect();
        codes.join(" ")
    }

    /// Comes, stays and talks until all go.
    pub(crate) async fn stay(&self, member: Member) {
        let end = self.try_stay(&member).await;
        self.ended("member", end, &[1000]);
    }

    async fn try_stay(&self, member: &Member) -> io::Result<u16> {
        let mut phase = self.phase.subscribe();
        let (source, name) = self.somebody();
        let mut peer = Peer::login(source, self.server, false, &name).await?;
        peer.join(&member.room).await?;
        self.held.fetch_add(1, Ordering::Relaxed);
        let _gone = Counted(&self.held);
        let mut next = Instant::now();
        loop {
            // Not marked as seen: that is for below.
            let now = *phase.borrow();
            tokio::select! {
                frame = peer.next() => {
                    let frame = frame?;
                    if frame.first == CLOSE {
                        return Ok(frame.code());
                    }
                    if frame.is_text_with(OURS) {
                        self.heard.fetch_add(1, Ordering::Relaxed);
                    }
                    peer.answer(&frame).await?;
                }
                _ = phase.changed() => {
                    // So that they do not all speak at once.
                    next = Instant::now() + member.pause.mul_f64(2.0 * fastrand::f64());
                    if *phase.borrow_and_update() == Phase::Go {
                        return peer.close().await;
                    }
                }
                () = sleep_until(next), if now == Phase::Talk => {
                    peer.chat(&member.room, &member.text).await?;
                    self.said.fetch_add(1, Ordering::Relaxed);
                    self.due.fetch_add(member.size, Ordering::Relaxed);
                    next = Instant::now() + member.pause.mul_f64(2.0 * fastrand::f64());
                }
            }
        }
    }

    /// Comes into a room, and goes in one of several ways.
    pub(crate) async fn visit(&self, room: &str) {
        let (source, name) = self.somebody();
        let way = fastrand::u8(..100);
        let (what, meant) = match way {
            0..70 => ("visitor", 1000),
            70..80 => ("visitor, reset", 0),
            80..90 => ("visitor, half closed", 0),
            _ => ("visitor, vanished", 1011),
        };
        let visit = async {
            let mut peer = Peer::login(source, self.server, false, &name).await?;
            peer.join(room).await?;
            match way {
                0..70 => {
                    let own = format!("own-{name}");
                    peer.join(&own).await?;
                    peer.chat(&own, "hello").await?;
                    peer.hear(r#""text":"hello""#).await?;
                    if way < 40 {
                        peer.leave(room).await?;
                    }
                    peer.close().await
                }
                70..80 => {
                    peer.socket.set_zero_linger()?;
                    Ok(0)
                }
                80..90 => {
                    tokio::io::AsyncWriteExt::shutdown(&mut peer.socket).await?;
                    peer.end().await
                }
                // Answers no ping.
                _ => peer.end().await,
            }
        };
        self.ended(what, visit.await, &[meant]);
    }

    /// Joins a busy room and never reads.
    pub(crate) async fn stall(&self, room: &str) {
        let (source, name) = self.somebody();
        let stall = async {
            let mut peer = Peer::login(source, self.server, true, &name).await?;
            peer.say(&format!(r#"{{"type":"join","roomId":"{room}"}}"#)).await?;
            // By then it is over. What was sent before stands in the kernel's buffers.
            sleep(Duration::from_secs(60)).await;
            peer.end().await
        };
        // The server does not wait for long with the close frame for one that does not read.
        self.ended("not reading", stall.await, &[0, 1011, 1013]);
    }
}

/// Takes one away when it is dropped.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// In what members that stay say, and nobody else.
const OURS: &str = r#""text":"m-"#;

/// Loopback addresses that connections come from.
pub(crate) const SOURCES: u64 = 32;
