//! A connection of which something was read already, by whoever had to look at its beginning.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Layer, Stream};

/// A connection that reads as if nothing of it had been read.
#[derive(Debug)]
pub struct Prefixed {
    prefix: Vec<u8>,
    used: usize,
    stream: Stream,
}

impl Prefixed {
    /// Puts back in front what was read.
    pub fn new(prefix: Vec<u8>, stream: Stream) -> Self {
        Self {
            prefix,
            used: 0,
            stream,
        }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.prefix[this.used..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        this.used += count;
        if this.used == this.prefix.len() {
            this.prefix = Vec::new();
            this.used = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Layer for Prefixed {
    fn undelivered(&self) -> io::Result<usize> {
        self.stream.undelivered()
    }

    fn reset_on_close(&mut self) {
        self.stream.reset_on_close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;

    /// A handshake's flight is several records: the kernel gets them together, not each as a packet.
    #[tokio::test]
    async fn pieces_are_written_in_one_call() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(TcpStream::from_std(ours).unwrap());
        let mut stream = Stream::from(Prefixed::new(Vec::new(), stream));
        assert!(stream.is_write_vectored());
        let pieces = [b"one ", b"two ", b"more"].map(|piece| IoSlice::new(piece));
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 12);
        drop(stream);
        let mut read = String::new();
        other.read_to_string(&mut read).unwrap();
        assert_eq!(read, "one two more");
    }
}
