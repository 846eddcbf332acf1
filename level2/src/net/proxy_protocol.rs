//! The PROXY protocol, versions 1 and 2: what a proxy in front says of a connection before it passes it on
//! (haproxy.org/download/3.0/doc/proxy-protocol.txt).

use std::net::IpAddr;

use crate::http::fields::decimal;

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before what depends on the kind of address.
const FIXED: usize = 16;

/// Longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

/// Most bytes of a header: version 2 may have fields that nobody here reads.
pub const LONGEST: usize = FIXED + 4096;

/// What is no header of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHeader;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes.
    pub length: usize,
    /// Whom the connection comes from; `None`: from the proxy itself, or from somebody without an address.
    pub source: Option<IpAddr>,
}

/// Reads a header from the start of a connection. `None`: it is not complete.
pub fn parse(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let starts = |with: &[u8]| {
        let length = input.len().min(with.len());
        input[..length] == with[..length]
    };
    if starts(b"PROXY ") {
        version_1(input)
    } else if starts(SIGNATURE) {
        version_2(input)
    } else {
        Err(BadHeader)
    }
}

fn version_1(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let window = &input[..input.len().min(LONGEST_LINE)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() < LONGEST_LINE {
            Ok(None)
        } else {
            Err(BadHeader)
        };
    };
    let words: Vec<&[u8]> = window[..end].split(|&byte| byte == b' ').collect();
    let source = match words[..] {
        // Whatever else the line says is of no use.
        [_, b"UNKNOWN", ..] => None,
        [_, family @ (b"TCP4" | b"TCP6"), source, target, from, to] => {
            let is_v4 = family == b"TCP4";
            address(target, is_v4)?;
            port(from)?;
            port(to)?;
            Some(address(source, is_v4)?)
        }
        _ => return Err(BadHeader),
    };
    Ok(Some(Header {
        length: end + 2,
        source,
    }))
}

fn address(text: &[u8], is_v4: bool) -> Result<IpAddr, BadHeader> {
    let text = std::str::from_utf8(text).map_err(|_| BadHeader)?;
    let address: IpAddr = text.parse().map_err(|_| BadHeader)?;
    if address.is_ipv4() == is_v4 {
        Ok(address)
    } else {
        Err(BadHeader)
    }
}

/// Whether this is a port: digits, without a sign and without zeros in front.
fn port(text: &[u8]) -> Result<(), BadHeader> {
    let plain = matches!(text, [b'0'] | [b'1'..=b'9', ..]);
    match decimal(text) {
        Some(..=0xffff) if plain => Ok(()),
        _ => Err(BadHeader),
    }
}

fn version_2(input: &[u8]) -> Result<Option<Header>, BadHeader> {
    let Some(&[version, family, high, low]) = input.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 || length > LONGEST {
        return Err(BadHeader);
    }
    let Some(addresses) = input.get(FIXED..length) else {
        return Ok(None);
    };
    let source = match (version & 0xf, family) {
        (1, 0x11 | 0x12) => Some(first::<4>(addresses, 12)?.into()),
        (1, 0x21 | 0x22) => Some(first::<16>(addresses, 36)?.into()),
        // A unix socket's, which has two paths of 108 bytes.
        (1, 0x31 | 0x32) => first::<216>(addresses, 216).map(|_| None)?,
        // The proxy's own, such as a check; or of a family or a protocol that is not told.
        (0, _) => None,
        (1, _) if family >> 4 <= 3 && family & 0xf <= 2 => None,
        _ => return Err(BadHeader),
    };
    Ok(Some(Header { length, source }))
}

/// The first bytes of addresses that have so many.
fn first<const N: usize>(addresses: &[u8], least: usize) -> Result<[u8; N], BadHeader> {
    if addresses.len() < least {
        return Err(BadHeader);
    }
    addresses[..N].try_into().map_err(|_| BadHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(input: &[u8]) -> Result<Option<String>, BadHeader> {
        let header = parse(input)?.expect("it is complete");
        assert_eq!(header.length, input.len());
        Ok(header.source.map(|source| source.to_string()))
    }

    fn second(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn both_versions_say_whom_a_connection_comes_from() {
        let mut v4 = vec![192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 3, 4];
        let mut v6 = [0x20, 1, 0xd, 0xb8].to_vec();
        v6.resize(36, 0);
        for (header, wanted) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n".to_vec(),
                Some("192.0.2.1"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 5 80\r\n".to_vec(),
                Some("2001:db8::1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever it says \xff\r\n".to_vec(), None),
            (second(1, 0x11, &v4), Some("192.0.2.1")),
            (second(1, 0x21, &v6), Some("2001:db8::")),
            (second(0, 0x11, &v4), None),
            (second(1, 0x31, &[0; 216]), None),
            (second(1, 0, b""), None),
            (second(1, 0x10, b""), None),
            (second(0, 0xff, b""), None),
        ] {
            assert_eq!(source(&header), Ok(wanted.map(String::from)), "{header:?}");
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Ok(None), "{length} of {header:?}");
            }
        }
        // Fields after the addresses are passed over.
        v4.extend([3, 0, 4, 1, 2, 3, 4]);
        assert_eq!(source(&second(1, 0x11, &v4)), Ok(Some("192.0.2.1".into())));
    }

    #[test]
    fn everything_else_is_none() {
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5\r\n",
            b"PROXY TCP4 ::1 ::1 5 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5 99999\r\n",
            b"PROXY TCP4 192.0.2.1  10.0.0.1 5 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +5 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5 080\r\n",
            b"PROXY TCP4 192.0.2.01 10.0.0.1 5 80\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 5 80\r\n",
            b"PROXY \xff\r\n",
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            &second(1, 0x11, &[1; 11]),
            &second(2, 0x11, &[1; 12]),
            &second(1, 0x41, &[1; 36]),
            &second(1, 0x13, &[1; 36]),
            &second(1, 0x31, &[0; 215]),
            &second(1, 0x11, &[0; 5000]),
        ] {
            assert_eq!(parse(bad), Err(BadHeader), "{bad:?}");
        }
    }
}
