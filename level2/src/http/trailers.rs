//! Fields after a body in chunks (trailers; RFC 9110, 6.5, and RFC 9112, 7.1.2): which are passed on.
//!
//! Many programs put such fields among those of the head, where they would say what nobody has checked: for
//! whom a request is, who has sent it, where it ends. So none of a name that means such a thing passes, in either
//! direction; and of a section that cannot be read in full nothing does.

use super::claims::{is_claim, is_disguised, is_secret};
use super::fields::{Fields, for_each_element, is_one_of, push_field};

/// Most fields after a body, and most names that a head announces. (Of bytes, the decoder allows 16 KiB.)
const MOST: usize = 64;

/// What a line of a head begins with that announces fields, as the proxy writes it.
const ANNOUNCEMENT: &[u8] = b"\r\nTrailer: ";

/// Which of the fields after a body may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing<'a> {
    /// All that may stand there.
    All,
    /// Those of them that this head, which the proxy has written, announces.
    AnnouncedBy(&'a [u8]),
}

impl Passing<'_> {
    fn passes(self, name: &str) -> bool {
        let announced = match self {
            Self::All => true,
            Self::AnnouncedBy(head) => {
                let mut found = false;
                for_each_element(announced(head), |other| {
                    found |= other.eq_ignore_ascii_case(name.as_bytes());
                });
                found
            }
        };
        announced && may_trail(name)
    }
}

/// Whether a field of this name may stand after a body. RFC 9110 (6.5.1) leaves it to each field's definition and
/// names the kinds that must not: what frames or routes a message, modifies a request, proves who somebody is,
/// controls an answer, or says how content is to be read. Claims about whom a proxy speaks for are added.
pub fn may_trail(name: &str) -> bool {
    const KEPT: &[&str] = &[
        // Framing, routing, and what is of one hop.
        "connection",
        "content-length",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        // Modifiers of requests.
        "cache-control",
        "expect",
        "max-forwards",
        "pragma",
        "range",
        // Credentials.
        "authentication-info",
        "proxy-authenticate",
        "proxy-authentication-info",
        "set-cookie",
        "www-authenticate",
        // Control of answers.
        "age",
        "date",
        "expires",
        "location",
        "retry-after",
        "vary",
        "warning",
        // Content.
        "content-encoding",
        "content-range",
        "content-type",
    ];
    let is_condition = name
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("if-"));
    !is_condition
        && !is_one_of(name, KEPT)
        && !is_secret(name)
        && !is_claim(name)
        && !is_disguised(name)
}

/// Appends a line that announces what a head's `Trailer` fields do, as far as it may pass.
pub fn push_announcement(fields: &Fields<'_, '_>, out: &mut Vec<u8>) {
    let mut count = 0;
    for value in fields.values("trailer") {
        for_each_element(value, |name| {
            let is_token =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
            let passes = count < MOST
                && name.iter().all(is_token)
                && std::str::from_utf8(name)
                    .is_ok_and(|name| may_trail(name) && !fields.is_hop_by_hop(name));
            if passes {
                let between: &[u8] = if count == 0 {
                    &ANNOUNCEMENT[2..]
                } else {
                    b", "
                };
                out.extend_from_slice(between);
                out.extend_from_slice(name);
                count += 1;
            }
        });
    }
    if count > 0 {
        out.extend_from_slice(b"\r\n");
    }
}

/// The line that announces fields in a head which the proxy has written, from the end of the line before it; empty if
/// there is none.
pub fn announcement(head: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(head, ANNOUNCEMENT) else {
        return b"";
    };
    let line = &head[at..];
    let end = memchr::memchr(b'\r', &line[ANNOUNCEMENT.len()..]);
    &line[..end.map_or(line.len(), |names| ANNOUNCEMENT.len() + names)]
}

/// The names in a head's announcement.
fn announced(head: &[u8]) -> &[u8] {
    announcement(head)
        .get(ANNOUNCEMENT.len()..)
        .unwrap_or_default()
}

