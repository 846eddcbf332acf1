//! A request as a backend of the level 2 simulation sees it.

use super::{MAX_HEAD, MAX_HEADERS, Malformed, fields::Fields};

/// A request whose head is complete, as a backend sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, in the case it was sent in.
    pub method: String,
    /// The target: path and query.
    pub target: String,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// Bytes of the body, which follow the head.
    pub body: usize,
}

impl Request {
    /// Reads a request from the front of `bytes`: with the length of its head when that is complete. A
    /// backend is at work from then on, whenever the body comes.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let used = match head.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(Malformed::TooLarge),
            Err(error) => return Err(error.into()),
        };
        let fields = Fields::read(head.headers)?;
        if fields.encoding.is_some() {
            // Every body of the simulation has a length, so one whose length only shows as it comes
            // is refused rather than understood.
            return Err(Malformed::Length);
        }
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            keep_alive: fields.keep_alive(head.version),
            body: fields.length.unwrap_or(0),
        };
        Ok(Some((request, used)))
    }

    /// The value of a parameter of the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_their_query() {
        let text = b"GET /a?nonce=12&cost=3 HTTP/1.1\r\nHost: x\r\n\r\nGET";
        let (request, used) = Request::read(text).unwrap().unwrap();
        assert_eq!(used, text.len() - 3);
        assert_eq!(request.path(), "/a");
        assert_eq!(request.parameter("nonce"), Some("12"));
        assert_eq!(request.parameter("cost"), Some("3"));
        assert_eq!(request.parameter("non"), None);
        assert!(request.keep_alive);
        assert_eq!(Request::read(&text[..20]), Ok(None));
    }

    #[test]
    fn a_request_is_there_before_its_body() {
        let text = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na";
        assert_eq!(Request::read(&text[..text.len() - 2]), Ok(None));
        let (request, used) = Request::read(text).unwrap().unwrap();
        assert_eq!((used, request.body), (text.len() - 1, 3));
    }
}
