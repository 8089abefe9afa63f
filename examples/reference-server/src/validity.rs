//! Read when a certificate ends, which nothing else tells before it has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of an X.509 certificate in DER (RFC 5280 §4.1); `None` if it is not one.
pub(crate) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // A version, if there is one; the serial number, the algorithm, the issuer.
    let (tag, _, behind) = element(rest)?;
    if tag == VERSION {
        rest = behind;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, end, _) = element(rest)?;
    time(tag, end)
}

/// The first element: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..0x80 => (length.into(), rest),
        _ => {
            let (length, rest) = rest.split_at_checked((length & 0x7f).into())?;
            if length.len() > size_of::<u32>() {
                return None;
            }
            (length.iter().fold(0, |sum, it| sum << 8 | usize::from(*it)), rest)
        }
    };
    let (within, behind) = rest.split_at_checked(length)?;
    Some((tag, within, behind))
}

/// `YYMMDDHHMMSSZ`, or the same with four digits of a year.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == GENERALIZED_TIME { 4 } else { 2 })?;
    let year: i64 = year.parse().ok()?;
    let year = match tag {
        UTC_TIME if year < 50 => 2000 + year,
        UTC_TIME => 1900 + year,
        GENERALIZED_TIME => year,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u32>().ok();
    let [month, day, hour, minute, second] = [part(0)?, part(2)?, part(4)?, part(6)?, part(8)?];
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let seconds = u64::from(hour * 3600 + minute * 60 + second);
    let days = u64::try_from(days(year, month.into(), day.into())).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(days.checked_mul(86_400)?.checked_add(seconds)?))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, with years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_what_it_was_made_with() {
        for (year, month, day, days) in [
            (2038, 1, 19, 24_855),
            (2024, 2, 29, 19_782),
            (2049, 12, 31, 29_219),
            (2050, 1, 1, 29_220),
        ] {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let end = UNIX_EPOCH + Duration::from_secs(days * 86_400);
            assert_eq!(not_after(certificate.der()), Some(end), "{year}");
            // However it is cut.
            for length in 0..100 {
                assert_eq!(not_after(&certificate.der()[..length]), None);
            }
        }
        assert_eq!(not_after(b"\x30\x84\xff\xff\xff\xff\0"), None);
    }
}
