//! Heads of HTTP/2 as text of HTTP/1.1, and back.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, request};

use crate::http::body::Framing;
use crate::http::fields::{decimal, is_one_of, push_field, storage};
use crate::http::trailers::{self, Passing};

/// Fields that belong to a connection of HTTP/1.1 and do not exist here (RFC 9113, 8.2.2).
fn is_of_connection(name: &str) -> bool {
    is_one_of(
        name,
        &[
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
        ],
    )
}

/// Whether fields will follow the body. In text there is room for them after chunks only, so that a length that
/// is given besides (here it is no framing, RFC 9113, 8.1.1) is not passed on.
fn announces_trailers(fields: &HeaderMap, ends: bool) -> bool {
    !ends && fields.contains_key(http::header::TRAILER)
}

/// Appends a request's head as text. Returns whether its body goes in chunks.
pub fn push_request(parts: &request::Parts, ends: bool, out: &mut Vec<u8>) -> bool {
    let uri = &parts.uri;
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    let authority = uri.authority().map(Authority::as_str);
    match (uri.path_and_query(), authority) {
        // CONNECT has no path.
        (None, Some(authority)) => out.extend_from_slice(authority.as_bytes()),
        (None, None) => out.push(b'/'),
        (Some(path), _) => out.extend_from_slice(path.as_str().as_bytes()),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        push_field(out, "Host", authority.as_bytes());
    }
    let said = authority.unwrap_or_default().as_bytes();
    let mut cookies = Vec::new();
    let mut chunked = !ends;
    let announced = announces_trailers(&parts.headers, ends);
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str(), value.as_bytes());
        match name {
            // Of two that differ the reader of the text will say so.
            "host" if authority.is_some() && value.eq_ignore_ascii_case(said) => continue,
            "content-length" if announced => continue,
            "content-length" => chunked = false,
            "cookie" => {
                // Clients may part it, for the sake of compression (RFC 9113, 8.2.3).
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
                continue;
            }
            name if is_of_connection(name) => continue,
            _ => {}
        }
        push_field(out, name, value);
    }
    if !cookies.is_empty() {
        push_field(out, "cookie", &cookies);
    }
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    chunked
}

/// Appends an answer's head as text; of one to HEAD it says no more of a body than the head does. Returns
/// whether its body goes in chunks.
pub fn push_response(answer: &Response<()>, to: &Method, ends: bool, out: &mut Vec<u8>) -> bool {
    let status = answer.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" \r\n");
    let announced = announces_trailers(answer.headers(), ends);
    for (name, value) in answer.headers() {
        if !(announced && name == http::header::CONTENT_LENGTH) {
            push_one(name, value, out);
        }
    }
    let sized = answer.headers().contains_key(http::header::CONTENT_LENGTH) && !announced;
    let bodiless =
        to == Method::HEAD || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let chunked = !ends && !sized;
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if ends && !sized && !bodiless {
        out.extend_from_slice(b"Content-Length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    chunked
}

/// Appends fields as text, such as those after a body in chunks.
pub fn push_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        push_one(name, value, out);
    }
}

fn push_one(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    if !is_of_connection(name.as_str()) {
        push_field(out, name.as_str(), value.as_bytes());
    }
}

/// A head that was read from text, and how the body after it is delimited there.
#[derive(Debug)]
pub struct Parsed<H> {
    /// The head.
    pub head: H,
    /// The body's framing.
    pub framing: Framing,
}

/// Reads a whole head of an answer, which the proxy itself has written.
pub fn parse_response(text: &[u8], bodiless: bool) -> Option<Parsed<Response<()>>> {
    let mut storage = storage();
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, text, &mut storage)
        .ok()?;
    let status = parsed.code?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let said = take_fields(parsed.headers, response.headers_mut())?;
    let bodiless = bodiless || matches!(status, 100..=199 | 204 | 304);
    let framing = if bodiless || said == Framing::Sized(0) {
        Framing::Empty
    } else {
        said
    };
    Some(Parsed {
        head: response,
        framing,
    })
}

/// Reads a whole head of a request, which the proxy itself has written.
pub fn parse_request(text: &[u8]) -> Option<Parsed<Request<()>>> {
    let mut storage = storage();
    let mut parsed = httparse::Request::new(&mut []);
    parsed.parse_with_uninit_headers(text, &mut storage).ok()?;
    let mut request = Request::new(());
    *request.method_mut() = parsed.method?.parse().ok()?;
    let said = take_fields(parsed.headers, request.headers_mut())?;
    let host = request.headers_mut().remove(http::header::HOST)?;
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(Authority::try_from(host.as_bytes()).ok()?)
        .path_and_query(parsed.path?.parse::<PathAndQuery>().ok()?);
    *request.uri_mut() = uri.build().ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    // What comes after an answer's body is read here (RFC 9110, 10.1.4); gRPC insists on being told.
    let trailers = HeaderValue::from_static("trailers");
    request.headers_mut().insert(http::header::TE, trailers);
    let framing = match said {
        // A request's body is never delimited by the connection's end.
        Framing::UntilClose | Framing::Sized(0) => Framing::Empty,
        framing => framing,
    };
    Some(Parsed {
        head: request,
        framing,
    })
}

