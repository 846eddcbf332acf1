//! A message in text of HTTP/1.1 as what a stream takes: its head or heads, and then its body.

use std::io;
use std::task::{Context, Poll};

use memchr::memmem;

use super::broken;
use super::outgoing::Outgoing;

/// A message on its way out.
#[derive(Debug)]
pub enum Writing<H> {
    /// What sends heads, and the beginning of one that was not written whole.
    Head(H, Vec<u8>),
    /// The last head is sent.
    Body(Outgoing),
}

impl<H> Writing<H> {
    /// A message of which nothing is written.
    pub fn new(opener: H) -> Self {
        Self::Head(opener, Vec::new())
    }

    /// Takes of the text what can be sent. A whole head goes to `open`, which returns the body after it; `None`:
    /// another head follows. Returns how much was taken.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        text: &[u8],
        mut open: impl FnMut(&mut H, &[u8]) -> io::Result<Option<Outgoing>>,
    ) -> Poll<io::Result<usize>> {
        let mut used = 0;
        while used < text.len() {
            let rest = &text[used..];
            match self {
                Self::Head(opener, begun) => {
                    let (length, head) = whole_head(begun, rest);
                    used += length;
                    if let Some(head) = head {
                        let body = open(opener, head)?;
                        begun.clear();
                        if let Some(body) = body {
                            *self = Self::Body(body);
                        }
                    }
                }
                Self::Body(body) if !body.done() => match body.poll_write(cx, rest) {
                    Poll::Ready(written) => used += written?,
                    Poll::Pending if used > 0 => break,
                    Poll::Pending => return Poll::Pending,
                },
                Self::Body(_) => return Poll::Ready(Err(broken("more than one message"))),
            }
        }
        Poll::Ready(Ok(used))
    }
}

/// The head at the start of what was begun and goes on with `rest`, if it is whole, and how much of `rest` it took.
/// What is not whole is added to what was begun.
fn whole_head<'a>(begun: &'a mut Vec<u8>, rest: &'a [u8]) -> (usize, Option<&'a [u8]>) {
    let before = begun.len();
    if before > 0 {
        begun.extend_from_slice(rest);
    }
    let end = memmem::find(if before > 0 { begun } else { rest }, b"\r\n\r\n");
    match end.map(|at| at + 4) {
        Some(end) if before > 0 => (end - before, Some(&begun[..end])),
        Some(end) => (end, Some(&rest[..end])),
        None => {
            if before == 0 {
                begun.extend_from_slice(rest);
            }
            (rest.len(), None)
        }
    }
}
