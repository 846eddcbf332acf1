//! The fields of a head, for both directions: how the body is framed, which fields are of this hop only
//! (RFC 9110, 7.6.1; RFC 9112, 6), and how fields are written.
//!
//! What differs between requests and responses stays with [`request`](super::request) and
//! [`response`](super::response): this module only says what it found.

use std::mem::MaybeUninit;

use memchr::memchr;

/// Most header fields in a head. Storage for them is on the stack and is not initialised.
pub const MAX_FIELDS: usize = 512;

/// Most names of other fields in `Connection`: each is looked for among all fields.
const MAX_NAMED: usize = 256;

/// Room for a head's fields while it is parsed.
pub type Storage<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_FIELDS];

/// Empty room for a head's fields.
pub const fn storage<'a>() -> Storage<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// What is wrong with a head's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// A `Content-Length` that is no plain decimal number of 64 bits.
    LengthMalformed,
    /// Several values of `Content-Length`.
    LengthConflict,
    /// More than one `Transfer-Encoding`.
    CodingRepeated,
    /// A transfer coding other than `chunked`.
    CodingUnknown,
    /// More options in `Connection` than anybody needs.
    ConnectionTooLong,
}

/// The options of all `Connection` fields together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether `close` was among the options.
    pub close: bool,
    /// Whether `keep-alive` was.
    pub keep_alive: bool,
    /// Whether `upgrade` was.
    pub upgrade: bool,
    /// How many other options there were: names of fields of this hop only.
    named: usize,
}

/// A head's fields, and what they say about the message itself.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a, 'b> {
    all: &'b [httparse::Header<'a>],
    /// The options of `Connection`.
    pub connection: Connection,
    /// `Content-Length`, if it was given.
    pub length: Option<u64>,
    /// Whether the body is chunked.
    pub chunked: bool,
}

impl<'a, 'b> Fields<'a, 'b> {
    /// Looks through parsed fields. `number` reads a `Content-Length`: [`decimal`] or [`repeated`].
    pub fn read(
        all: &'b [httparse::Header<'a>],
        number: impl Fn(&[u8]) -> Option<u64>,
    ) -> Result<Self, FieldError> {
        let mut connection = Connection::default();
        let (mut length, mut chunked) = (None, false);
        for field in all {
            // Told apart by length first: most fields differ from all of these by that alone.
            match field.name.len() {
                10 if field.name.eq_ignore_ascii_case("connection") => connection.add(field.value),
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let value = number(field.value).ok_or(FieldError::LengthMalformed)?;
                    if length
                        .replace(value)
                        .is_some_and(|earlier| earlier != value)
                    {
                        return Err(FieldError::LengthConflict);
                    }
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if chunked {
                        return Err(FieldError::CodingRepeated);
                    }
                    if !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(FieldError::CodingUnknown);
                    }
                    chunked = true;
                }
                _ => {}
            }
        }
        if connection.named > MAX_NAMED {
            return Err(FieldError::ConnectionTooLong);
        }
        Ok(Self {
            all,
            connection,
            length,
            chunked,
        })
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&'a str, &'a [u8])> + Clone + 'b
    where
        'a: 'b,
    {
        self.all.iter().map(|field| (field.name, field.value))
    }

    /// The values of all fields of this name, in order.
    pub fn values<'n>(
        &self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone + use<'a, 'b, 'n>
    where
        'a: 'b,
    {
        self.all
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Whether the connection is to be kept after this message (RFC 9112, 9.3).
    pub fn keeps_alive(&self, http11: bool) -> bool {
        !self.connection.close && (http11 || self.connection.keep_alive)
    }

    /// Whether a field stays on this hop: by what it is, because the message is framed afresh, or
    /// because `Connection` names it.
    ///
    /// `Host` says whom a request is for and is never of one hop only, whatever `Connection` says.
    pub fn is_hop_by_hop(&self, name: &str) -> bool {
        is_one_of(
            name,
            &[
                "te",
                "upgrade",
                "trailer",
                "connection",
                "keep-alive",
                "content-length",
                "proxy-connection",
                "transfer-encoding",
                "proxy-authorization",
                "proxy-authenticate",
            ],
        ) || (self.connection.named > 0
            && !name.eq_ignore_ascii_case("host")
            && self.connection_names(name))
    }

    fn connection_names(&self, name: &str) -> bool {
        let mut found = false;
        for value in self.values("connection") {
            for_each_element(value, |option| {
                found |= option.eq_ignore_ascii_case(name.as_bytes());
            });
        }
        found
    }
}

impl Connection {
    fn add(&mut self, value: &[u8]) {
        for_each_element(value, |option| {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.named += 1;
            }
        });
    }
}

/// Whether a name is one of these (lower-case) names.
pub fn is_one_of(name: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|other| other.len() == name.len() && other.eq_ignore_ascii_case(name))
}

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

/// A decimal number without sign or space, as `Content-Length` wants it.
pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// A decimal number, or a list of nothing but the same one, such as a recipient makes of several
/// fields (RFC 9110, 8.6; RFC 9112, 6.3).
pub fn repeated(value: &[u8]) -> Option<u64> {
    let elements = value.split(|byte| *byte == b',');
    let mut numbers = elements.map(|element| decimal(element.trim_ascii()));
    let first = numbers.next()??;
    numbers.all(|number| number == Some(first)).then_some(first)
}

/// Appends a decimal number.
pub fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a header field.
pub fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a `Via` field for a message that was received in this version (RFC 9110, 7.6.3).
pub fn push_via(out: &mut Vec<u8>, http11: bool) {
    out.extend_from_slice(if http11 {
        b"Via: 1.1 level2\r\n"
    } else {
        b"Via: 1.0 level2\r\n"
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> Vec<httparse::Header<'static>> {
        list.iter()
            .map(|(name, value)| httparse::Header {
                name,
                value: value.as_bytes(),
            })
            .collect()
    }

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
    }

    #[test]
    fn the_same_number_may_be_repeated() {
        for good in [&b"12"[..], b"12, 12", b"12,12 ,\t12"] {
            assert_eq!(repeated(good), Some(12), "{good:?}");
        }
        for bad in [&b""[..], b"1, 2", b"1,", b",1", b"1 1", b"1;1", b"1, x"] {
            assert_eq!(repeated(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let mut seen = Vec::new();
        for_each_element(b" a , ,b,", |element| seen.push(element));
        assert_eq!(seen, [b"a", b"b"]);
    }

    #[test]
    fn connection_names_fields_but_never_host() {
        let list = fields(&[
            ("Connection", "a, b, c, d, e, X-F, Host, close"),
            ("connection", "Keep-Alive, g"),
        ]);
        let fields = Fields::read(&list, decimal).unwrap();
        assert!(fields.connection.close && fields.connection.keep_alive);
        assert!(fields.is_hop_by_hop("x-f") && fields.is_hop_by_hop("G"));
        assert!(!fields.is_hop_by_hop("Host") && !fields.is_hop_by_hop("x"));
        let long = "x,".repeat(MAX_NAMED + 1);
        let list = [httparse::Header {
            name: "Connection",
            value: long.as_bytes(),
        }];
        assert_eq!(
            Fields::read(&list, decimal).unwrap_err(),
            FieldError::ConnectionTooLong
        );
    }
}
