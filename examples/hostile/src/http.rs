//! Requests as they are written, header by header, and the heads of the answers.

use std::fmt;

/// A request, with or without what HTTP asks of one.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
    /// What is sent behind it in the same piece.
    rest: Vec<u8>,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        let line = format!("GET {path} HTTP/1.1");
        Self { line, headers: Vec::new(), rest: Vec::new() }
    }

    /// With another first line.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    /// With these lines for the header `name` instead of those it had; none leaves it out.
    pub(crate) fn set(mut self, name: &str, values: &[&str]) -> Self {
        self.headers.retain(|(it, _)| !it.eq_ignore_ascii_case(name));
        self.headers.extend(values.iter().map(|it| (name.to_owned(), (*it).to_owned())));
        self
    }

    /// With one more header line.
    pub(crate) fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this line for the header `name`, if it has none.
    pub(crate) fn or(self, name: &str, value: &str) -> Self {
        let has = self.headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        if has { self } else { self.add(name, value) }
    }

    /// With these bytes behind it.
    pub(crate) fn then(mut self, bytes: &[u8]) -> Self {
        self.rest.extend(bytes);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut bytes = format!("{}\r\n{headers}\r\n", self.line).into_bytes();
        bytes.extend(&self.rest);
        bytes
    }
}

impl fmt::Display for Request {
    /// As it goes over the wire, escaped and shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let shown = bytes.get(..SHOWN).unwrap_or(&bytes);
        let more = if shown.len() < bytes.len() { "…" } else { "" };
        write!(f, "\"{}{more}\"", shown.escape_ascii())
    }
}

/// The head of an answer. Without one, the status is 0.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let status = lines.next().and_then(|it| it.split(' ').nth(1)?.parse().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Self { status: status.unwrap_or_default(), headers: lines.filter_map(header).collect() }
    }

    /// All lines of the header `name`, as one list.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.headers.iter().filter(|(it, _)| it == name).map(|(_, it)| it.as_str());
        let first = lines.next()?.to_owned();
        Some(lines.fold(first, |list, line| list + ", " + line))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str("no HTTP answer"),
            status => write!(f, "HTTP {status}"),
        }
    }
}

/// Bytes of a request that a report shows.
const SHOWN: usize = 300;
