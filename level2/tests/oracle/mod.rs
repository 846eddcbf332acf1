//! A second, slow reading of HTTP/1.1 messages, written from RFC 9112, and what must hold of the proxy's
//! translation beside it. Used by a property test and by the fuzz targets.
//!
//! Nothing is shared with the proxy's own parser: lines are split before anything else is looked at,
//! everything is copied, and every rule is one line.

#![allow(dead_code)] // Each of its users needs a part.

pub mod source;

use level2::http::body::{Decoder, Encoder, Framing};
use level2::http::fields::{MAX_FIELDS, storage};
use level2::http::request::{self, Hop};
use level2::http::response::{self, Answer, Date, Recipient};
use level2::http::trailers::{self, Passing};

/// A head, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub start: Vec<String>,
    pub fields: Vec<(String, Vec<u8>)>,
    /// Bytes of the head, with the empty line.
    pub length: usize,
}

/// Names that a field after a body must not have (RFC 9110, 6.5.1), and two by which its sender would claim to be
/// somebody else.
const MEANINGFUL: [&str; 12] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "x-forwarded-for",
    "x_forwarded_for",
];

/// What the sender of requests is called.
const SENDER: &str = "192.0.2.1";

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not {
    Complete,
    Valid,
}

/// Lines up to the first empty one, without their ends; a bare LF ends a line too (RFC 9112, 2.2).
fn lines(input: &[u8]) -> Result<(Vec<&[u8]>, usize), Not> {
    let (mut lines, mut at) = (Vec::new(), 0);
    loop {
        let end = input[at..]
            .iter()
            .position(|&b| b == b'\n')
            .ok_or(Not::Complete)?;
        let line = &input[at..at + end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += end + 1;
        match (line.is_empty(), lines.is_empty()) {
            // Empty lines in front are passed over.
            (true, true) => {}
            (true, false) => return Ok((lines, at)),
            _ => lines.push(line),
        }
    }
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&b| b == b'\t' || (b' '..=b'~').contains(&b) || b >= 0x80)
}

/// Without the optional space around: blanks and tabs, and nothing else that is white.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().take_while(|b| blank(b)).count();
    let rest = &bytes[start..];
    let end = rest.iter().rev().take_while(|b| blank(b)).count();
    &rest[..rest.len() - end]
}

/// `name: value` with optional space around the value, and, in answers, after the name (5.1).
fn field(line: &[u8], answer: bool) -> Result<(String, Vec<u8>), Not> {
    let colon = line.iter().position(|&b| b == b':').ok_or(Not::Valid)?;
    let mut name = &line[..colon];
    if answer {
        name = trimmed(name);
    }
    let value = trimmed(&line[colon + 1..]);
    if !is_token(name) || !is_value(value) {
        return Err(Not::Valid);
    }
    Ok((String::from_utf8_lossy(name).to_lowercase(), value.to_vec()))
}

/// A request's head, valid by the grammar alone.
pub fn request_head(input: &[u8]) -> Result<Head, Not> {
    let (lines, length) = lines(input)?;
    let text = std::str::from_utf8(lines[0]).map_err(|_| Not::Valid)?;
    let start: Vec<String> = text.split(' ').map(String::from).collect();
    let [method, target, version] = start.as_slice() else {
        return Err(Not::Valid);
    };
    let visible = |c: char| c > ' ' && c != '\u{7f}';
    let valid = is_token(method.as_bytes())
        && !target.is_empty()
        && target.chars().all(visible)
        && matches!(version.as_str(), "HTTP/1.0" | "HTTP/1.1");
    let fields: Result<Vec<_>, Not> = lines[1..].iter().map(|line| field(line, false)).collect();
    if !valid {
        return Err(Not::Valid);
    }
    Ok(Head {
        fields: fields?,
        start,
        length,
    })
}

