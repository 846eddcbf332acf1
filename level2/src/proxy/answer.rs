//! Answers of the proxy's own: refusals and errors.

use crate::http::fields::{push_decimal, push_field};
use crate::http::response::{Recipient, write_end};

/// What the proxy itself has to say.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// One line for whoever reads it.
    pub text: &'static str,
    /// Seconds after which a new attempt makes sense.
    pub retry_after: Option<u32>,
}

impl Answer {
    /// An answer without `Retry-After`.
    pub const fn new(status: u16, text: &'static str) -> Self {
        Self {
            status,
            text,
            retry_after: None,
        }
    }

    /// Appends the answer, with further complete field lines.
    pub fn write(&self, to: Recipient, fields: &[u8], out: &mut Vec<u8>) {
        let length = match self.text {
            "" => 0,
            text => text.len() as u64 + 1,
        };
        self.write_start(length, b"text/plain", out);
        out.extend_from_slice(fields);
        to.date.write(out);
        write_end(out, to, false);
        if !to.is_head && length > 0 {
            out.extend_from_slice(self.text.as_bytes());
            out.push(b'\n');
        }
    }

    /// Appends the answer with a body of this type instead of the line of text.
    pub fn write_body(&self, to: Recipient, content_type: &[u8], body: &[u8], out: &mut Vec<u8>) {
        self.write_start(body.len() as u64, content_type, out);
        to.date.write(out);
        write_end(out, to, false);
        if !to.is_head {
            out.extend_from_slice(body);
        }
    }

    fn write_start(&self, length: u64, content_type: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        push_field(out, "Content-Type", content_type);
        out.extend_from_slice(b"Content-Length: ");
        push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
        if let Some(seconds) = self.retry_after {
            out.extend_from_slice(b"Retry-After: ");
            push_decimal(out, u64::from(seconds));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The phrase that goes with a status (RFC 9110, 15), for those that the proxy sends.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
