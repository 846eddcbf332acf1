//! Segments: the files of the log, and how to tell a torn write from damage.
//!
//! | part | bytes |
//! |---|---|
//! | header | `L4LOG`, two zeros, version; segment number u64; number of its first record u64; length of the file u32; CRC32C of these u32 |
//! | record | length u32, CRC32C u32, number u64, payload, zeros to a multiple of 8 |
//! | mark | a record numbered [`CLOSED`]: the next segment is there |
//!
//! All integers are little-endian. The CRC covers number and payload. Records are numbered through the
//! whole log. The file is preallocated with zeros, so a length of 0 marks the end, and a file that is
//! shorter than its header says has been cut.
//!
//! One record is one write followed by one sync, and the next record is written only after that sync.
//! So at most one record can be torn: the last. A bad record with a whole, later one behind it was
//! synced once and has been damaged since. The mark is written once the next segment's first record is
//! synced, and before anybody hears of that record; so a marked segment that is the last has lost its
//! successor.

use crate::log::LogError;

/// Header of a segment, bytes.
pub const HEADER: usize = 32;
/// Header of a record, bytes.
pub const RECORD_HEADER: usize = 16;
/// The number of the record that says that another segment follows.
pub const CLOSED: u64 = u64::MAX;
/// Length of that record, bytes.
const MARK: usize = 24;
/// Format version of segments.
const VERSION: u8 = 2;
const MAGIC: [u8; 8] = [b'L', b'4', b'L', b'O', b'G', 0, 0, VERSION];

/// The first bytes of segment `number`, whose first record is `first`, in a file of `size` bytes.
pub fn header(number: u64, first: u64, size: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    bytes[24..28].copy_from_slice(&size.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The mark that the next segment is there.
pub fn mark() -> Vec<u8> {
    record(CLOSED, &[1])
}

/// The bytes of record `number`.
pub fn record(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((RECORD_HEADER + payload.len()).next_multiple_of(8));
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The whole record at `at`: its number and payload.
fn record_at(bytes: &[u8], at: usize) -> Option<(u64, &[u8])> {
    let length = u32_at(bytes, at)? as usize;
    let number = u64_at(bytes, at + 8)?;
    let end = at.checked_add(RECORD_HEADER + length)?;
    let payload = bytes.get(at + RECORD_HEADER..end)?;
    if length == 0 || crc32c::crc32c(&bytes[at + 8..end]) != u32_at(bytes, at + 4)? {
        return None;
    }
    Some((number, payload))
}

/// The version of a file that begins with this magic, whose last byte is the version, if it is another.
pub fn foreign_version(bytes: &[u8], magic: [u8; 8]) -> Option<u8> {
    let (found, rest) = bytes.split_at_checked(7)?;
    let version = *rest.first()?;
    (found == &magic[..7] && version != magic[7]).then_some(version)
}

/// What reading a segment gave.
#[derive(Debug, Default)]
pub struct Scan<'a> {
    /// The payloads in order.
    pub payloads: Vec<&'a [u8]>,
    /// Where the next record goes, bytes from the start of the file; 0: not even the header is there.
    pub end: usize,
    /// The number of the next record.
    pub next: u64,
    /// A last write was torn, and is left out.
    pub torn: bool,
    /// The mark is there: this segment is not the last.
    pub closed: bool,
}

/// Reads segment `number`. Its first record has number `first`, where known (all but the oldest
/// segment). Only the log's last segment (`is_last`) may end in a torn write.
///
/// # Errors
///
/// [`LogError::Damaged`] with `name` and the offset.
pub fn scan<'a>(
    name: &str,
    bytes: &'a [u8],
    number: u64,
    first: Option<u64>,
    is_last: bool,
) -> Result<Scan<'a>, LogError> {
    let damaged = |offset: usize| LogError::Damaged {
        file: name.to_owned(),
        offset,
    };
    let written = u64_at(bytes, 16).unwrap_or_default();
    let size = u32_at(bytes, 24).unwrap_or_default();
    let intact = bytes.get(..HEADER) == Some(&header(number, written, size)[..])
        && first.is_none_or(|first| first == written);
    if !intact {
        // Every release keeps the magic and the place of the version.
        if let Some(found) = foreign_version(bytes, MAGIC) {
            return Err(LogError::Version {
                file: name.to_owned(),
                found,
                known: VERSION,
            });
        }
        // The header is synced together with the first record.
        if is_last && later_record(bytes, 0, first.unwrap_or_default()).is_none() {
            return Ok(Scan {
                torn: true,
                next: first.unwrap_or(1),
                ..Scan::default()
            });
        }
        return Err(damaged(0));
    }
    let first = written;
    let mut scan = Scan {
        end: HEADER,
        ..Scan::default()
    };
    loop {
        let next = first + scan.payloads.len() as u64;
        scan.next = next;
        match record_at(bytes, scan.end) {
            Some((found, payload)) if found == next => {
                scan.payloads.push(payload);
                scan.end += (RECORD_HEADER + payload.len()).next_multiple_of(8);
            }
            Some((CLOSED, _)) => {
                scan.closed = true;
                break;
            }
            _ => {
                scan.torn = tail(bytes, scan.end, next, is_last).ok_or(damaged(scan.end))?;
                break;
            }
        }
    }
    // With a synced record in it, a file has its whole length.
    if !scan.payloads.is_empty() && bytes.len() < size as usize {
        return Err(damaged(bytes.len()));
    }
    Ok(scan)
}