/// Calls `each` with the fields of a section, which ends with its empty line, that may pass.
pub fn for_each<'a>(
    section: &'a [u8],
    passing: Passing<'_>,
    mut each: impl FnMut(&'a str, &'a [u8]),
) {
    // Most bodies have none.
    if section.len() <= 2 {
        return;
    }
    let mut storage = [httparse::EMPTY_HEADER; MOST];
    if let Ok(httparse::Status::Complete((_, fields))) =
        httparse::parse_headers(section, &mut storage)
    {
        for field in fields {
            if passing.passes(field.name) {
                each(field.name, field.value);
            }
        }
    }
}

/// Appends a section afresh, with what may pass.
pub fn push(section: &[u8], passing: Passing<'_>, out: &mut Vec<u8>) {
    for_each(section, passing, |name, value| push_field(out, name, value));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::fields::decimal;
    use super::*;

    fn pushed(section: &str, passing: Passing<'_>) -> String {
        let mut out = Vec::new();
        push(section.as_bytes(), passing, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_means_more_than_itself_stays_behind() {
        let kept = [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "Forwarded",
            "Content-Type",
            "If-Match",
            "Cache-Control",
            "Proxy",
            "Expect",
        ];
        for name in kept {
            assert!(!may_trail(name), "{name}");
            assert_eq!(pushed(&format!("{name}: x\r\n\r\n"), Passing::All), "\r\n");
        }
        for name in [
            "X-Sum",
            "Content-Digest",
            "ETag",
            "Server-Timing",
            "grpc-status",
            "If",
        ] {
            assert!(may_trail(name), "{name}");
        }
    }

    #[test]
    fn fields_are_written_afresh_and_a_section_that_cannot_be_read_is_dropped() {
        assert_eq!(
            pushed("A:b\r\nHost: h\r\nC:  d \r\n\r\n", Passing::All),
            "A: b\r\nC: d\r\n\r\n"
        );
        let many = "A: b\r\n".repeat(MOST + 1);
        for bad in [
            "A: b\r\nC d\r\n\r\n",
            "A : b\r\n\r\n",
            "A: b\r\n c\r\n\r\n",
            "",
            "\r\n",
            "A: b\r\n",
            &(many + "\r\n"),
        ] {
            assert_eq!(pushed(bad, Passing::All), "\r\n", "{bad:?}");
        }
    }

    #[test]
    fn what_was_not_announced_stays_behind_where_it_has_to_be() {
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum, b\r\nVia: x\r\n\r\n";
        let section = "x-sum: 1\r\nB: 2\r\nC: 3\r\n\r\n";
        assert_eq!(
            pushed(section, Passing::AnnouncedBy(head)),
            "x-sum: 1\r\nB: 2\r\n\r\n"
        );
        assert_eq!(
            pushed(section, Passing::AnnouncedBy(b"POST / HTTP/1.1\r\n\r\n")),
            "\r\n"
        );
    }

    #[test]
    fn announcements_have_names_that_pass_and_no_more_than_enough() {
        let announcement = |list: &[(&'static str, &str)]| {
            let fields: Vec<_> = list
                .iter()
                .map(|(name, value)| httparse::Header {
                    name,
                    value: value.as_bytes(),
                })
                .collect();
            let mut out = Vec::new();
            push_announcement(&Fields::read(&fields, decimal).unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(announcement(&[("A", "b")]), "");
        assert_eq!(announcement(&[("Trailer", "Host, , \u{e9}, a b")]), "");
        assert_eq!(
            announcement(&[
                ("trailer", "X-Sum, Host"),
                ("Trailer", "B,C"),
                ("Connection", "c")
            ]),
            "Trailer: X-Sum, B\r\n"
        );
        let many = "a,".repeat(1_000);
        assert_eq!(
            announcement(&[("Trailer", &many)]).matches('a').count(),
            MOST + 1
        );
    }
}
