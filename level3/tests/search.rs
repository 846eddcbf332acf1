//! `/search`: expressions, case, paths, limits, context.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod common;

use common::{Cluster, encode, write_tree};
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
        Just(".".to_owned()),
        Just("\\s".to_owned()),
        Just("^".to_owned()),
        Just("$".to_owned()),
        Just("[^a]".to_owned())
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..3)
                .prop_map(|parts| format!("({})", parts.join("|"))),
            (
                inner,
                prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2}")]
            )
                .prop_map(|(part, times)| format!("({part}){times}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The oracle runs the expression on every line by itself.
    #[test]
    fn expressions_equal_the_oracle(
        texts in prop::collection::vec("[abcAB \n]{0,80}", 1..6),
        expressions in prop::collection::vec((expression(), any::<bool>()), 6),
    ) {
        let tree = tempfile::tempdir().unwrap();
        write_tree(tree.path(), texts.iter().enumerate().map(|(at, text)| (format!("file-{at}"), text)));
        CLUSTER.master.index(tree.path());
        for (expression, ignore_case) in expressions {
            let regex = regex_automata::meta::Builder::new()
                .syntax(regex_automata::util::syntax::Config::new().case_insensitive(ignore_case))
                .build(&expression)
                .unwrap();
            let mut expected = Vec::new();
            for (at, text) in texts.iter().enumerate() {
                let lines = text.split_inclusive('\n').map(|line| line.trim_end_matches('\n'));
                let matching = lines.enumerate().filter(|(_, line)| regex.is_match(line));
                expected.extend(matching.map(|(line, _)| format!("file-{at}:{}", line + 1)));
            }
            let target = format!("/search?regex=true&ignore_case={ignore_case}&q={}", encode(expression.as_bytes()));
            let (status, json) = CLUSTER.master.json(&target);
            prop_assert_eq!(status, 200, "{}: {}", expression, json);
            prop_assert_eq!(places(&json), expected, "{}", expression);
        }
    }
}
