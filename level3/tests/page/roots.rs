//! Several trees on the page, what git has checked out, the order of the best, and the help.

use std::collections::BTreeMap;

use crate::common::{encode, write_tree};
use crate::{Fixture, long_file};

#[test]
fn several_trees_are_listed_searched_and_walked() {
    let Some(mut fixture) = Fixture::start([("src/a.c", "int needle;\n")]) else {
        return;
    };
    let commit = "0123456789012345678901234567890123456789";
    let linux = tempfile::tempdir().unwrap();
    write_tree(
        linux.path(),
        [
            ("kernel/fork.c", "long needle;\nlong needle_two;\n"),
            ("src/a.c", "short needle;\n"),
            (".git/HEAD", "ref: refs/heads/topic\n"),
            (".git/refs/heads/topic", commit),
        ],
    );
    let master = &fixture.cluster.master;
    let path = encode(linux.path().to_str().unwrap().as_bytes());
    let (status, json) = master.json(&format!("/index?path={path}&name=linux&ignore=git"));
    assert_eq!(status, 200, "{json}");
    master.until("/isIndexed?name=linux", |status, _| status == 200);
    fixture.open("/");
    let browser = &mut fixture.browser;
    browser.until_shown(".roots", "topic at 012345678901");
    browser.picture("page-roots.png");
    browser.keys("needle");
    browser.until_shown("#summary", "4 lines in 3 files");
    // A tree is a facet; the one without a name can be chosen too.
    browser.value("document.querySelector('.facet[title^=\"root:linux\"]').click()");
    browser.until_shown("#summary", "3 lines in 2 files");
    browser.value("history.back()");
    browser.until_shown("#summary", "4 lines in 3 files");
    browser.value("[...document.querySelectorAll('.facet')].find((it) => it.title.startsWith('root:\"\"')).click()");
    browser.until_shown("#summary", "1 line in 1 file");
    browser.value("history.back()");
    browser.until_shown("#summary", "4 lines in 3 files");
    browser.picture("page-trees.png");
    // Files of the same path in two trees are two, each with its own hits.
    let files = "[...document.querySelectorAll('#results h2')].filter((it) => it.textContent.includes('src/a.c')).length";
    assert_eq!(browser.value(files), 2);
    browser.value("document.querySelector('#results section:nth-child(3) a.open').click()");
    browser.until_shown(".listing", "short needle");
    browser.until("document.querySelectorAll('.listing mark').length === 1");
    browser.until_shown("#file-view .trail", "linux / src / a.c");
    browser.value("document.querySelector('#file-view .trail a').click()");
    browser.until_shown("#folder-view .items", "kernel/");
    browser.picture("page-folder.png");
    fixture.end();
}

#[test]
fn the_best_come_to_the_front_when_they_are_known_and_it_is_said() {
    let Some(mut fixture) = Fixture::start([
        ("a.c", long_file(900)),
        ("z.c", "int needle(void)\n{\n}\n".to_owned()),
    ]) else {
        return;
    };
    fixture.open("/?sort=best");
    let browser = &mut fixture.browser;
    browser.until("document.activeElement.id === 'query'");
    // What is best is on its way until the test lets it come.
    browser.value(
        "(() => { const real = window.fetch; const held = new Promise((go) => { window.release = go; }); \
         window.fetch = async (url, options) => { \
           if (String(url).includes('sort=best')) await held; return real(url, options); }; })()",
    );
    browser.keys("needle");
    let first = "document.querySelector('#results a.open')?.dataset.place ?? ''";
    browser.until(&format!("({first}) === 'a.c:10'"));
    browser.until_shown("#summary", "looking for the best");
    browser.value("window.release()");
    browser.until(&format!("({first}) === 'z.c:1'"));
    browser.until_shown("#summary", "best first");
    browser.until("document.querySelector('#results').classList.contains('reordered')");
    browser.picture("page-best.png");
    // Further pages go on behind it, without a line twice.
    let hits = "document.querySelectorAll('a.open').length";
    browser.until(&format!(
        "(window.scrollTo(0, document.body.scrollHeight), {hits} === 91)"
    ));
    let places =
        "new Set([...document.querySelectorAll('a.open')].map((link) => link.dataset.place)).size";
    assert_eq!(browser.value(places), 91);
    fixture.end();
}

#[test]
fn the_help_is_linked_and_its_queries_are_ones() {
    let Some(mut fixture) = Fixture::start([("a.c", "mutex_lock(std::vec->next)\n")]) else {
        return;
    };
    fixture.open("/");
    let browser = &mut fixture.browser;
    browser.until("document.querySelector('#help') !== null");
    browser.click("#help");
    browser.until("document.title.startsWith('Help')");
    let queries = browser
        .value("[...document.querySelectorAll('.query')].map((it) => it.textContent).join('\\n')");
    for (width, scheme) in [(1000, "light"), (1000, "dark"), (400, "light")] {
        browser.size(width, 700);
        browser.prefer(scheme);
        browser.until("document.documentElement.scrollWidth <= innerWidth");
        browser.picture(&format!("page-help-{width}-{scheme}.png"));
    }
    let mut found = BTreeMap::new();
    for query in queries.as_str().unwrap().lines() {
        let target = format!("/search?query={}", encode(query.as_bytes()));
        let (status, json) = fixture.cluster.master.json(&target);
        assert_eq!(status, 200, "{query}: {json}");
        found.insert(query.to_owned(), json["results"].as_array().unwrap().len());
    }
    assert!(found.len() > 15, "{found:?}");
    for query in ["mutex_lock", "std::vec", "->next"] {
        assert_eq!(found[query], 1, "{query}");
    }
    fixture.end();
}
