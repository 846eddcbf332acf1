//! A file and a folder, as they were indexed.

use crate::{Fixture, long_file};

#[test]
fn a_file_opens_at_the_line_with_hits_and_colours() {
    let Some(mut fixture) = Fixture::start([
        ("src/a.c", long_file(900)),
        ("notes", "plain needle\n".into()),
    ]) else {
        return;
    };
    fixture.open("/?query=needle_500");
    fixture.browser.click("a.open[data-place='src/a.c:500']");
    let browser = &mut fixture.browser;
    browser.until("location.pathname === '/view' && location.hash === '#L500'");
    browser.until("document.querySelectorAll('.line').length === 900");
    let in_view = |line: u32| {
        format!(
            "(() => {{ const box = document.querySelector('#L{line}').getBoundingClientRect(); \
                 return box.top > 0 && box.bottom < innerHeight; }})()"
        )
    };
    browser.until(&in_view(500));
    browser.until_shown("#L500 mark", "needle_500");
    browser
        .until("document.querySelector('#L500 .token-comment')?.textContent === '/* line 500 */'");
    browser.until_shown(".note", "C");
    // A mark and colours do not change the text.
    let text = "document.querySelector('#L500 code').textContent";
    assert_eq!(browser.value(text), "int needle_500(void); /* line 500 */");
    browser.picture("page-file.png");
    browser.prefer("dark");
    browser.picture("page-file-dark.png");
    browser.size(400, 700);
    browser.until("document.documentElement.scrollWidth <= innerWidth");
    browser.picture("page-file-phone.png");
    // The language of some files is not known: no colours, and nothing said.
    fixture.open("/view?path=notes&query=needle");
    fixture.browser.until_shown("#L1 mark", "needle");
    fixture
        .browser
        .until("document.querySelectorAll('.listing [class^=token]').length === 0");
    fixture.end();
}

#[test]
fn hits_are_walked_and_lines_have_addresses() {
    let Some(mut fixture) = Fixture::start([("a.c", long_file(500))]) else {
        return;
    };
    fixture.open("/view?path=a.c&query=needle#L12");
    let browser = &mut fixture.browser;
    browser.until_shown(".counter", "50 hits");
    for (key, line, said) in [
        ("n", 20, "hit 2 of 50"),
        ("n", 30, "hit 3 of 50"),
        ("N", 20, "hit 2 of 50"),
    ] {
        browser.keys(key);
        browser.until(&format!("location.hash === '#L{line}'"));
        browser.until(&format!(
            "document.querySelector('#L{line}').classList.contains('selected')"
        ));
        browser.until_shown(".counter", said);
    }
    browser.keys("NN");
    browser.until("location.hash === '#L500'");
    browser.click("#L490 .number");
    browser.until("location.hash === '#L490'");
    browser.click_with("#L495 .number", 8);
    browser.until("location.hash === '#L490-L495'");
    browser.until("document.querySelectorAll('.line.selected').length === 6");
    browser.until("document.querySelector('#editor').href.endsWith('/a.c:490')");
    browser.keys("y");
    browser.until_shown("#toast", "a.c:490");
    fixture.open("/view?path=a.c#L3-L7");
    fixture
        .browser
        .until("document.querySelectorAll('.line.selected').length === 5");
    fixture.open("/view?path=a.c#L999");
    fixture
        .browser
        .until_shown("#toast", "There is no line 999");
    fixture.open("/view?path=gone.c");
    fixture
        .browser
        .until_shown("#file-view [role=alert]", "not in the index");
    fixture.end();
}

/// Whoever has scrolled still sees which file it is, and nothing lies over its path.
#[test]
fn the_path_stays_in_sight() {
    let Some(mut fixture) = Fixture::start([("src/deep/a.c", long_file(900))]) else {
        return;
    };
    for (width, height, picture) in [(1200, 800, "wide"), (400, 700, "phone")] {
        fixture.open("/view?path=src/deep/a.c&query=needle");
        let browser = &mut fixture.browser;
        browser.size(width, height);
        browser.until_shown("#L10 mark", "needle");
        browser.value("window.scrollTo(0, document.documentElement.scrollHeight / 2)");
        browser.until("window.scrollY > 1000");
        browser.until(
            "(() => { const name = document.querySelector('.trail b'); \
             const { left, top, width, height } = name.getBoundingClientRect(); \
             return document.elementFromPoint(left + width / 2, top + height / 2) === name; })()",
        );
        browser.picture(&format!("page-path-{picture}.png"));
        // A line that is gone to is not below what stays in sight.
        for _ in 0..3 {
            browser.keys("n");
        }
        browser.until(
            "(() => { const line = document.querySelector('.line.selected'); \
             const { left, top, bottom } = line.getBoundingClientRect(); \
             return line.contains(document.elementFromPoint(left + 5, top + 2)) \
                 && line.contains(document.elementFromPoint(left + 5, bottom - 2)); })()",
        );
    }
    fixture.end();
}

#[test]
fn the_text_is_that_of_the_index_and_raw_is_byte_for_byte() {
    let odd = "a/\u{e9} #1?%41&b=[x]{y}/f*!.c";
    let text = "\u{feff}needle\r\n<script>window.bad = true</script>\u{202e}\n";
    let Some(mut fixture) = Fixture::start([(odd, text), ("plain", "x\n")]) else {
        return;
    };
    std::fs::write(fixture.tree.path().join(odd), "changed\n").unwrap();
    fixture.open("/?query=needle");
    fixture.browser.click("a.open");
    let browser = &mut fixture.browser;
    browser.until_shown("#L1 mark", "needle");
    browser.until("document.querySelector('#L2 .hidden-character').dataset.code === 'U+202E'");
    assert_eq!(
        browser.value("document.querySelectorAll('.line').length"),
        2
    );
    assert_eq!(browser.value("window.bad"), serde_json::Value::Null);
    let raw = browser.value(
        "fetch(document.querySelector('.tools a.button').href).then((answer) => answer.arrayBuffer())\
         .then((bytes) => [...new Uint8Array(bytes)])",
    );
    let raw: Vec<u8> = serde_json::from_value(raw).unwrap();
    assert_eq!(String::from_utf8(raw).unwrap(), text);
    // Up through the folders, and down again.
    browser.keys("u");
    browser.until_shown("#folder-view .trail b", "\u{e9} #1?%41&b=[x]{y}");
    browser.until("document.querySelectorAll('#folder-view li').length === 1");
    browser.keys("u");
    browser.until_shown("#folder-view .trail b", "a");
    browser.keys("u");
    browser.until("document.querySelectorAll('#folder-view li').length === 2");
    browser.press("ArrowDown");
    browser.until("document.activeElement.dataset.place === 'plain'");
    browser.press("Enter");
    browser.until_shown("#L1", "x");
    browser.value("history.back()");
    browser.until("!document.querySelector('#folder-view').hidden");
    fixture.end();
}
