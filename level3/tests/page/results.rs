//! The list of results: what is shown of hits, and how one moves in it.

use std::time::Duration;

use crate::common::Master;
use crate::{Fixture, long_file};

#[test]
fn results_come_as_one_types_with_marks_and_without_tricks() {
    let Some(mut fixture) = Fixture::start([
        (
            "src/first.c",
            "int main(void)\n{\n\treturn needle(\"<b>\");\n}\n",
        ),
        ("src/second.c", "\u{1f600} needle needle\nnothing\n"),
        (
            "src/\u{202e}third.c",
            "a \u{202e}needle\u{2066}\u{200b} b\n",
        ),
    ]) else {
        return;
    };
    fixture.open("/");
    let browser = &mut fixture.browser;
    browser.until("document.activeElement.id === 'query'");
    browser.keys("needle");
    browser.until_results("needle");
    browser.until_shown("#summary", "3 lines in");
    let count = |selector: &str| format!("document.querySelectorAll('{selector}').length");
    assert_eq!(browser.value(&count("#results section")), 3);
    assert_eq!(browser.value(&count("#results mark")), 4);
    assert_eq!(
        browser.value(&count("#results b, #results script")),
        3,
        "names only"
    );
    // Marks count characters, of which some take two units.
    browser.until_shown(
        "#results section:nth-child(2) a.open",
        "\u{1f600} needle needle",
    );
    let texts =
        "[...document.querySelectorAll('#results mark')].map((mark) => mark.textContent).join()";
    assert_eq!(browser.value(texts), "needle,needle,needle,needle");
    // What would change the direction of the text is seen, and still there to be copied.
    let codes =
        "[...document.querySelectorAll('.hidden-character')].map((it) => it.dataset.code).join()";
    assert_eq!(browser.value(codes), "U+202E,U+202E,U+2066,U+200B");
    let text = "document.querySelector('#results section:nth-child(3) code').textContent";
    assert_eq!(browser.value(text), "a \u{202e}needle\u{2066}\u{200b} b");
    // Results are links in a list under a heading, to be reached by Tab.
    assert_eq!(
        browser.value(&count("#results ol > li.hit > a.open[href]")),
        3
    );
    assert_eq!(
        browser.value("document.querySelector('#summary').getAttribute('aria-live')"),
        "polite"
    );
    browser.picture("page-results.png");
    fixture.end();
}

#[test]
fn more_results_come_on_scrolling_and_by_keys() {
    let Some(mut fixture) = Fixture::start([("a.c", long_file(9000)), ("b.c", long_file(10))])
    else {
        return;
    };
    fixture.open("/?query=needle");
    let browser = &mut fixture.browser;
    let hits = "document.querySelectorAll('a.open').length";
    browser.until(&format!("{hits} >= 50"));
    browser.value("window.scrollTo(0, document.body.scrollHeight)");
    browser.until(&format!("{hits} >= 250"));
    for _ in 0..20 {
        browser.value("window.scrollTo(0, document.body.scrollHeight)");
        browser.value("document.querySelector('#more').click()");
    }
    browser.until(&format!(
        "(window.scrollTo(0, document.body.scrollHeight), {hits} === 901)"
    ));
    browser.until_shown("#summary", "901 lines in 2 files");
    browser.until("document.querySelector('#more').hidden");
    // One section a file, though it came in several pages, and no line twice.
    assert_eq!(
        browser.value("document.querySelectorAll('#results section').length"),
        2
    );
    let places =
        "new Set([...document.querySelectorAll('a.open')].map((link) => link.dataset.place)).size";
    assert_eq!(browser.value(places), 901);
    fixture.end();
}

#[test]
fn context_is_merged_and_gaps_are_marked() {
    let text = "1\nneedle 2\n3\nneedle 4\n5\n6\n7\n8\n9\nneedle 10\n";
    let Some(mut fixture) = Fixture::start([("a", text)]) else {
        return;
    };
    fixture.open("/?query=needle&context=2");
    let browser = &mut fixture.browser;
    browser.until("document.querySelectorAll('a.open').length === 3");
    let rows = "[...document.querySelectorAll('#results li')].map((row) => \
                row.querySelector('.number')?.textContent ?? row.textContent).join(' ')";
    assert_eq!(browser.value(rows), "1 2 3 4 5 6 \u{22ef} 8 9 10");
    fixture.end();
}

