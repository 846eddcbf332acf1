//! HTTP/1.1 messages (RFC 9112): heads, bodies, buffers. Pure functions over bytes, without sockets.
//!
//! A head is parsed and *translated* in one step: what goes on to the other side is written afresh from
//! what was understood, never copied as it came. So nothing that two parsers could read in two ways
//! survives the proxy, which is what request smuggling lives on.

pub mod body;
pub mod buffer;
pub mod request;
pub mod response;

use memchr::memchr;

/// Largest number of header fields in a head.
pub const MAX_FIELDS: usize = 128;

/// Calls `each` with the elements of a comma-separated list, trimmed, leaving out empty ones.
pub fn for_each_element<'a>(list: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let mut rest = list;
    loop {
        let end = memchr(b',', rest).unwrap_or(rest.len());
        let element = rest[..end].trim_ascii();
        if !element.is_empty() {
            each(element);
        }
        if end == rest.len() {
            return;
        }
        rest = &rest[end + 1..];
    }
}

/// Field names that a `Connection` header declared to be of this hop only.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states"
)]
pub struct ConnectionOptions<'a> {
    /// Whether `close` was among the options.
    pub close: bool,
    /// Whether `keep-alive` was.
    pub keep_alive: bool,
    /// Whether `upgrade` was.
    pub upgrade: bool,
    /// Names of other fields; more than four are as good as malice, and flagged.
    named: [&'a [u8]; 4],
    named_count: usize,
    /// Whether more fields were named than anybody needs.
    pub too_many: bool,
}

impl<'a> ConnectionOptions<'a> {
    /// Takes in the value of one `Connection` field.
    pub fn add(&mut self, value: &'a [u8]) {
        for_each_element(value, |option| {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if let Some(place) = self.named.get_mut(self.named_count) {
                *place = option;
                self.named_count += 1;
            } else {
                self.too_many = true;
            }
        });
    }

    /// Whether a field was declared to be of this hop only.
    pub fn names(&self, field: &str) -> bool {
        self.named[..self.named_count]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(field.as_bytes()))
    }
}

/// A decimal number without sign or space, as `Content-Length` wants it.
pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Appends a decimal number.
pub fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a header field.
pub fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_plain_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"+1",
            b"-1",
            b" 1",
            b"1,1",
            b"0x1",
            b"18446744073709551616",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
        let mut out = Vec::new();
        push_decimal(&mut out, 0);
        push_decimal(&mut out, u64::MAX);
        assert_eq!(out, b"018446744073709551615");
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let mut seen = Vec::new();
        for_each_element(b" a , ,b,", |element| seen.push(element));
        assert_eq!(seen, [b"a", b"b"]);
    }
}
