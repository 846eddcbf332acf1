//! Fields that say something about others than their sender: what is a claim, what is a secret, and what
//! only becomes one of them behind the proxy.

use super::fields::is_one_of;

/// What nobody should read in a TRACE's answer.
pub fn is_secret(name: &str) -> bool {
    is_one_of(name, &["cookie", "authorization", "proxy-authorization"])
}

/// What a proxy says about whom it forwards for: from anybody else it is a forgery.
pub fn is_claim(name: &str) -> bool {
    name.get(..12)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"))
        || is_one_of(
            name,
            &[
                "forwarded",
                "x-real-ip",
                "x-client-ip",
                "client-ip",
                "true-client-ip",
                "cf-connecting-ip",
                "fastly-client-ip",
                "x-cluster-client-ip",
                "x-original-forwarded-for",
                "x-envoy-external-address",
            ],
        )
}

/// Whether a name becomes that of a field with a meaning here once a gateway interface such as CGI
/// (RFC 3875, 4.1.18) has made variables of both: `X_Forwarded_For` does. `Proxy` becomes the
/// variable by which many libraries find their own proxy.
pub fn is_disguised(name: &str) -> bool {
    if name.eq_ignore_ascii_case("proxy") {
        return true;
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return false;
    }
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    is_claim(&plain)
        || is_one_of(
            &plain,
            &[
                "host",
                "via",
                "expect",
                "content-length",
                "content-type",
                "transfer-encoding",
                "connection",
                "authorization",
                "proxy-authorization",
                "cookie",
            ],
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_and_their_disguises_are_known() {
        for claim in ["X-Forwarded-Host", "FORWARDED", "x-real-ip"] {
            assert!(is_claim(claim) && !is_disguised(claim), "{claim}");
        }
        for disguise in ["X_Forwarded_Host", "x.real.ip", "Content_Length", "Proxy"] {
            assert!(is_disguised(disguise), "{disguise}");
        }
        for plain in ["Accept", "X-Mine", "my_field", "X-Forward"] {
            assert!(!is_claim(plain) && !is_disguised(plain), "{plain}");
        }
        assert!(is_secret("Cookie") && !is_secret("Set-Cookie"));
    }
}