impl Head {
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_slice()).collect()
    }

    fn elements(&self, name: &str) -> Vec<String> {
        let values = self.values(name).join(&b',');
        let text = String::from_utf8_lossy(&values).to_lowercase();
        let trimmed = text
            .split(',')
            .map(|e| e.trim_matches([' ', '\t']).to_string());
        trimmed.filter(|element| !element.is_empty()).collect()
    }

    /// The body's length by RFC 9112, 6.3, for requests; what the RFC lets a server refuse is refused.
    pub fn request_framing(&self) -> Result<Framing, Not> {
        let codings = self.values("transfer-encoding");
        let lengths = self.values("content-length");
        let digits = |v: &&[u8]| !v.is_empty() && v.iter().all(u8::is_ascii_digit);
        if !lengths.iter().all(digits) {
            return Err(Not::Valid);
        }
        let mut numbers = Vec::new();
        for length in &lengths {
            let text = String::from_utf8_lossy(length);
            numbers.push(text.parse::<u64>().map_err(|_| Not::Valid)?);
        }
        numbers.dedup();
        match (codings.as_slice(), numbers.as_slice()) {
            ([], [] | [0]) => Ok(Framing::Empty),
            ([], [length]) => Ok(Framing::Sized(*length)),
            ([one], []) if one.eq_ignore_ascii_case(b"chunked") && self.start[2] == "HTTP/1.1" => {
                Ok(Framing::Chunked)
            }
            _ => Err(Not::Valid),
        }
    }
}

/// Whether a request that the grammar allows may be refused all the same: by another rule of the RFC,
/// or because the proxy does not do what it asks for.
fn may_be_refused(head: &Head) -> bool {
    let hosts = head.values("host");
    let plain = |host: &[u8]| {
        host.iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b))
    };
    let missing = hosts.is_empty() && head.start[2] == "HTTP/1.1";
    missing
        || hosts.len() > 1
        || !hosts.iter().all(|host| plain(host))
        || head.start[0] == "CONNECT"
        || head.start[0] == "TRACE"
        || !head.start[1].starts_with('/')
        || head.start[1].contains('#')
        || !head.values("expect").is_empty()
        || !head.values("upgrade").is_empty()
        || head.fields.len() > MAX_FIELDS
        || head.elements("connection").len() > 250
}

/// What must hold of the translation of any bytes that a client may send as a head.
pub fn check_request(input: &[u8], trusted: bool) {
    let mut room = storage();
    let parsed = request::parse(input, &mut room);
    let oracle = request_head(input);
    let framing = oracle
        .as_ref()
        .map_err(|not| *not)
        .and_then(Head::request_framing);
    let head = match parsed {
        Ok(Some(head)) => head,
        Ok(None) => {
            assert!(oracle != Err(Not::Valid) || lines(input).is_err());
            assert!(
                oracle.is_err(),
                "not complete: {:?}",
                String::from_utf8_lossy(input)
            );
            return;
        }
        Err(_) => {
            let fine = oracle.is_ok_and(|head| !may_be_refused(&head)) && framing.is_ok();
            assert!(!fine, "refused: {:?}", String::from_utf8_lossy(input));
            return;
        }
    };
    let oracle = oracle.expect("the proxy has taken what is no request");
    assert_eq!(head.request.head_length, oracle.length);
    assert_eq!(Ok(head.request.framing), framing);
    let mut out = Vec::new();
    let hop = Hop {
        sender: SENDER,
        trusted,
        secure: false,
        http2: false,
    };
    head.write(hop, &mut out);
    check_passed(&out, &oracle, trusted);
}

