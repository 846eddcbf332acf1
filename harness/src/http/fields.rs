//! The header fields that frame a message (RFC 9112, sections 6 and 9.3).

use super::Malformed;

/// What the fields of a head say about the message's body and its connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// `Content-Length`; it means nothing where there is a `Transfer-Encoding`.
    pub length: Option<usize>,
    /// `Transfer-Encoding`, if there is one.
    pub encoding: Option<Encoding>,
    close: bool,
    keep: bool,
}

/// What the last encoding of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Chunks, whose end shows.
    Chunked,
    /// Any other, whose end is the connection's.
    Other,
}

impl Fields {
    /// Reads the fields.
    ///
    /// # Errors
    /// A length that is no number, or two that differ.
    pub fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for header in headers {
            let value = std::str::from_utf8(header.value).unwrap_or("?").trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = length(value)?;
                if fields.length.is_some_and(|known| known != length) {
                    return Err(Malformed::Length);
                }
                fields.length = Some(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let last = value.rsplit(',').next().unwrap_or_default();
                let is_chunked = last.trim().eq_ignore_ascii_case("chunked");
                fields.encoding = Some(if is_chunked {
                    Encoding::Chunked
                } else {
                    Encoding::Other
                });
            } else if header.name.eq_ignore_ascii_case("connection") {
                fields.close |= has_token(value, "close");
                fields.keep |= has_token(value, "keep-alive");
            }
        }
        Ok(fields)
    }

    /// Whether the connection lives on after a message of this version (0 for HTTP/1.0).
    pub fn keep_alive(&self, version: Option<u8>) -> bool {
        !self.close && (version == Some(1) || self.keep)
    }
}

/// A number of bytes: digits and nothing else.
fn length(value: &str) -> Result<usize, Malformed> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::Length);
    }
    value.parse().map_err(|_| Malformed::TooLarge)
}

/// Whether a comma-separated header value holds a token.
fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Fields, Malformed> {
        let headers: Vec<_> = fields
            .iter()
            .map(|(name, value)| httparse::Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        Fields::read(&headers)
    }

    #[test]
    fn a_length_is_digits_and_one_number() {
        let length = |value| read(&[("Content-Length", value)]).map(|fields| fields.length);
        assert_eq!(length(" 12 "), Ok(Some(12)));
        for bad in ["", "+1", "-1", "1 2", "0x1", "1,1"] {
            assert_eq!(length(bad), Err(Malformed::Length), "{bad:?}");
        }
        assert_eq!(length("99999999999999999999"), Err(Malformed::TooLarge));
        let twice = |second| read(&[("content-length", "1"), ("Content-Length", second)]);
        assert!(twice("1").is_ok());
        assert_eq!(twice("2"), Err(Malformed::Length));
    }

    #[test]
    fn only_chunked_as_the_last_encoding_shows_an_end() {
        let encoding = |value| read(&[("Transfer-Encoding", value)]).unwrap().encoding;
        let chunked = |value| encoding(value) == Some(Encoding::Chunked);
        assert!(chunked("chunked") && chunked("gzip, Chunked"));
        assert!(!chunked("chunked, gzip") && !chunked("identity") && !chunked(""));
    }
}
