//! The server under attack: where it is, what it allows, and how much it has been sent.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpSocket, lookup_host},
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    http::{Head, Request},
    options::{Bounds, Limits, Options},
    peer::Peer,
    protocol::Protocol,
    verdict::Trouble,
};

#[derive(Debug)]
pub(crate) struct Target {
    addr: SocketAddr,
    /// As in the URL: what the `Host` header says.
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Of an ordinary page.
    pub(crate) page: String,
    /// Of this machine, to look from.
    pub(crate) other_address: Option<IpAddr>,
    /// Of a page that may connect.
    pub(crate) origin: String,
    /// It was given, scheme and all; otherwise it is derived from the URL.
    pub(crate) origin_is_given: bool,
    /// What is added to each handshake.
    headers: Vec<(String, String)>,
    pub(crate) protocol: Protocol,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
    pub(crate) traffic: Traffic,
    /// So that a second run meets no user of the first.
    run: u32,
    names: AtomicU64,
    /// Handshakes that were too many for one address.
    refused_as_too_many: AtomicU64,
    next_handshake: Mutex<Instant>,
}

/// Bytes each way, and how many there may be.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Target {
    /// Reads the URL, and looks its host up only if that may be attacked.
    pub(crate) async fn new(options: &Options) -> Result<Self, String> {
        let url = &options.url;
        let rest = url.strip_prefix("ws://").ok_or("the URL has to begin with ws://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port"))?)
            }
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let local = host == "localhost" || host.parse().is_ok_and(|it: IpAddr| it.is_loopback());
        if !local && !options.i_own_this_host {
            return Err(format!(
                "{host} is not this machine: this program attacks it only with --i-own-this-host"
            ));
        }
        let found = lookup_host((host, port)).await.map_err(|it| format!("{host}: {it}"))?;
        let mut found = found.filter(|it| options.i_own_this_host || it.ip().is_loopback());
        let addr = found.next().ok_or_else(|| format!("{host} has no address"))?;
        let page = format!("http://{authority}");
        Ok(Self {
            addr,
            authority: authority.to_owned(),
            path: path.to_owned(),
            page: options.shape.page.clone(),
            other_address: options.other_address,
            origin: options.shape.origin.clone().unwrap_or(page),
            origin_is_given: options.shape.origin.is_some(),
            headers: options.shape.header.clone(),
            protocol: Protocol::new(options.shape.clone()),
            limits: options.limits.clone(),
            bounds: options.bounds.clone(),
            traffic: Traffic::default(),
            run: fastrand::u32(..),
            names: AtomicU64::new(0),
            refused_as_too_many: AtomicU64::new(0),
            next_handshake: Mutex::new(Instant::now()),
        })
    }

    /// A name that was never used: of a user, of a room, or to be found again in what comes back.
    pub(crate) fn name(&self) -> String {
        name(self.run, self.names.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn patience(&self) -> Duration {
        self.bounds.patience
    }

    /// A handshake that the target has to accept.
    pub(crate) fn handshake(&self) -> Request {
        let request = Request::get(&self.path)
            .set("Host", &[&self.authority])
            .set("Origin", &[&self.origin])
            .set("Connection", &["Upgrade"])
            .set("Upgrade", &["websocket"])
            .set("Sec-WebSocket-Version", &["13"])
            .set("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ=="]);
        self.headers.iter().fold(request, |it, (name, value)| it.add(name, value))
    }

    /// A socket, and nothing sent yet.
    pub(crate) async fn socket(&self) -> io::Result<Peer<'_>> {
        self.open(false, None).await
    }

    /// The same, for whom the kernel takes little.
    pub(crate) async fn narrow_socket(&self) -> io::Result<Peer<'_>> {
        self.open(true, None).await
    }

    /// The same from another address of this machine.
    pub(crate) async fn socket_from(&self, address: IpAddr) -> io::Result<Peer<'_>> {
        self.open(false, Some(address)).await
    }

    /// The answer to `request`, and the socket. That there were too many requests is no answer to it.
    pub(crate) async fn ask(&self, request: &Request) -> Result<(Head, Peer<'_>), Trouble> {
        let (head, peer) = self.ask_whatever(request).await?;
        if head.status == TOO_MANY { Err(self.too_many()) } else { Ok((head, peer)) }
    }

    /// The same where one address is meant to get too many.
    pub(crate) async fn ask_whatever(
        &self,
        request: &Request,
    ) -> Result<(Head, Peer<'_>), Trouble> {
        self.pace().await;
        let mut peer = self.socket().await?;
        peer.send(&request.bytes()).await;
        let head = peer.head().await;
        Ok((head, peer))
    }

    /// An open connection that has said nothing yet.
    pub(crate) async fn stranger(&self) -> Result<Peer<'_>, Trouble> {
        self.upgraded(false).await
    }

    /// A connection that is logged in as `user`.
    pub(crate) async fn user(&self, user: &str) -> Result<Peer<'_>, Trouble> {
        self.logged_in(user, false).await
    }

    /// A connection of its own user in `room`.
    pub(crate) async fn member(&self, room: &str) -> Result<Peer<'_>, Trouble> {
        let mut peer = self.user(&self.name()).await?;
        peer.join(room).await?;
        Ok(peer)
    }

    /// The same, for whom the kernel takes little: soon to be a peer that does not read.
    pub(crate) async fn narrow_member(&self, room: &str) -> Result<Peer<'_>, Trouble> {
        let mut peer = self.logged_in(&self.name(), true).await?;
        peer.join(room).await?;
        Ok(peer)
    }

    async fn logged_in(&self, user: &str, narrow: bool) -> Result<Peer<'_>, Trouble> {
        let mut peer = self.upgraded(narrow).await?;
        let auth = self.protocol.auth(&self.protocol.token(user));
        peer.say(&auth).await;
        peer.hear(self.protocol.welcome()).await?;
        peer.begin();
        Ok(peer)
    }

    async fn upgraded(&self, narrow: bool) -> Result<Peer<'_>, Trouble> {
        self.pace().await;
        let mut peer = self.open(narrow, None).await?;
        peer.send(&self.handshake().bytes()).await;
        let head = peer.head().await;
        match head.status {
            101 => {}
            TOO_MANY => return Err(self.too_many()),
            _ => return Err(Trouble::NotTried(format!("a good handshake got {head}"))),
        }
        peer.begin();
        Ok(peer)
    }

    fn too_many(&self) -> Trouble {
        self.refused_as_too_many.fetch_add(1, Ordering::Relaxed);
        Trouble::NotTried(format!("a good handshake got HTTP {TOO_MANY}, too many requests"))
    }

    /// How many handshakes were refused as too many where they should not have been.
    pub(crate) fn refused_as_too_many(&self) -> u64 {
        self.refused_as_too_many.load(Ordering::Relaxed)
    }

    async fn open(&self, narrow: bool, from: Option<IpAddr>) -> io::Result<Peer<'_>> {
        let socket = if self.addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if narrow {
            socket.set_recv_buffer_size(2048)?;
        }
        if let Some(address) = from {
            socket.bind((address, 0).into())?;
        }
        let stream = timeout(CONNECT_TIMEOUT, socket.connect(self.addr)).await??;
        stream.set_nodelay(true)?;
        Ok(Peer::new(self, stream))
    }

    /// Waits for the turn of the next handshake, of which a server allows so many a second.
    pub(crate) async fn pace(&self) {
        let mut next = self.next_handshake.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + Duration::from_secs(1) / self.bounds.handshakes_per_second.get();
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// There has been as much traffic as there may be: nothing more is sent, nor read.
    pub(crate) fn is_spent(&self) -> bool {
        let (sent, received) = self.traffic.mebibytes();
        sent >= self.bounds.max_send_mb || received >= self.bounds.max_receive_mb
    }
}

impl Traffic {
    /// Sent and received.
    pub(crate) fn mebibytes(&self) -> (u64, u64) {
        let mib = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) / (1024 * 1024);
        (mib(&self.sent), mib(&self.received))
    }
}

/// All are of one length, so that a report counts the same bytes in every run.
fn name(run: u32, nth: u64) -> String {
    format!("h{run:08x}-{nth:05}")
}

/// The status of who comes too often.
const TOO_MANY: u16 = 429;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn all_names_are_of_one_length_and_none_is_the_beginning_of_another() {
        let runs = [0, 0xf, 0x10, 0x0fff_ffff, u32::MAX];
        let all: Vec<_> =
            runs.iter().flat_map(|run| [0, 9, 10, 99_999].map(|nth| name(*run, nth))).collect();
        for (at, name) in all.iter().enumerate() {
            assert_eq!(name.len(), all[0].len(), "{name}");
            assert!(all.iter().skip(at + 1).all(|other| other != name), "{name}");
        }
    }
}