/// Whether what follows the last whole record is a torn write; `None`: it is damage.
fn tail(bytes: &[u8], end: usize, next: u64, is_last: bool) -> Option<bool> {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    let rest = bytes.get(end..).unwrap_or_default();
    if is_zero(rest) {
        return Some(false);
    }
    if is_last {
        return later_record(bytes, end, next).is_none().then_some(true);
    }
    // The mark can be torn, and is not needed when its successor is there.
    let behind = rest.get(MARK..).unwrap_or_default();
    is_zero(behind).then_some(false)
}

/// The offset of a whole record after `from` whose number is beyond `number`.
fn later_record(bytes: &[u8], from: usize, number: u64) -> Option<usize> {
    let mut at = from + 8;
    while at + RECORD_HEADER <= bytes.len() {
        // The number is checked before the CRC: nearly every offset fails there.
        if u64_at(bytes, at + 8)
            .is_some_and(|n| n > number && (n - number < 1 << 40 || n == CLOSED))
            && record_at(bytes, at).is_some()
        {
            return Some(at);
        }
        at += 8;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header(1, 10, 0).to_vec();
        for (number, payload) in payloads.iter().enumerate() {
            bytes.extend(record(number as u64 + 10, payload));
        }
        bytes.resize(bytes.len() + 100, 0);
        bytes
    }

    fn is_damaged(bytes: &[u8], is_last: bool) -> bool {
        matches!(
            scan("s", bytes, 1, Some(10), is_last),
            Err(LogError::Damaged { .. })
        )
    }

    #[test]
    fn whole_records_are_read_back() {
        let bytes = segment(&[b"one", b"twelve bytes", b"three"]);
        let scan = scan("s", &bytes, 1, Some(10), true).unwrap();
        assert_eq!(scan.payloads, [&b"one"[..], b"twelve bytes", b"three"]);
        assert!(!scan.torn);
        assert_eq!(scan.end, bytes.len() - 100);
    }

    #[test]
    fn any_damage_to_the_last_record_is_a_torn_write_and_to_an_earlier_one_is_damage() {
        let whole = segment(&[b"first payload", b"second payload"]);
        let second = HEADER + record(10, b"first payload").len();
        for at in HEADER..second + RECORD_HEADER + 14 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            if at >= HEADER + RECORD_HEADER + 13 && at < second {
                continue; // Padding.
            }
            if at < second {
                assert!(is_damaged(&bytes, true), "offset {at}");
            } else {
                let scan = scan("s", &bytes, 1, Some(10), true).unwrap();
                assert!(scan.torn && scan.payloads.len() == 1, "offset {at}");
                assert!(
                    is_damaged(&bytes, false),
                    "a middle segment cannot be torn: offset {at}"
                );
            }
        }
    }

    #[test]
    fn a_damaged_header_with_records_behind_it_is_damage() {
        let mut bytes = segment(&[b"a", b"b"]);
        bytes[3] ^= 1;
        assert!(is_damaged(&bytes, true));
    }
}
