//! The bytes of WebSocket frames, legal and not.

/// The masked frame with this first byte. The mask is zeros, so that payloads read plain.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// The header of a masked frame that says it has `length` bytes.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => header.push(0x80 | short),
        (_, Ok(long)) => {
            header.push(0x80 | 126);
            header.extend(long.to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(TEXT, payload)
}

/// A close frame with this code and reason.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// What the catalogue writes as `81 82 K 7b7d`: hex, and `K` for the mask of zeros.
pub(crate) fn hex(stimulus: &str) -> Vec<u8> {
    let plain: String = stimulus.replace('K', "00000000").split_whitespace().collect();
    let digits: Vec<u8> = plain.chars().filter_map(|it| Some(it.to_digit(16)? as u8)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

/// The other way round, shortened: what a report shows.
pub(crate) fn as_hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN { shown + "…" } else { shown }
}

/// A frame from the server.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Takes the first frame off `input`, if it is all there.
    pub(crate) fn split(input: &mut Vec<u8>) -> Option<Self> {
        let (first, second) = (*input.first()?, *input.get(1)?);
        let (start, length): (usize, usize) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
            127 => {
                let length = u64::from_be_bytes(input.get(2..10)?.try_into().ok()?);
                (10, usize::try_from(length).ok()?)
            }
            short => (2, usize::from(short)),
        };
        // A server does not mask; if it did, the mask would be read as payload and noticed.
        let end = start.checked_add(length)?;
        let payload = input.get(start..end)?.to_vec();
        input.drain(..end);
        Some(Self { first, payload })
    }
}

/// First bytes of frames: the last of a message, and the opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
/// A text that goes on, what it goes on with, and how that ends.
pub(crate) const TEXT_BEGINS: u8 = 0x01;
pub(crate) const GOES_ON: u8 = 0x00;
pub(crate) const ENDS: u8 = 0x80;

/// Bytes of what was sent that a report shows.
const SHOWN: usize = 48;
