//! The console in a real browser. Skipped, with a message, where no Chromium is installed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::browser::Browser;
use super::common::{Node, eventually};
use super::doors::raw;
use super::single;

#[test]
fn people_run_sql_and_see_how_the_cluster_is() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (_folder, node) = single();
    node.sql("CREATE TABLE \"odd \"\"name\" (a, b); INSERT INTO \"odd \"\"name\" VALUES (1, '<b>x</b>'), (NULL, x'00ff')");
    browser.open(&format!("http://{}/console/", node.address));
    browser.until("document.querySelector('#node').textContent.includes('leader')");
    browser.until("document.querySelectorAll('#nodes tr').length === 1");
    browser.until("document.querySelector('#log').textContent.includes('applied')");
    // A table's first rows, by a click.
    browser.until("document.querySelector('#tables button')?.textContent === 'odd \"name'");
    browser.click("#tables button");
    browser.until("document.querySelectorAll('#results tbody tr').length === 2");
    let text = browser.value("document.querySelector('#results table').innerText");
    let text = text.as_str().unwrap();
    assert!(
        text.contains("<b>x</b>") && text.contains("NULL") && text.contains("x'00ff'"),
        "{text}"
    );
    browser.until("document.querySelectorAll('#bars li').length === 1");
    // Several statements, one of which fails, by the keyboard.
    browser
        .value("document.querySelector('#sql').value = ''; document.querySelector('#sql').focus()");
    browser
        .keys("SELECT 9007199254740993 AS y; SELECT ';' AS x; DELETE FROM t; CREATE TABLE t (a);");
    browser.press_with("Enter", 2);
    browser.until("document.querySelector('#results .wrong')?.textContent === 'no such table: t'");
    browser.until(
        "[...document.querySelectorAll('#results td')].map((cell) => cell.textContent).join() === '9007199254740993,;'",
    );
    browser.until("document.querySelectorAll('#tables button').length === 2");
    for (width, scheme) in [
        (1200, "light"),
        (1200, "dark"),
        (400, "light"),
        (400, "dark"),
    ] {
        browser.size(width, 800);
        browser.prefer(scheme);
        browser.until(&format!("innerWidth === {width}"));
        let beyond = browser.value("document.documentElement.scrollWidth - innerWidth");
        assert!(beyond.as_i64().unwrap() <= 0, "{width}: {beyond}");
        browser.picture(&format!("level4-console-{width}-{scheme}.png"));
    }
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    // The statements of a text end where SQLite says they do.
    let cut = browser.value(
        "import('./console.js').then((console) => console.statements(\"a; 'b;' ; -- c;\\n create temp trigger x begin d; e; end; /* ; */ f\"))",
    );
    let expected = serde_json::json!([
        "a;",
        "'b;' ;",
        "-- c;\n create temp trigger x begin d; e; end;",
        "/* ; */ f"
    ]);
    assert_eq!(cut, expected);
}

#[test]
fn other_sites_change_nothing_and_users_need_a_permission() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    std::fs::write(
        &users,
        r#"[{"username": "u", "password": "p", "perms": ["ui"]}]"#,
    )
    .unwrap();
    let auth = format!("--auth={}", users.display());
    let allow = "--allow-origin=https://friend.example";
    let node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &[&auth, allow]);
    let shown = format!("Authorization: Basic {}\r\n", BASE64.encode("u:p"));
    let get = |path: &str, head: &str| node.request("GET", path, head, b"").unwrap().0;
    // A page may read why it is turned away, and ask everything before.
    for (line, status) in [
        (
            "GET /console/ HTTP/1.1\r\nOrigin: https://friend.example",
            401,
        ),
        ("POST /sql HTTP/1.1\r\nOrigin: https://evil.example", 403),
        ("GET /readyz HTTP/1.1", 401),
        ("OPTIONS /remove HTTP/1.1", 200),
        ("OPTIONS /readyz HTTP/1.1", 200),
    ] {
        let (told, head) = raw(&node, line);
        assert_eq!(told, status, "{line}");
        for name in [
            "access-control-allow-origin: https://friend.example",
            "access-control-allow-headers: Content-Type, Authorization",
            "access-control-allow-credentials: true",
            "x-rqlite-version: level4-",
        ] {
            assert!(head.contains(name), "{line}: {head}");
        }
    }
    assert_eq!(get("/console/", ""), 401);
    assert_eq!(get("/console/", &shown), 200);
    assert_eq!(get("/console", &shown), 302);
    assert_eq!(get("/status", &shown), 401);
    let open = Node::start_logged(&root.path().join("1"), "127.0.0.1:0", &[allow]);
    eventually(|| open.get("/readyz").contains("leader ok"));
    for (origin, status) in [
        ("http://level4", 200),
        ("https://friend.example", 200),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let head = format!("Origin: {origin}\r\nContent-Type: text/plain\r\n");
        let asked = open
            .request("POST", "/db/execute", &head, b"SELECT 1")
            .unwrap();
        assert_eq!(asked.0, status, "{origin}");
    }
}
