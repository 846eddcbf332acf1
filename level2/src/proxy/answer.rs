//! Answers of the proxy's own: refusals and errors.

use crate::http::response::{Asker, write_connection};
use crate::http::{push_decimal, push_field};

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

    /// Appends the answer.
    pub fn write(&self, asker: Asker, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: text/plain\r\nContent-Length: ");
        let length = if self.text.is_empty() {
            0
        } else {
            self.text.len() as u64 + 1
        };
        push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
        if let Some(seconds) = self.retry_after {
            push_field(out, b"Retry-After", seconds.to_string().as_bytes());
        }
        write_connection(out, asker, false);
        out.extend_from_slice(b"\r\n");
        if !asker.is_head && length > 0 {
            out.extend_from_slice(self.text.as_bytes());
            out.push(b'\n');
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
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