/// Takes over all fields but those of the connection. Returns how they say a body is delimited.
fn take_fields(fields: &[httparse::Header<'_>], into: &mut HeaderMap) -> Option<Framing> {
    let mut framing = Framing::UntilClose;
    into.reserve(fields.len());
    for field in fields {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        }
        if is_of_connection(field.name) {
            continue;
        }
        if field.name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            framing = Framing::Sized(decimal(field.value)?);
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        into.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(framing)
}

/// Reads the fields after a body in chunks, up to the empty line: those that may stand there.
pub fn parse_trailers(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    trailers::for_each(text, Passing::All, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    });
    map
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn text(request: request::Builder, ends: bool) -> String {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        push_request(&parts, ends, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_is_the_same_in_text() {
        let request = Request::get("https://h:1/a?b")
            .header("accept", "*/*")
            .header("cookie", "a=1")
            .header("x", "y")
            .header("cookie", "b=2");
        assert_eq!(
            text(request, true),
            "GET /a?b HTTP/1.1\r\nHost: h:1\r\naccept: */*\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n"
        );
        let request = Request::post("https://h/").header("host", "H");
        assert_eq!(
            text(request, false),
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let request = Request::post("/").header("content-length", "3");
        assert_eq!(
            text(request, false),
            "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n"
        );
        let request = Request::post("/")
            .header("content-length", "3")
            .header("trailer", "x-sum");
        assert_eq!(
            text(request, false),
            "POST / HTTP/1.1\r\ntrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let request = Request::options("*").header("host", "h");
        assert_eq!(text(request, true), "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n");
        let request = Request::connect("h:443");
        assert_eq!(
            text(request, true),
            "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
        );
    }

    #[test]
    fn hosts_that_differ_are_both_written() {
        let request = Request::get("https://h/").header("host", "other");
        assert_eq!(
            text(request, true),
            "GET / HTTP/1.1\r\nHost: h\r\nhost: other\r\n\r\n"
        );
    }

    #[test]
    fn a_request_for_a_backend_is_read_from_text() {
        let text = b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n";
        let Parsed { head, framing } = parse_request(text).unwrap();
        assert_eq!((head.method(), framing), (&Method::POST, Framing::Chunked));
        assert_eq!(head.uri(), "http://h:1/a?b");
        assert_eq!(
            (
                head.headers()["x"].as_bytes(),
                head.headers()["te"].as_bytes()
            ),
            (&b"y"[..], &b"trailers"[..])
        );
        assert_eq!(head.headers().len(), 2);
        let get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(parse_request(get).unwrap().framing, Framing::Empty);
        assert!(parse_request(b"GET / HTTP/1.1\r\n\r\n").is_none());
    }

    #[test]
    fn an_answer_of_a_backend_says_where_it_ends() {
        let text = |answer: http::response::Builder, to: &Method, ends| {
            let mut out = Vec::new();
            push_response(&answer.body(()).unwrap(), to, ends, &mut out);
            String::from_utf8(out).unwrap()
        };
        let answer = || Response::builder().status(200).header("x", "y");
        assert_eq!(
            text(answer(), &Method::GET, true),
            "HTTP/1.1 200 \r\nx: y\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(
            text(answer(), &Method::HEAD, true),
            "HTTP/1.1 200 \r\nx: y\r\n\r\n"
        );
        assert_eq!(
            text(answer(), &Method::GET, false),
            "HTTP/1.1 200 \r\nx: y\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let sized_answer = || answer().header("content-length", "3");
        assert_eq!(
            text(sized_answer(), &Method::GET, false),
            "HTTP/1.1 200 \r\nx: y\r\ncontent-length: 3\r\n\r\n"
        );
        let announced = sized_answer().header("trailer", "x-sum");
        assert_eq!(
            text(announced, &Method::GET, false),
            "HTTP/1.1 200 \r\nx: y\r\ntrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn trailers_say_nothing_of_how_to_read_the_message() {
        let text =
            b"Grpc-Status: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n";
        let trailers = parse_trailers(text);
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["grpc-status"], "0");
        assert!(parse_trailers(b"").is_empty() && parse_trailers(b"no field\r\n\r\n").is_empty());
        assert!(parse_trailers(b"\r\n").is_empty());
    }

    #[test]
    fn an_answer_loses_what_is_of_its_connection() {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nA: b\r\nA: c\r\n\r\n";
        let Parsed { head, framing } = parse_response(head, false).unwrap();
        assert_eq!((head.status().as_u16(), framing), (200, Framing::Chunked));
        assert_eq!(head.headers().len(), 2);
        let parsed =
            |text: &str, bodiless| parse_response(text.as_bytes(), bodiless).unwrap().framing;
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(parsed(sized, false), Framing::Sized(7));
        assert_eq!(parsed(sized, true), Framing::Empty);
        assert_eq!(parsed("HTTP/1.1 204 \r\n\r\n", false), Framing::Empty);
        assert_eq!(parsed("HTTP/1.1 200 \r\n\r\n", false), Framing::UntilClose);
    }
}
