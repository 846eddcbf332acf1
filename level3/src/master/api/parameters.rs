//! Parameters of a URL, as bytes: a needle need not be UTF-8.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use thiserror::Error;

/// Why a parameter was refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ParameterError {
    /// It is needed and not there.
    #[error("parameter `{0}` is missing")]
    Missing(String),
    /// It is there and empty.
    #[error("parameter `{0}` is empty")]
    Empty(String),
    /// Its bytes are no text.
    #[error("parameter `{0}` is not valid UTF-8")]
    NotUtf8(String),
    /// It is no switch.
    #[error("parameter `{0}` must be true or false")]
    NotSwitch(String),
    /// It is no number, or too large a one.
    #[error("parameter `{name}` must be a number from 0 to {most}")]
    NotNumber {
        /// The parameter.
        name: String,
        /// The largest number that is accepted.
        most: usize,
    },
}

/// The decoded parameters of a query string, in their order.
pub(crate) struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    /// Splits and decodes what stands behind the `?` of a URL.
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(pairs.map(pair).collect())
    }

    /// The first value of a parameter.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a parameter that must be there and not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&[u8], ParameterError> {
        match self.bytes(name) {
            None => Err(ParameterError::Missing(name.to_owned())),
            Some(b"") => Err(ParameterError::Empty(name.to_owned())),
            Some(value) => Ok(value),
        }
    }

    /// The value of a parameter, which must be UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ParameterError> {
        let text = self.bytes(name).map(std::str::from_utf8).transpose();
        text.map_err(|_| ParameterError::NotUtf8(name.to_owned()))
    }

    /// The value of a parameter as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        let bytes = self.bytes(name).filter(|bytes| !bytes.is_empty())?;
        Some(std::ffi::OsString::from_vec(bytes.to_vec()).into())
    }

    /// The value of a switch: absent is off, and so are `false` and `0`.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, ParameterError> {
        match self.bytes(name) {
            None | Some(b"false" | b"0") => Ok(false),
            Some(b"" | b"true" | b"1") => Ok(true),
            Some(_) => Err(ParameterError::NotSwitch(name.to_owned())),
        }
    }

    /// The value of a number up to `most`, or `default`.
    pub(crate) fn number(
        &self,
        name: &str,
        default: usize,
        most: usize,
    ) -> Result<usize, ParameterError> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|&number| number <= most);
        number.ok_or_else(|| ParameterError::NotNumber {
            name: name.to_owned(),
            most,
        })
    }
}

/// Undoes the encoding of a form: `+` is a space, `%41` a byte. What is no such code stays.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', &[high, low, ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = &after[2..];
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_can_be_sent() {
        for (text, bytes) in [
            ("a+b", &b"a b"[..]),
            ("a%20b%2B", b"a b+"),
            ("%ff%00", b"\xff\0"),
            ("100%", b"100%"),
            ("%zz%4", b"%zz%4"),
        ] {
            assert_eq!(decode(text), bytes);
        }
    }

    #[test]
    fn parameters_are_typed() {
        let parameters = Parameters::parse("q=a%26b&regex=true&limit=7&&flag&q=second&bad=%ff");
        assert_eq!(parameters.bytes("q"), Some(&b"a&b"[..]));
        assert_eq!(parameters.switch("regex"), Ok(true));
        assert_eq!(parameters.switch("flag"), Ok(true));
        assert_eq!(parameters.switch("none"), Ok(false));
        assert!(parameters.switch("q").is_err());
        assert_eq!(parameters.number("limit", 1, 10), Ok(7));
        assert_eq!(parameters.number("none", 1, 10), Ok(1));
        assert!(parameters.number("limit", 1, 6).is_err());
        assert!(parameters.text("bad").is_err());
    }
}
