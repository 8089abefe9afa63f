//! Do what no client does, and see how the server ends it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    time::{sleep, timeout},
};

use crate::peer::{BINARY, CLOSE, PATIENCE, PING, PONG, Peer, TEXT, frame, header};

/// One kind of attack: by whom, what with, and which code it must end with (0: none).
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) code: u16,
    by: By,
    bytes: fn() -> Vec<u8>,
}

#[derive(Clone, Copy)]
enum By {
    /// A socket that is not upgraded.
    Socket,
    Stranger,
    User,
    /// A user that goes on with a byte each second.
    SlowUser,
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "silent socket", code: 0, by: By::Socket, bytes: Vec::new },
    Attack { name: "half a request", code: 0, by: By::Socket, bytes: || b"GET /ws HT".into() },
    Attack { name: "no login", code: 4401, by: By::Stranger, bytes: Vec::new },
    Attack { name: "wrong token", code: 4403, by: By::Stranger, bytes: wrong_token },
    Attack {
        name: "large first message",
        code: 1009,
        by: By::Stranger,
        bytes: || frame(TEXT, &[b' '; 5000]),
    },
    Attack {
        name: "ping flood",
        code: 1008,
        by: By::User,
        bytes: || frame(PING, &[0; 125]).repeat(1000),
    },
    Attack {
        name: "pong flood",
        code: 1008,
        by: By::User,
        bytes: || frame(PONG, &[0; 125]).repeat(1000),
    },
    Attack { name: "fragments", code: 1008, by: By::User, bytes: || fragments(b"x", 1000) },
    Attack { name: "empty fragments", code: 1008, by: By::User, bytes: || fragments(b"", 1000) },
    Attack {
        name: "empty messages",
        code: 1008,
        by: By::User,
        bytes: || frame(TEXT, b"").repeat(1000),
    },
    Attack {
        name: "too many messages",
        code: 1008,
        by: By::User,
        bytes: || frame(TEXT, br#"{"type":"ping"}"#).repeat(1000),
    },
    Attack { name: "a tebibyte", code: 1009, by: By::User, bytes: || header(TEXT, 1 << 40) },
    Attack { name: "a negative length", code: 1002, by: By::User, bytes: || header(TEXT, 1 << 63) },
    Attack { name: "slow message", code: 1008, by: By::SlowUser, bytes: || header(TEXT, 100) },
    Attack { name: "bad UTF-8", code: 1007, by: By::User, bytes: || frame(TEXT, b"\xc0\xaf") },
    Attack { name: "bad JSON", code: 1008, by: By::User, bytes: || frame(TEXT, b"{\"type\":") },
    Attack { name: "not masked", code: 1002, by: By::User, bytes: || b"\x81\x02{}".into() },
    Attack { name: "unknown opcode", code: 1002, by: By::User, bytes: || frame(0x83, b"") },
    Attack { name: "binary", code: 1003, by: By::User, bytes: || frame(BINARY, b"{}") },
    Attack { name: "not a member", code: 1008, by: By::User, bytes: not_a_member },
];

impl Attack {
    /// The code the server ended it with.
    pub(crate) async fn run(
        &self,
        source: Ipv4Addr,
        server: SocketAddr,
        name: &str,
    ) -> io::Result<u16> {
        let mut peer = match self.by {
            By::Socket => Peer::socket(source, server, false).await?,
            By::Stranger => Peer::connect(source, server, false).await?,
            By::User | By::SlowUser => Peer::login(source, server, false, name).await?,
        };
        // The server may have hung up before it has all of it.
        let _ = peer.send(&(self.bytes)()).await;
        match self.by {
            By::Stranger | By::User => peer.end().await,
            By::Socket => {
                let mut answer = Vec::new();
                let _ = timeout(PATIENCE, peer.socket.read_to_end(&mut answer)).await?;
                Ok(0)
            }
            By::SlowUser => {
                let mut code = 0;
                loop {
                    tokio::select! {
                        frame = peer.next() => match frame {
                            Ok(frame) if frame.first == CLOSE => code = frame.code(),
                            Ok(_) => {}
                            Err(_) => return Ok(code),
                        },
                        () = sleep(Duration::from_secs(1)) => {
                            let _ = peer.send(b"{").await;
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn fragments(payload: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = frame(TEXT & 0x7f, payload);
    bytes.extend(frame(0, payload).repeat(count - 1));
    bytes
}

fn wrong_token() -> Vec<u8> {
    frame(TEXT, br#"{"type":"auth","token":"guess"}"#)
}

fn not_a_member() -> Vec<u8> {
    frame(TEXT, br#"{"type":"chat","roomId":"hold-0","text":"let me in"}"#)
}
