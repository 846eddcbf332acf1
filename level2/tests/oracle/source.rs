//! A second, slow reading of the PROXY protocol's header, written from its specification (versions 1 and 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use level2::proxy_protocol::{Header, LONGEST, parse};

/// What the beginning of a connection is by the specification. `None`: it may still become a header.
fn header(input: &[u8]) -> Option<Result<Header, ()>> {
    const SIGNATURE: [u8; 12] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];
    let agrees = |start: &[u8]| input.iter().zip(start).all(|(a, b)| a == b);
    if agrees(&SIGNATURE) {
        return (input.len() >= 16).then(|| binary(input)).flatten();
    }
    if !agrees(b"PROXY ") {
        return Some(Err(()));
    }
    for end in 1..=106 {
        match input.get(end - 1..=end) {
            Some(b"\r\n") => return Some(line(&input[..end - 1], end + 1)),
            Some(_) => {}
            None => return None,
        }
    }
    Some(Err(()))
}

/// Version 1, section 2.1: single blanks, and nothing in front of a number.
fn line(line: &[u8], length: usize) -> Result<Header, ()> {
    let words: Vec<String> = line
        .split(|byte| *byte == b' ')
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if words[1] == "UNKNOWN" {
        return Ok(Header {
            length,
            source: None,
        });
    }
    if words.len() != 6 {
        return Err(());
    }
    let address = |text: &str| -> Result<IpAddr, ()> {
        Ok(match words[1].as_str() {
            "TCP4" => text.parse::<Ipv4Addr>().map_err(|_| ())?.into(),
            "TCP6" => text.parse::<Ipv6Addr>().map_err(|_| ())?.into(),
            _ => return Err(()),
        })
    };
    let source = address(&words[2])?;
    address(&words[3])?;
    for port in &words[4..] {
        let number: u16 = port.parse().map_err(|_| ())?;
        if number.to_string() != *port {
            return Err(());
        }
    }
    Ok(Header {
        length,
        source: Some(source),
    })
}

/// Version 2, section 2.2; what is longer than the proxy cares to read is refused.
fn binary(input: &[u8]) -> Option<Result<Header, ()>> {
    let length = 16 + 256 * usize::from(input[14]) + usize::from(input[15]);
    if input[12] / 16 != 2 || length > LONGEST {
        return Some(Err(()));
    }
    let addresses = input.get(16..length)?;
    let (family, protocol) = (input[13] / 16, input[13] % 16);
    if input[12] == 0x20 {
        return Some(Ok(Header {
            length,
            source: None,
        }));
    }
    if input[12] != 0x21 || family > 3 || protocol > 2 {
        return Some(Err(()));
    }
    let needed = match (family, protocol) {
        (1, 1..) => 12,
        (2, 1..) => 36,
        (3, 1..) => 216,
        _ => 0,
    };
    if addresses.len() < needed {
        return Some(Err(()));
    }
    let source = match needed {
        12 => addresses.first_chunk::<4>().map(|first| (*first).into()),
        36 => addresses.first_chunk::<16>().map(|first| (*first).into()),
        _ => None,
    };
    Some(Ok(Header { length, source }))
}

/// What must hold of the reading of any bytes as the beginning of a connection.
pub fn check_source(input: &[u8]) {
    let found = parse(input);
    let oracle = header(input);
    assert_eq!(
        found.map_err(|_| ()),
        oracle.map_or(Ok(None), |read| read.map(Some)),
        "{input:?}"
    );
    // However it is cut it is one header, and what comes behind it makes no difference.
    if let Ok(Some(header)) = found {
        assert!(header.length <= input.len());
        for length in 0..header.length {
            assert_eq!(parse(&input[..length]), Ok(None), "{length} of {input:?}");
        }
        assert_eq!(parse(&input[..header.length]), Ok(Some(header)));
    }
}
