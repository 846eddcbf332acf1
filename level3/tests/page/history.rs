//! Addresses, and what Back means.

use crate::{Fixture, long_file};

#[test]
fn back_goes_to_what_was_looked_at() {
    let Some(mut fixture) = Fixture::start([("a.c", long_file(900)), ("b.c", long_file(20))])
    else {
        return;
    };
    fixture.open("/");
    let browser = &mut fixture.browser;
    browser.until("document.activeElement.id === 'query'");
    browser.keys("needle");
    browser.until_results("needle");
    browser.until_shown("#summary", "lines");
    browser.press("Enter");
    browser.until("document.activeElement.dataset.place === 'a.c:10'");
    browser.value("window.scrollTo(0, 300)");
    browser.click("a.open[data-place='a.c:200']");
    browser.until("location.hash === '#L200'");
    browser.until("document.querySelector('#L200').classList.contains('selected')");
    // To the results, where they were left, and forth.
    let left = browser.value("history.length");
    browser.value("history.back()");
    browser.until("!document.querySelector('#search-view').hidden");
    browser.until("document.activeElement.dataset.place === 'a.c:200'");
    browser.until("window.scrollY > 0");
    browser.value("history.forward()");
    browser.until("!document.querySelector('#file-view').hidden");
    browser.until("document.querySelector('#L200').classList.contains('selected')");
    browser.press("Escape");
    browser.until("location.pathname === '/'");
    // A new burst of typing is one entry, however many letters it has.
    browser.keys("/");
    browser.until("document.activeElement.id === 'query'");
    browser.keys("other_1");
    browser.until_results("other_1");
    browser.until("new URLSearchParams(location.search).get('query') === 'other_1'");
    browser.until_shown("#results mark", "other_1");
    assert_eq!(browser.value("history.length"), left);
    browser.value("history.back()");
    browser.until("document.querySelector('#query').value === 'needle'");
    browser.until_shown("#results mark", "needle");
    fixture.end();
}

#[test]
fn addresses_of_earlier_versions_still_lead_there() {
    let Some(mut fixture) = Fixture::start([("a.c", "x_Needle\nx_needle\n"), ("b.h", "Needle\n")])
    else {
        return;
    };
    fixture.open("/#q=Needle&path=*.c&context=1");
    fixture.browser.until_shown("#summary", "1 line in 1 file");
    fixture
        .browser
        .until("document.querySelectorAll('#results li').length === 2");
    fixture.end();
}
