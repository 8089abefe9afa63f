//! Read what a balancer says in front of everything else: for whom it opened the socket.
//!
//! The PROXY protocol is required or off. Where it were optional, anybody could begin with such a header
//! and be whoever he likes; so is it with sockets that do not come from a balancer's network. What is
//! malformed, or longer than the protocol needs, ends the socket.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads the header, and not a byte more. The address of the client; `peer` itself if the balancer speaks for
/// nobody, as to see whether we are there.
///
/// # Errors
///
/// That there is none, that it cannot be read, or that it is too long.
pub(crate) async fn client(
    socket: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
) -> io::Result<SocketAddr> {
    let mut header = Vec::with_capacity(BEGINNING);
    more(socket, &mut header, BEGINNING).await?;
    if header == VERSION_2 {
        more(socket, &mut header, 4).await?;
        let length = header.last_chunk().map_or(0, |it| u16::from_be_bytes(*it));
        more(socket, &mut header, length.into()).await?;
    } else if header.starts_with(b"PROXY ") {
        // Nothing tells how long it is, and what follows is somebody else's to read.
        while !header.ends_with(b"\r\n") {
            if header.len() == MAX_VERSION_1 {
                return Err(invalid());
            }
            more(socket, &mut header, 1).await?;
        }
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (read, length) = ProxyHeader::parse(&header, config).map_err(|_| invalid())?;
    match read.proxied_address() {
        _ if length != header.len() => Err(invalid()),
        None => Ok(peer),
        Some(address) if address.protocol == Protocol::Stream => Ok(address.source),
        Some(_) => Err(invalid()),
    }
}

async fn more(
    socket: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    count: usize,
) -> io::Result<()> {
    let had = header.len();
    let all = had.saturating_add(count);
    if all > MAX {
        return Err(invalid());
    }
    header.resize(all, 0);
    let read = socket.read_exact(header.get_mut(had..).unwrap_or_default()).await;
    read.map(drop)
}

fn invalid() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "no PROXY header")
}

/// How each header of version 2 begins, and less than any of version 1 is.
const VERSION_2: [u8; BEGINNING] = *b"\r\n\r\n\0\r\nQUIT\n";
const BEGINNING: usize = 12;

/// Bytes of a header of version 1, by its specification.
const MAX_VERSION_1: usize = 107;

/// Bytes of a header: room for what balancers add to an address, of which we need nothing.
const MAX: usize = 536;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.1:4711";

    async fn read(bytes: &[u8]) -> (io::Result<String>, usize) {
        let mut rest = bytes;
        let client = client(&mut rest, PEER.parse().unwrap()).await;
        (client.map(|it| it.to_string()), rest.len())
    }

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&VERSION_2[..], &[0x20 | command, family], &length, body].concat()
    }

    // covers: HS-23
    #[tokio::test]
    async fn the_client_is_whom_the_header_names_and_what_follows_is_left() {
        let v4 = [198, 51, 100, 1, 192, 0, 2, 1, 0xc0, 0, 0, 80];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 1;
        v6[32] = 0xc0;
        let with_more = [&v4[..], &[0x04, 0, 8], &[0; 8]].concat();
        for (header, client) in [
            (b"PROXY TCP4 198.51.100.1 192.0.2.1 49152 80\r\n".to_vec(), "198.51.100.1:49152"),
            (b"PROXY TCP6 2001:db8::1 ::1 49152 80\r\n".to_vec(), "[2001:db8::1]:49152"),
            (b"PROXY UNKNOWN\r\n".to_vec(), PEER),
            (version_2(1, 0x11, &v4), "198.51.100.1:49152"),
            (version_2(1, 0x21, &v6), "[2001:db8::1]:49152"),
            (version_2(1, 0x11, &with_more), "198.51.100.1:49152"),
            (version_2(0, 0x00, &[]), PEER),
        ] {
            let (read, rest) = read(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(read.unwrap(), client, "{header:?}");
            assert_eq!(rest, 16, "{header:?}");
        }
    }

    proptest::proptest! {
        // covers: HS-23
        #[test]
        fn no_bytes_are_more_than_refused(
            version_2: bool,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..700),
        ) {
            let begin: &[u8] = if version_2 { &VERSION_2 } else { b"PROXY " };
            let bytes = [begin, &bytes].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, rest) = runtime.block_on(read(&bytes));
            proptest::prop_assert!(bytes.len() - rest <= MAX);
            if let Ok(client) = read {
                proptest::prop_assert!(client.parse::<SocketAddr>().is_ok());
            }
        }
    }

    // covers: HS-23
    #[tokio::test]
    async fn what_is_no_header_is_refused_and_not_read_to_its_end() {
        for bytes in [
            &b""[..],
            b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 198.51.100.1",
            b"PROXY TCP4 198.51.100.300 192.0.2.1 49152 80\r\n",
            b"PROXY TCP4 198.51.100.1\r\n",
            b"PROXY UDP4 198.51.100.1 192.0.2.1 49152 80\r\n",
            b"proxy TCP4 198.51.100.1 192.0.2.1 49152 80\r\n",
            &[b"PROXY TCP4 ".as_slice(), &[b' '; 600], b"\r\n"].concat(),
            &version_2(1, 0x12, &[0; 12]),
            &version_2(1, 0x11, &[0; 4]),
            &version_2(2, 0x11, &[0; 12]),
            &version_2(1, 0x11, &[0; 1000]),
            &[&VERSION_2[..], &[0x21, 0x11, 0xff, 0xff], &[0; 70_000]].concat(),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0",
        ] {
            let (read, rest) = read(bytes).await;
            assert!(read.is_err(), "{bytes:?}");
            assert!(bytes.len() - rest <= MAX, "{bytes:?}");
        }
    }
}