/// What goes out can be read in one way only, and means the same.
fn check_passed(out: &[u8], oracle: &Head, trusted: bool) {
    let passed = request_head(out).expect("what goes out is no request");
    assert_eq!(passed.length, out.len());
    assert!(!out.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
    assert_eq!(passed.start[0], oracle.start[0]);
    assert_eq!(passed.start[2], "HTTP/1.1");
    assert_eq!(passed.request_framing(), oracle.request_framing());
    assert_eq!(passed.values("host").len(), 1);
    let framings = passed.values("content-length").len() + passed.values("transfer-encoding").len();
    assert!(framings <= 1);
    for (name, value) in &passed.fields {
        let ours = [
            "host",
            "x-forwarded-for",
            "via",
            "content-length",
            "transfer-encoding",
            "max-forwards",
            "trailer",
        ];
        let known = oracle.fields.iter().any(|(n, v)| n == name && v == value);
        assert!(
            known || ours.contains(&name.as_str()),
            "{name} came from nowhere"
        );
    }
    for hop in oracle.elements("connection") {
        let stays = [
            "host",
            "via",
            "content-length",
            "transfer-encoding",
            "x-forwarded-for",
            "max-forwards",
            "trailer",
        ];
        assert!(
            stays.contains(&hop.as_str()) || passed.values(&hop).is_empty(),
            "{hop} passed"
        );
    }
    for name in [
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-connection",
        "expect",
    ] {
        assert!(passed.values(name).is_empty(), "{name} passed");
    }
    let said = oracle.elements("trailer");
    check_announcement(&passed, |name| said.iter().any(|other| other == name));
    for name in passed.elements("trailer") {
        assert!(!oracle.elements("connection").contains(&name));
    }
    let chain = passed.values("x-forwarded-for");
    assert!(chain.len() == 1 && chain[0].ends_with(SENDER.as_bytes()));
    if !trusted {
        assert_eq!(chain[0], SENDER.as_bytes());
        assert!(passed.values("forwarded").is_empty() && passed.values("x-real-ip").is_empty());
    }
}

/// What is announced for after the body was, and says nothing of the message or of its sender.
fn check_announcement(passed: &Head, said: impl Fn(&str) -> bool) {
    for name in passed.elements("trailer") {
        assert!(
            said(&name) && is_token(name.as_bytes()),
            "{name} is announced"
        );
        assert!(!MEANINGFUL.contains(&name.as_str()), "{name} is announced");
    }
}

/// All lengths that an answer gives its body: each field may be a list (RFC 9112, 6.3) and folded (5.2).
fn lengths_of_answer(input: &[u8]) -> Vec<Result<u64, std::num::ParseIntError>> {
    let (lines, _) = lines(input).expect("the proxy has taken what is no head");
    let mut unfolded: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        match unfolded.last_mut() {
            Some(before) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                before.extend(line);
            }
            _ => unfolded.push(line.to_vec()),
        }
    }
    let fields = unfolded[1..]
        .iter()
        .filter_map(|line| field(line, true).ok());
    let lengths = fields.filter(|(name, _)| name == "content-length");
    let values = lengths.map(|(_, value)| String::from_utf8_lossy(&value).into_owned());
    let values: Vec<String> = values.collect();
    let elements = values.iter().flat_map(|value| value.split(','));
    elements.map(|element| element.trim().parse()).collect()
}

