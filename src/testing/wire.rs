//! Frames as bytes: a client's to write, a server's to read.

/// A frame as a client sends it, in one piece: `first` is its first byte, and the mask is all zeros,
/// so that the payload can be read on the wire.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(first, [0; 4], payload)
}

/// The same with a mask (RFC 6455 §5.3).
pub fn masked(first: u8, key: [u8; 4], payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A message in so many frames, one at least; some are empty if it has fewer bytes.
pub fn fragments(opcode: u8, key: [u8; 4], payload: &[u8], count: usize) -> Vec<Vec<u8>> {
    let count = count.max(1);
    let cut = |n: usize| payload.len() * n / count;
    let fragment = |n: usize| {
        let opcode = if n == 0 { opcode } else { 0 };
        let last = if n + 1 == count { 0x80 } else { 0 };
        masked(last | opcode, key, &payload[cut(n)..cut(n + 1)])
    };
    (0..count).map(fragment).collect()
}

/// The first of a server's frames in `bytes`, if it is there whole: its opcode, its payload, and what
/// is behind it.
///
/// # Panics
///
/// If it is in parts, masked, or uses a reserved bit: a server of this crate writes no such frame.
pub fn parse(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, 0x80, "a fragment, or a reserved bit");
    assert_eq!(second & 0x80, 0, "a masked frame");
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), rest)
        }
        length => (usize::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first & 0x0f, payload, rest))
}

/// A server's frames: opcode and payload. The last may be cut short, and is left out then.
pub fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = bytes;
    std::iter::from_fn(|| {
        let (opcode, payload, behind) = parse(rest)?;
        rest = behind;
        Some((opcode, payload.to_vec()))
    })
    .collect()
}
