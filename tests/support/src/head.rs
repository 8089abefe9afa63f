//! The head of an HTTP response.

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = str::from_utf8(bytes).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |it: &str| {
            let (name, value) = it.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect() }
    }

    /// The one line of header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(it, _)| it == name);
        let value = lines.next().map(|(_, it)| it.as_str());
        assert!(lines.next().is_none(), "{name} is repeated: {self:?}");
        value
    }
}
