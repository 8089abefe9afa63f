//! Find the address to listen on, and listen there.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    time::timeout,
};

/// A host that was named, and by which setting.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// From the environment, where also shells and build tools leave a `HOST`.
    pub(crate) ambient: bool,
}

impl Host {
    /// The address it stands for, with any port. A name may have several; an IPv4 address goes first, since that is
    /// what most clients try on a machine whose name has both.
    ///
    /// # Errors
    ///
    /// That there is none. But csh has the machine's name in the variable, and conda the compiler's: what
    /// comes from there and is no host was not meant for us, and only a warning is due.
    pub(crate) async fn address(&self) -> Result<SocketAddr, String> {
        let name = self.name.trim();
        let name = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok((address, 0).into());
        }
        let found = timeout(LOOKUP_TIMEOUT, lookup_host((name, 0))).await;
        let found: Vec<_> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
        let v4 = found.iter().find(|it| it.is_ipv4());
        match v4.or(found.first()) {
            Some(found) => Ok(*found),
            None if self.ambient => {
                tracing::warn!(
                    host = self.name,
                    "HOST is neither an address nor the name of one, and is ignored: set it to \
                     127.0.0.1, to 0.0.0.0 for all interfaces, or not at all"
                );
                Ok((Ipv4Addr::LOCALHOST, 0).into())
            }
            None => Err(format!(
                "--host: {:?} is neither an address nor a name that resolves to one; 0.0.0.0 is \
                 every interface",
                self.name
            )),
        }
    }
}

/// Listens on `addr`, also right after a server there has ended.
///
/// # Errors
///
/// Why that cannot be, and what to do about it.
pub(crate) fn listen(addr: SocketAddr) -> Result<TcpListener, String> {
    try_listen(addr).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "something listens there already; --port (PORT) chooses another, 0 takes a free one"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; --host (HOST) chooses another, 0.0.0.0 is \
                 every interface"
            }
            io::ErrorKind::PermissionDenied => {
                "this user may not; --port (PORT) chooses another, from 1024 on usually anybody may"
            }
            _ => return format!("cannot listen on {addr}: {error}"),
        };
        format!("cannot listen on {addr}: {why}")
    })
}

fn try_listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // For sockets that are not upgraded; a connection has its own heartbeat, which is faster.
    socket.set_keepalive(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// A name that takes longer will not be there for clients either.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the kernel queues for us; it caps this itself.
const BACKLOG: u32 = 4096;