#[test]
fn what_is_wrong_is_said_and_old_results_go() {
    let Some(mut fixture) = Fixture::start([("a", "needle\n")]) else {
        return;
    };
    fixture.open("/?query=needle");
    fixture.browser.until_shown("#summary", "1 line in 1 file");
    fixture.open("/?query=needle+/a(b/+x");
    fixture.browser.until_shown("#problem", "unclosed group");
    // The place is marked: it is that of the expression, or in it.
    fixture
        .browser
        .until("/^\\/?a?\\(?b?\\/?$/.test(document.querySelector('#problem mark').textContent)");
    fixture
        .browser
        .until("document.querySelector('#query').getAttribute('aria-invalid') === 'true'");
    fixture
        .browser
        .until("document.querySelectorAll('#results *').length === 0");
    // Old results are marked while new ones are on their way, here for ever.
    fixture.open("/?query=needle");
    fixture.browser.until_shown("#summary", "1 line in 1 file");
    fixture
        .browser
        .value("window.fetch = () => new Promise(() => {})");
    fixture.browser.click("#query");
    fixture.browser.keys("s");
    fixture
        .browser
        .until("document.querySelector('#results').getAttribute('aria-busy') === 'true'");
    fixture
        .browser
        .until("getComputedStyle(document.querySelector('#results')).opacity < 0.5");
    // A node that is down is named, and what the others have is shown as incomplete.
    fixture.cluster.stop_node(2);
    fixture.cluster.stop_node(3);
    fixture.open("/?query=needle");
    fixture.browser.until_shown("#summary", "incomplete");
    fixture
        .browser
        .until("document.querySelector('#summary').classList.contains('warning')");
    fixture.cluster.stop_node(1);
    fixture.open("/?query=needle&context=1");
    fixture.browser.until_shown("#problem", "shard 1");
    fixture.end();
}

#[test]
fn what_narrows_a_search_is_named_where_nothing_is_found() {
    let Some(mut fixture) = Fixture::start([("kernel/a.c", "Needle.\n"), ("b.h", "other\n")])
    else {
        return;
    };
    for (settings, without) in [
        (
            "needle+file:*.h,%22b+c%22+-lang:c",
            "file:*.h,\"b c\" -lang:c",
        ),
        ("needle&case=true", "Aa"),
        ("Needle.(&regex=1&context=1", ""),
        ("Needle.$^&regex=1", ".*"),
        ("nothing", ""),
    ] {
        fixture.open(&format!("/?query={settings}"));
        let browser = &mut fixture.browser;
        if without.is_empty() {
            browser.until(
                "/^(0 lines|No results)/.test(document.querySelector('#summary').textContent)",
            );
            assert_eq!(
                browser.value("document.querySelectorAll('#results *').length"),
                0
            );
            continue;
        }
        browser.until_shown("#summary", "0 lines in 0 files");
        browser.until_shown("#results .hint code", without);
        browser.click("#results .hint a");
        if without == ".*" {
            browser.until("!document.querySelector('#regex').checked");
        } else {
            browser.until_shown("#summary", "1 line in 1 file");
        }
        browser.value("history.back()");
        browser.until_shown("#results .hint code", without);
    }
    // Where something may be missing, nobody says that it is not there.
    let mut config = fixture.cluster.config.clone();
    config.search_time_limit = Duration::ZERO;
    let hasty = Master::start(config);
    let url = format!("http://{}/?query=x*&regex=true", hasty.address);
    fixture.browser.open(&url);
    fixture.browser.until_shown(
        "#summary",
        "incomplete: the search was stopped at its limit",
    );
    fixture
        .browser
        .until("document.querySelector('#summary').classList.contains('warning')");
    fixture
        .browser
        .until("document.querySelectorAll('#results *').length === 0");
    // A page that is open asks for more now and then, and its server is about to end.
    fixture.browser.open("about:blank");
    fixture.end();
}

#[test]
fn cut_lines_say_so_and_columns_are_those_of_the_whole_line() {
    let line = format!("{}needle{}\n", "a".repeat(3000), "b".repeat(3000));
    let Some(mut fixture) = Fixture::start([("a", line)]) else {
        return;
    };
    fixture.open("/?query=n..dle&regex=1");
    let browser = &mut fixture.browser;
    browser.until_shown("#summary", "1 line in 1 file");
    browser.until("document.querySelector('a.open').dataset.column === '3001'");
    let shown = "document.querySelector('a.open code').textContent";
    browser.until(&format!("/^… a+needleb+ …$/.test({shown})"));
    browser.until(&format!("{shown}.length < 2000"));
    browser.until_shown("a.open mark", "needle");
    // What the settings mean is said, and there is an icon.
    browser.until(
        "/Upper and lower case differ/.test(document.querySelector('#case').parentElement.title)",
    );
    let icon = "fetch(document.querySelector('link[rel=icon]').href).then((answer) => answer.headers.get('content-type'))";
    assert_eq!(browser.value(icon), "image/svg+xml");
    fixture.end();
}

