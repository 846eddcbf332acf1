//! Signatures of requests to S3: AWS Signature Version 4, with the digest of the whole body.

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::hex;

/// What stands in parameters as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Parameters, which are in the order of their names, as they are sent and signed.
pub fn query_text(query: &[(&str, &str)]) -> String {
    let escaped = |text| utf8_percent_encode(text, UNRESERVED).to_string();
    let parameters: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    parameters.join("&")
}

/// Who signs.
pub struct Signer<'a> {
    /// The key's name,
    pub key_id: &'a str,
    /// and the key.
    pub secret: &'a str,
    /// The store's region.
    pub region: &'a str,
}

/// What is signed of a request.
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, as it is sent.
    pub path: &'a str,
    /// Its parameters, as [`query_text`] gives them.
    pub query: &'a str,
    /// Headers by their names in lower case, in their order; the host and the time among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, in hexadecimal digits.
    pub digest: &'a str,
    /// `20130524T000000Z`.
    pub time: &'a str,
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    // Keys of any length are keys.
    let Ok(mac) = <Hmac<Sha256>>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.chain_update(text.as_bytes())
        .finalize()
        .into_bytes()
        .into()
}

impl Signer<'_> {
    /// The value of `Authorization`.
    pub fn sign(&self, request: &Signed) -> String {
        let Signed {
            method,
            path,
            query,
            headers,
            digest,
            time,
        } = request;
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let lines = lines.concat();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}");
        let day = time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let canonical = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in [self.region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
            self.key_id,
            hex(&mac(&key, &text))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples in "Authenticating Requests: Using the Authorization Header" of S3's documentation.
    #[test]
    fn the_signatures_are_those_of_the_documentation() {
        let digest = hex(&Sha256::digest(b""));
        let signer = Signer {
            key_id: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
        };
        let range = Some(("range", "bytes=0-9"));
        for (path, query, header, expected) in [
            (
                "/test.txt",
                &[][..],
                range,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                &[("lifecycle", "")],
                None,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/",
                &[("max-keys", "2"), ("prefix", "J")],
                None,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let mut headers = vec![("host", "examplebucket.s3.amazonaws.com")];
            headers.extend(header);
            headers.push(("x-amz-content-sha256", &digest));
            headers.push(("x-amz-date", "20130524T000000Z"));
            let signed = signer.sign(&Signed {
                method: "GET",
                path,
                query: &query_text(query),
                headers: &headers,
                digest: &digest,
                time: "20130524T000000Z",
            });
            assert!(
                signed.ends_with(&format!("Signature={expected}")),
                "{signed}"
            );
        }
        assert_eq!(query_text(&[("a b", "c/d"), ("e", "")]), "a%20b=c%2Fd&e=");
    }
}