/// What must hold of the translation of any bytes that a backend may send as a head.
pub fn check_response(input: &[u8], is_head: bool, http11: bool) {
    let to = Recipient {
        is_head,
        http11,
        keep_alive: true,
        collects: false,
        date: Date::new(std::time::UNIX_EPOCH),
        allowance: None,
    };
    let mut out = Vec::new();
    let Ok(Some(answer)) = response::translate(input, to, &mut out) else {
        return;
    };
    let (lines, length) = match answer {
        Answer::Interim(length) if out.is_empty() => {
            assert!(length <= input.len());
            return;
        }
        Answer::Interim(length) => (lines(&out).expect("no head goes out"), length),
        Answer::Final(response) => (lines(&out).expect("no head goes out"), response.head_length),
    };
    assert!(length <= input.len());
    let ((lines, written), out) = (lines, &out);
    assert_eq!(written, out.len());
    assert!(!out.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
    assert!(lines[0].starts_with(b"HTTP/1.1 "));
    let fields: Result<Vec<_>, Not> = lines[1..].iter().map(|line| field(line, false)).collect();
    let head = Head {
        start: vec![String::new(), String::new(), "HTTP/1.1".into()],
        fields: fields.expect("a malformed field goes out"),
        length: written,
    };
    let Answer::Final(response) = answer else {
        return;
    };
    let chunked = head.values("transfer-encoding");
    let sized = head.values("content-length");
    assert!(chunked.len() + sized.len() <= 1, "framed twice");
    assert_eq!(!chunked.is_empty(), response.encoder == Encoder::Chunked);
    if !head.elements("trailer").is_empty() {
        assert_eq!(response.encoder, Encoder::Chunked);
    }
    check_announcement(&head, |name| {
        input
            .windows(name.len())
            .any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    });
    match response.framing {
        Framing::Sized(length) => {
            assert_eq!(sized, [length.to_string().as_bytes()]);
            let given = lengths_of_answer(input);
            assert!(!given.is_empty() && given.iter().all(|given| *given == Ok(length)));
        }
        Framing::Chunked | Framing::UntilClose => {
            assert!(sized.is_empty() && (http11 || response.ends_by_close));
        }
        Framing::Empty => assert!(is_head || matches!(response.status, 204 | 304)),
    }
    if response.ends_by_close {
        assert_eq!(head.elements("connection"), ["close"]);
    }
    assert_eq!(head.values("date").len().min(1), 1);
    assert!(!head.values("via").is_empty() && head.values("upgrade").is_empty());
}

/// A chunked body's content and its length on the wire, by RFC 9112, 7.1, read all at once.
fn chunks(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    let line = |at: usize| {
        let end = input.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
        let line = &input[at..at + end];
        is_value(line).then_some((line, at + end + 2))
    };
    loop {
        let (text, next) = line(at)?;
        let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let rest = trimmed(&text[digits..]);
        if !(text.len() == digits || rest.starts_with(b";")) {
            return None;
        }
        let size = u128::from_str_radix(std::str::from_utf8(&text[..digits]).ok()?, 16).ok()?;
        let size = usize::try_from(u64::try_from(size).ok()?).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        content.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        if input.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let (text, next) = line(at)?;
        at = next;
        if text.is_empty() {
            return Some((content, at));
        }
    }
}

/// What must hold of any bytes between the last chunk and the next message: what goes out are fields that came, none
/// of which means anything but itself.
pub fn check_trailers(input: &[u8]) {
    let mut out = Vec::new();
    trailers::push(input, Passing::All, &mut out);
    assert!(out.ends_with(b"\r\n") && !out.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
    if out.len() == 2 {
        return;
    }
    let came = lines(input).expect("no section became one").0;
    let came: Vec<_> = came.iter().map(|line| field(line, false)).collect();
    let (went, length) = lines(&out).expect("it has an end");
    assert_eq!(length, out.len());
    for line in went {
        let (name, value) = field(line, false).expect("a malformed field goes out");
        assert!(!MEANINGFUL.contains(&name.as_str()), "{name} passed");
        assert!(came.contains(&Ok((name, value))), "it came from nowhere");
    }
    assert!(came.iter().all(Result::is_ok), "a malformed section passed");
}

/// What must hold of the decoding of any bytes as chunks, wherever they are cut.
pub fn check_chunks(input: &[u8], cut: usize) {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut content, mut used, mut seen) = (Vec::new(), 0, 0);
    let outcome = loop {
        seen = (seen + cut.max(1)).min(input.len());
        let step = loop {
            match decoder.next(&input[used..seen]) {
                Ok(piece) if piece.skip + piece.data == 0 => break Ok(()),
                Ok(piece) => {
                    let start = used + piece.skip;
                    content.extend_from_slice(&input[start..start + piece.data]);
                    used = start + piece.data;
                }
                Err(bad) => break Err(bad),
            }
        };
        if step.is_err() || decoder.done() || seen == input.len() {
            break step;
        }
    };
    let oracle = chunks(input);
    if outcome.is_ok() && decoder.done() {
        let (expected, length) = oracle.expect("the proxy has taken what are no chunks");
        assert_eq!((&content, used), (&expected, length));
        let mut again = Vec::new();
        Encoder::Chunked.push(&mut again, &content);
        Encoder::Chunked.finish(b"", Passing::All, &mut again);
        assert_eq!(chunks(&again), Some((expected, again.len())));
    } else if let Some((_, length)) = oracle {
        // Only for the sake of a bound on what is not content.
        assert!(
            length > 16 * 1024,
            "refused: {:?}",
            String::from_utf8_lossy(input)
        );
    }
}