#[test]
fn everything_is_reached_by_keys() {
    let Some(mut fixture) = Fixture::start([("a", "needle 1\nneedle 2\n"), ("b", "needle 3\n")])
    else {
        return;
    };
    fixture.open("/");
    let browser = &mut fixture.browser;
    browser.until("document.activeElement.id === 'query'");
    browser.keys("needle");
    browser.until_results("needle");
    browser.until_shown("#summary", "3 lines in");
    let focused = |place: &str| format!("document.activeElement.dataset.place === '{place}'");
    browser.press("ArrowDown");
    browser.until(&focused("a:1"));
    browser.keys("jj");
    browser.until(&focused("b:1"));
    browser.keys("k");
    browser.until(&focused("a:2"));
    // Copying says what was copied, and works without the clipboard of a secure page.
    browser.value("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
    browser.value("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })");
    browser.keys("y");
    browser.until("window.copied === 'a:2'");
    browser.until_shown("#toast", "a:2");
    browser.until(&focused("a:2"));
    browser.keys("?");
    browser.until("document.querySelector('#keys').open");
    browser.press("Escape");
    browser.until("!document.querySelector('#keys').open");
    browser.keys("/");
    browser.until("document.activeElement.id === 'query'");
    browser.press("Enter");
    browser.until(&focused("a:1"));
    browser.press("Enter");
    browser.until("location.pathname === '/view' && location.hash === '#L1'");
    fixture.end();
}

#[test]
fn nothing_lies_over_the_query_and_a_phone_has_room() {
    let Some(mut fixture) = Fixture::start([("dir/long-name-of-a-file.c", long_file(3000))]) else {
        return;
    };
    fixture.open("/?query=needle&context=1");
    let browser = &mut fixture.browser;
    for (width, scheme, name) in [
        (1000, "dark", "page-dark.png"),
        (400, "light", "page-phone.png"),
        (400, "dark", "page-phone-dark.png"),
    ] {
        browser.size(width, 700);
        browser.prefer(scheme);
        browser.until("document.querySelectorAll('a.open').length >= 50");
        // A new width is laid out in its time, and moves what is in view.
        browser.until("(window.scrollTo(0, 600), window.scrollY === 600)");
        let over = "(() => { const box = document.querySelector('#query').getBoundingClientRect(); \
                    return document.elementFromPoint(box.x + 5, box.y + 5).id; })()";
        assert_eq!(browser.value(over), "query");
        browser.until("document.documentElement.scrollWidth <= innerWidth");
        browser.picture(name);
    }
    fixture.end();
}

#[test]
fn hits_are_counted_and_facets_narrow_the_search_down() {
    let Some(mut fixture) = Fixture::start([
        ("kernel/a.c", long_file(900)),
        ("kernel/b.py", "needle\n".into()),
        ("docs/c d.md", "needle\nneedle\n".into()),
        // Folders with the same name elsewhere, and with a name that could be a pattern.
        ("other/docs/[id] x/e.md", "\"nee /nee\n".into()),
        ("other/docs/f.md", "\"nee /nee\n".into()),
        ("docs/g.md", "\"nee /nee\n".into()),
    ]) else {
        return;
    };
    fixture.open("/?query=needle");
    let browser = &mut fixture.browser;
    browser.until_shown("#summary", "93 lines in 3 files");
    browser.until_shown("#facets", "kernel/");
    browser.until_shown("#facets", "python");
    browser.picture("page-facets.png");
    browser.value("document.querySelector('.facet[title^=\"file:docs\"]').click()");
    browser.until_shown("#summary", "2 lines in 1 file");
    browser.until("document.querySelector('#query').value === 'needle file:docs/**'");
    browser.value("history.back()");
    browser.until_shown("#summary", "93 lines in 3 files");
    browser.value("document.querySelector('.facet[title^=\"lang:python\"]').click()");
    browser.until_shown("#summary", "1 line in 1 file");
    // Another click takes the filter out again.
    browser.until("document.querySelector('.facet[aria-pressed=true]')");
    browser.value("document.querySelector('.facet[aria-pressed=true]').click()");
    browser.until_shown("#summary", "93 lines in 3 files");
    assert_eq!(
        browser.value("document.querySelector('#query').value"),
        "needle"
    );
    // What is clicked together is what was counted, whatever is open in the query.
    for query in ["%22nee", "/nee", "nee+-needle"] {
        fixture.open(&format!("/?query={query}"));
        let browser = &mut fixture.browser;
        browser.until_shown("#summary", "3 lines in 3 files");
        browser.value("document.querySelector('.facet[title^=\"file:other\"]').click()");
        browser.until_shown("#summary", "2 lines in 2 files");
        browser.value("document.querySelector('.facet[title*=\"id\"]').click()");
        browser.until_shown("#summary", "1 line in 1 file");
        browser.value("document.querySelector('.facet[title^=\"lang:markdown\"]').click()");
        browser.until("document.querySelector('.facet[aria-pressed=true]')");
        browser.value("document.querySelector('.facet[aria-pressed=true]').click()");
        browser.until("!document.querySelector('.facet[aria-pressed=true]')");
        browser.until_shown("#summary", "1 line in 1 file");
        // The file opens with the hit marked.
        browser.click("a.open");
        browser.until_shown("#L1 mark", "nee");
    }
    fixture.open("/?query=needle");
    let browser = &mut fixture.browser;
    browser.until_shown("#summary", "93 lines in 3 files");
    // Files are found by their names.
    browser.value("document.activeElement.blur()");
    browser.keys("t");
    browser.until("document.activeElement.id === 'query'");
    browser.keys("c*");
    browser.until_results("file:c*");
    browser.until("document.querySelectorAll('a.open').length === 1");
    browser.press("Enter");
    browser.until("document.activeElement.dataset.place === 'docs/c d.md'");
    browser.press("Enter");
    browser.until("document.querySelectorAll('.line').length === 2");
    fixture.end();
}
