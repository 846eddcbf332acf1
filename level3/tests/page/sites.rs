//! Other people's pages in the same browser: they must neither index nor read.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::browser::Browser;
use crate::common::{Cluster, encode, write_tree};

/// A web server of somebody else's, which has one page for everybody.
fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let page = page.clone();
            // A browser opens connections ahead and leaves them silent, so each has its thread.
            std::thread::spawn(move || {
                let mut request = [0; 8192];
                if stream.read(&mut request).unwrap_or(0) > 0 {
                    let head = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length";
                    // The browser may have gone; then nobody misses the page.
                    drop(write!(stream, "{head}: {}\r\n\r\n{page}", page.len()));
                }
            });
        }
    });
    address
}

#[test]
fn no_page_of_another_site_makes_it_index() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (tree, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tree(tree.path(), [("mine", "needle\n")]);
    write_tree(other.path(), [("other", "needle\n")]);
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let master = cluster.master.address;
    let path = encode(other.path().to_str().unwrap().as_bytes());
    let target = format!("http://{master}/index?path={path}");
    let jobs = || cluster.master.json("/status").1["jobs"].clone();
    let before = jobs();
    let image = |attributes: &str| {
        format!("<img {attributes} src='{target}' onload='done()' onerror='done()'>")
    };
    let page = format!(
        "<script>var count = 0; function done() {{ count += 1; }}</script>{}{}\
         <script>for (const method of ['GET', 'POST']) for (const referrerPolicy of ['no-referrer', 'unsafe-url']) \
         fetch('{target}', {{ method, mode: 'no-cors', referrerPolicy }}).then(done, done);</script>\
         <form id=get action='http://{master}/index'><input name=path value='{}'></form>\
         <form id=post method=post action='{target}' rel=noreferrer></form>",
        image(""),
        image("referrerpolicy=no-referrer"),
        other.path().display(),
    );
    let site = serve(page);
    // Another name is another site; that it leads to the same machine is what makes it dangerous.
    let url = format!("http://localhost:{}/", site.port());
    browser.open(&url);
    browser.until("count === 6");
    for form in ["get", "post"] {
        browser.open(&url);
        browser.value(&format!("document.getElementById('{form}').submit()"));
        browser.until("location.pathname === '/index' && document.readyState === 'complete'");
        browser.until_shown("body", "\"success\":false");
    }
    assert_eq!(jobs(), before);
    assert_eq!(cluster.master.find(b"needle"), ["mine:1"]);
}

#[test]
fn a_name_that_is_made_to_lead_here_reads_nothing() {
    let rules = "--host-resolver-rules=MAP rebound.example 127.0.0.1";
    let Some(mut browser) = Browser::start_with(&[rules]) else {
        return;
    };
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("mine", "needle\n")]);
    let cluster = Cluster::start(1, |_| {});
    cluster.master.index(tree.path());
    let port = cluster.master.address.port();
    browser.open(&format!("http://rebound.example:{port}/"));
    browser.until_shown("body", "is not served");
    let answer = browser.value("fetch('/search?q=needle').then((answer) => answer.json())");
    assert_eq!(answer["success"], Value::Bool(false));
    // Nor is a page of ours read from another site, or shown within another page.
    let site = serve(format!(
        "<iframe src='http://127.0.0.1:{port}/?query=needle'></iframe>"
    ));
    browser.open(&format!("http://localhost:{}/", site.port()));
    let read = browser.value(&format!(
        "fetch('http://127.0.0.1:{port}/search?q=needle').then(() => 'read', () => 'refused')"
    ));
    assert_eq!(read, "refused");
}
