//! `/search`: expressions, case, paths, limits, context.

use crate::common::{Cluster, encode, write_tree};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

fn places(json: &Value) -> Vec<String> {
    let hits = json["results"]
        .as_array()
        .unwrap_or_else(|| panic!("no results: {json}"));
    hits.iter()
        .map(|hit| format!("{}:{}", hit["file"].as_str().unwrap(), hit["line"]))
        .collect()
}

#[test]
fn each_parameter_does_what_it_says() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        [
            ("b/one.c", "Alpha\nbeta\ngamma alpha\n"),
            ("a/two.h", "ALPHA\n"),
            ("c.c", "nothing\nalphabet"),
        ],
    );
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    let find = |query: &str| cluster.master.json(&format!("/search?{query}")).1;
    assert_eq!(places(&find("q=alpha")), ["b/one.c:3", "c.c:2"]);
    assert_eq!(
        places(&find("q=alpha&ignore_case=true")),
        ["a/two.h:1", "b/one.c:1", "b/one.c:3", "c.c:2"]
    );
    assert_eq!(places(&find("q=alpha&path=*.c")), ["b/one.c:3", "c.c:2"]);
    assert_eq!(
        places(&find("q=alpha&ignore_case&path=b/**")),
        ["b/one.c:1", "b/one.c:3"]
    );
    assert_eq!(places(&find("q=%5ea.*t$&regex=true")), ["c.c:2"]);
    assert_eq!(places(&find("q=a.pha&regex=false")), Vec::<String>::new());
    let page = find("q=alpha&ignore_case=true&limit=2&offset=1");
    assert_eq!(
        (places(&page), &page["more"]),
        (vec!["b/one.c:1".into(), "b/one.c:3".into()], &json!(true))
    );
    let last = find("q=alpha&ignore_case=true&limit=2&offset=2");
    assert_eq!((places(&last).len(), &last["more"]), (2, &json!(false)));
    let hit = &find("q=beta&context=5")["results"][0];
    assert_eq!(
        (&hit["before"], &hit["after"]),
        (&json!(["Alpha"]), &json!(["gamma alpha"]))
    );
    assert_eq!(
        (&hit["column"], &hit["spans"]),
        (&json!(1), &json!([[0, 4]]))
    );
    assert_eq!(find("q=alpha")["pruned"], json!(true));
    assert_eq!(find("q=.*&regex=true")["pruned"], json!(false));
}

#[test]
fn a_scan_that_takes_too_long_is_cut_and_says_so() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("a", "text\n")]);
    let cluster = Cluster::start(1, |config| {
        config.search_time_limit = std::time::Duration::ZERO;
    });
    cluster.master.index(tree.path());
    let (status, json) = cluster.master.json("/search?q=.*&regex=true");
    assert_eq!(status, 200);
    assert_eq!(
        (&json["timed_out"], &json["partial"]),
        (&json!(true), &json!(true)),
        "{json}"
    );
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, |_| {}));

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[abc]{1,4}",
        prop::sample::select(vec![
            ".",
            "\\s",
            "\\S",
            "\\w",
            "^",
            "$",
            "[^a]",
            "\\n",
            "\\r",
            "\\r?\\n",
            "(\\n|$)",
            "\\b",
            "\\B",
            "\\A",
            "\\z",
            "(?m)^",
            "(?s).",
            "(?i)b",
            "(?-u:\\w)",
            "[^\\n]",
            "[\\n]",
            "",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..3)
                .prop_map(|parts| format!("({})", parts.join("|"))),
            (
                inner,
                prop::sample::select(vec!["*", "+", "?", "{2}", "*?"])
            )
                .prop_map(|(part, times)| format!("({part}){times}")),
        ]
    })
}

/// Texts with and without a newline at the end, with CR LF, with a mark at the start.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[abcAB \n]{0,80}",
        "([abc ]{0,6}\r\n){0,6}[abc]{0,3}",
        "\u{feff}[abc \n]{0,20}",
        "[a\u{e9}\r\n]{0,20}",
    ]
}

/// Places, and columns, by running the expression on every line by itself. The mark that some
/// editors put at the start of a file is no part of its first line.
fn scan(texts: &[String], expression: &str, ignore_case: bool) -> Vec<(String, u64)> {
    let syntax = regex_automata::util::syntax::Config::new().case_insensitive(ignore_case);
    let regex = regex_automata::meta::Builder::new()
        .syntax(syntax)
        .build(expression)
        .unwrap();
    let mut found = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split_inclusive('\n').enumerate();
        for (number, line) in
            lines.map(|(at, line)| (at + 1, line.strip_suffix('\n').unwrap_or(line)))
        {
            if let Some(first) = regex.find(line) {
                let column = line[..first.start()].chars().count() as u64 + 1;
                found.push((format!("file-{at}:{number}"), column));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn expressions_equal_a_scan_by_line(
        texts in prop::collection::vec(text(), 1..6),
        expressions in prop::collection::vec((expression(), any::<bool>()), 12),
    ) {
        let tree = tempfile::tempdir().unwrap();
        write_tree(tree.path(), texts.iter().enumerate().map(|(at, text)| (format!("file-{at}"), text)));
        CLUSTER.master.index(tree.path());
        for (expression, ignore_case) in expressions.into_iter().filter(|(text, _)| !text.is_empty()) {
            let expected = scan(&texts, &expression, ignore_case);
            let target = format!("/search?regex=true&ignore_case={ignore_case}&q={}", encode(expression.as_bytes()));
            let (status, json) = CLUSTER.master.json(&target);
            prop_assert_eq!(status, 200, "{}: {}", expression, json);
            prop_assert!(json.get("partial").is_none(), "{}: {}", expression, json);
            let columns = json["results"].as_array().unwrap().iter().map(|hit| hit["column"].as_u64().unwrap());
            let found: Vec<(String, u64)> = places(&json).into_iter().zip(columns).collect();
            prop_assert_eq!(found, expected, "{:?} in {:?}", expression, texts);
        }
    }
}

/// Each of them used to panic a node, which lost its shard.
#[test]
fn matches_at_the_end_of_a_file_without_a_newline_lose_no_shard() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        [
            ("a", "hello\nthe_end(x);"),
            ("b", "\u{feff}test\nbest test"),
        ],
    );
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    for (expression, expected) in [
        (r"\w\);(\n|$)", vec!["a:2"]),
        (r"\w\(\n*", vec!["a:2"]),
        (r"\s*;(\r?\n|$)", vec!["a:2"]),
        ("^test", vec!["b:1"]),
        ("x*$", vec!["a:1", "a:2", "b:1", "b:2"]),
    ] {
        let target = format!("/search?regex=true&q={}", encode(expression.as_bytes()));
        let (_, json) = cluster.master.json(&target);
        assert!(json.get("partial").is_none(), "{json}");
        assert_eq!(places(&json), expected, "{expression}");
    }
    let (_, json) = cluster.master.json("/search?q=test");
    assert_eq!(json["results"][0]["column"], 1, "{json}");
}
