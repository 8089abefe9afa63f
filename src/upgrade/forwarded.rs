//! Read the lists in which proxies write whom they speak for, from the right.
//!
//! Each proxy appends what it has seen, so that the last element is the nearest proxy's and the first is
//! anybody's. Reading from the right, what somebody else wrote on the left is never looked at: neither its
//! quotes nor its commas change how the rest is cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName};

/// The elements of a list, the last one first. Those that are empty are none (RFC 9110 §5.6.1).
#[derive(Clone, Debug)]
struct FromRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
    /// Quoted strings may hold separators.
    quotes: bool,
}

/// An element of `Forwarded` (RFC 7239 §4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Element<'a> {
    pub(super) node: Option<&'a str>,
    pub(super) proto: Option<&'a str>,
}

/// The elements of all lines of `name`, which are one list, the last one first.
pub(super) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    quotes: bool,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(move |line| from_right(line.as_bytes(), b',', quotes))
}

fn from_right(list: &[u8], separator: u8, quotes: bool) -> FromRight<'_> {
    FromRight { rest: Some(list), separator, quotes }
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let list = self.rest?;
            let element = match last(list, self.separator, self.quotes) {
                Some(at) => {
                    let (before, after) = list.split_at_checked(at)?;
                    self.rest = Some(before);
                    after.get(1..)?
                }
                None => self.rest.take()?,
            };
            let element = element.trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Where the last separator is that stands in no quoted string.
fn last(list: &[u8], separator: u8, quotes: bool) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        if quotes && *byte == b'"' && !is_escaped(list, at) {
            quoted = !quoted;
        } else if *byte == separator && !quoted {
            return Some(at);
        }
    }
    None
}

/// Whether an odd number of backslashes stands before.
fn is_escaped(list: &[u8], at: usize) -> bool {
    let before = list.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|it| **it == b'\\').count() % 2 == 1
}

impl<'a> Element<'a> {
    /// Reads an element of `Forwarded`; `None` if it is none, or says something twice.
    pub(super) fn parse(element: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        for pair in from_right(element, b';', true) {
            let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
            let value = unquoted(value)?;
            let place = match name {
                _ if name.eq_ignore_ascii_case("for") => &mut read.node,
                _ if name.eq_ignore_ascii_case("proto") => &mut read.proto,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(read)
    }
}

/// What is in a quoted string; nothing that we read needs an escape.
fn unquoted(value: &str) -> Option<&str> {
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value);
    };
    rest.strip_suffix('"').filter(|it| !it.contains(['"', '\\']))
}

/// Reads the address of a node, and cuts its port off: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`. What hides who it is (`unknown`, `_hidden`) is no address, nor is
/// one with a zone.
pub(super) fn address(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<Ipv6Addr>().ok().filter(|_| port).map(canonical);
    }
    match node.split_once(':') {
        None => node.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        Some((_, more)) if more.contains(':') => node.parse::<Ipv6Addr>().ok().map(canonical),
        Some((address, port)) => {
            address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::from)
        }
    }
}

fn canonical(address: Ipv6Addr) -> IpAddr {
    address.to_canonical()
}

/// A number, or in RFC 7239 §6.3 a name that hides it.
fn is_port(port: &str) -> bool {
    let hidden = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(hidden),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit()),
    }
}
