//! The query language, files by name, facets, `best`, `/file` and `/tree`, through HTTP.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::common::{Cluster, encode, request, write_tree};
use proptest::prelude::*;
use regex_automata::meta;
use serde_json::{Value, json};

fn places(json: &Value) -> Vec<String> {
    let hits = json["results"]
        .as_array()
        .unwrap_or_else(|| panic!("no results: {json}"));
    hits.iter()
        .map(|hit| format!("{}:{}", hit["file"].as_str().unwrap(), hit["line"]))
        .collect()
}

fn search(cluster: &Cluster, query: &str, rest: &str) -> Value {
    let target = format!("/search?query={}{rest}", encode(query.as_bytes()));
    let (status, json) = cluster.master.json(&target);
    assert_eq!(status, 200, "{query}: {json}");
    json
}

const FILES: [(&str, &str); 6] = [
    (
        "kernel/sched/core.c",
        "int sched_init(void)\n{\n\treturn sched_run(a->next);\n}\n// FIXME: Sched\n",
    ),
    ("kernel/fork.c", "int fork(void);\nsched_init();\n"),
    (
        "include/sched.h",
        "int sched_init(void);\n#define FIXME \"a b\"\n",
    ),
    ("Makefile", "obj = std::vec /usr/include\n"),
    ("src/vec.rs", "use std::vec;\nfn sched_init() {\n"),
    ("empty", ""),
];

static FIXED: LazyLock<Cluster> = LazyLock::new(|| {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), FILES);
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    cluster
});

#[test]
fn the_language_means_what_it_says() {
    for (query, expected) in [
        ("std::vec", &["Makefile:1", "src/vec.rs:1"][..]),
        ("->next", &["kernel/sched/core.c:3"]),
        ("/usr/include", &["Makefile:1"]),
        ("int void -fork file:*.c", &["kernel/sched/core.c:1"]),
        ("\"a b\"", &["include/sched.h:2"]),
        ("\"a b", &["include/sched.h:2"]),
        (
            "/sched_(init|run)\\(\\w/",
            &[
                "include/sched.h:1",
                "kernel/sched/core.c:1",
                "kernel/sched/core.c:3",
            ],
        ),
        ("FIXME", &["include/sched.h:2", "kernel/sched/core.c:5"]),
        ("fixme sched", &["kernel/sched/core.c:5"]),
        ("fixme case:yes", &[]),
        ("FIXME case:no -sched", &["include/sched.h:2"]),
        (
            "int lang:c -file:include/",
            &["kernel/fork.c:1", "kernel/sched/core.c:1"],
        ),
        (
            "sched_init file:fork,*.rs",
            &["kernel/fork.c:2", "src/vec.rs:2"],
        ),
        (
            "sched_init file:kernel file:*.c -file:sched/",
            &["kernel/fork.c:2"],
        ),
        ("sched_init -lang:c,rust", &[]),
        (
            "file:sched",
            &["include/sched.h:0", "kernel/sched/core.c:0"],
        ),
        ("file:makefile,empty", &["Makefile:0", "empty:0"]),
        ("file:Empty", &[]),
        ("-sched file:fork", &["kernel/fork.c:1"]),
    ] {
        assert_eq!(places(&search(&FIXED, query, "")), expected, "{query}");
    }
    let both = search(&FIXED, "sched_\\w+\\( -next", "&regex=true");
    assert_eq!(places(&both).len(), 4);
}

#[test]
fn mistakes_are_pointed_at() {
    for (query, position, length) in [
        ("foo case:maybe", 4, 10),
        ("\u{e9} /a(b/", 4, 1),
        ("", 0, 0),
        ("lang:klingon", 5, 7),
        ("x root:nowhere", 7, 7),
    ] {
        let target = format!("/search?query={}", encode(query.as_bytes()));
        let (status, json) = FIXED.master.json(&target);
        assert_eq!(status, 400, "{query}: {json}");
        assert_eq!(
            (&json["position"], &json["length"]),
            (&json!(position), &json!(length)),
            "{query}: {json}"
        );
    }
    assert_eq!(FIXED.master.json("/search?query=a&q=a").0, 400);
    assert_eq!(FIXED.master.json("/search?query=a&sort=worst").0, 400);
}

#[test]
fn all_matches_are_counted_where_that_is_asked_for() {
    let json = search(&FIXED, "sched_init", "&limit=1&count=true");
    assert_eq!(
        json["totals"],
        json!({"lines": 4, "files": 4, "at_least": false})
    );
    assert_eq!(
        json["facets"],
        json!({
            "folders": [
                {"name": "kernel/", "count": 2},
                {"name": "include/", "count": 1},
                {"name": "src/", "count": 1},
            ],
            "languages": [{"name": "c", "count": 3}, {"name": "rust", "count": 1}],
            "roots": [{"name": "", "count": 4}],
            "at_least": false,
        })
    );
    let cut = search(&FIXED, "sched_init", "&limit=1");
    assert_eq!(
        cut["totals"],
        json!({"lines": 1, "files": 1, "at_least": true})
    );
    let narrow = search(&FIXED, "sched file:kernel/", "&count=true");
    assert_eq!(
        narrow["facets"]["folders"],
        json!([{"name": "kernel/sched/", "count": 3}])
    );
    let names = search(&FIXED, "file:c", "&count=true&limit=1");
    assert_eq!(names["totals"]["lines"], json!(4), "{names}");
}

#[test]
fn a_stream_has_the_results_first_and_then_the_counts() {
    let target = "/search?query=sched_init&limit=1&count=true&stream=true";
    let (status, body) = FIXED.master.get(target);
    let lines: Vec<Value> = std::str::from_utf8(&body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((status, lines.len()), (200, 2));
    assert_eq!(places(&lines[0]), ["include/sched.h:1"]);
    assert_eq!(lines[0]["totals"]["at_least"], json!(true));
    assert_eq!(lines[1]["totals"]["lines"], json!(4));
    assert_eq!(
        FIXED.master.get("/search?query=sched_init&stream=true").0,
        200
    );
}

#[test]
fn the_best_hits_come_first_on_every_page() {
    let all = places(&search(&FIXED, "sched_init", "&sort=best"));
    assert_eq!(
        all,
        [
            "kernel/sched/core.c:1",
            "src/vec.rs:2",
            "include/sched.h:1",
            "kernel/fork.c:2"
        ]
    );
    for at in 0..4 {
        let page = search(
            &FIXED,
            "sched_init",
            &format!("&sort=best&limit=1&offset={at}"),
        );
        assert_eq!(places(&page), all[at..=at]);
        assert_eq!(page["more"], json!(at < 3));
    }
    let names = search(&FIXED, "file:sched", "&sort=best");
    assert_eq!(
        places(&names),
        ["include/sched.h:0", "kernel/sched/core.c:0"]
    );
}

#[test]
fn files_and_folders_of_the_index_can_be_read() {
    let master = &FIXED.master;
    let answer = request(master.address, "GET", "/file?path=kernel/fork.c", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, FILES[1].1.as_bytes());
    assert_eq!(answer.header("x-level3-language").as_deref(), Some("c"));
    let state = search(&FIXED, "fork", "")["state"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(answer.header("x-level3-state"), Some(state));
    assert_eq!(master.get("/file?path=empty"), (200, Vec::new()));
    assert_eq!(master.json("/file?path=kernel").0, 404);
    assert_eq!(master.json("/file").0, 400);
    assert_eq!(master.json("/file?path=a&root=nowhere").0, 404);
    let (_, root) = master.json("/tree");
    assert_eq!(root["files"], json!(["Makefile", "empty"]));
    assert_eq!(
        root["folders"],
        json!([{"name": "include", "files": 1}, {"name": "kernel", "files": 2}, {"name": "src", "files": 1}])
    );
    assert_eq!(
        master.json("/tree?path=kernel/").1["files"],
        json!(["fork.c"])
    );
    assert_eq!(master.json("/tree?path=kern").0, 404);
    let (_, roots) = master.json("/roots");
    assert_eq!(roots["roots"][0]["name"], json!(""), "{roots}");
    assert_eq!(roots["roots"][0]["indexing"], json!(false), "{roots}");
}

/// A part of a generated query: how it is written, and what it means.
#[derive(Clone, Debug)]
enum Part {
    Word {
        text: String,
        negated: bool,
        kind: Kind,
    },
    File {
        patterns: Vec<String>,
        negated: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bare,
    Quoted,
    Expression,
}

fn part() -> impl Strategy<Value = Part> {
    let word = |text: BoxedStrategy<String>, kind| {
        (text, any::<bool>(), 0..3_u8).prop_map(move |(text, negated, odds)| Part::Word {
            text,
            negated: negated && odds == 0 && kind != Kind::Expression,
            kind,
        })
    };
    prop_oneof![
        3 => word("[abAB][abAB_.(]{0,3}".boxed(), Kind::Bare),
        1 => word("[ab(. \\\\\"]{1,4}".boxed(), Kind::Quoted),
        1 => word("[ab][abB.]?(\\*|\\+|\\?)?[ab|]{1,2}(\\.|\\$)?".boxed(), Kind::Expression),
        1 => (prop::collection::vec("[ab/]{1,2}|\\*\\.[ch]|[ab]/\\*\\*", 1..3), any::<bool>())
            .prop_map(|(patterns, negated)| Part::File { patterns, negated }),
    ]
}

impl Part {
    fn written(&self) -> String {
        let minus = |negated: &bool| if *negated { "-" } else { "" };
        match self {
            Self::Word {
                text,
                negated,
                kind,
            } => {
                let minus = minus(negated);
                match kind {
                    Kind::Bare => format!("{minus}{text}"),
                    Kind::Quoted => {
                        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                        format!("{minus}\"{text}\"")
                    }
                    Kind::Expression => format!("/{text}/"),
                }
            }
            Self::File { patterns, negated } => {
                format!("{}file:{}", minus(negated), patterns.join(","))
            }
        }
    }
}

/// Whether a line matches, the slow way.
fn line_matches(text: &str, kind: Kind, case: &str, line: &str) -> bool {
    let ignore = match case {
        "case:yes" => false,
        "case:no" => true,
        _ => !text.contains(|c: char| c.is_ascii_uppercase()),
    };
    if kind == Kind::Expression {
        let flags = if ignore { "(?i)" } else { "" };
        let regex = meta::Regex::new(&format!("{flags}{text}")).unwrap();
        return regex.is_match(line);
    }
    if ignore {
        return line
            .to_ascii_lowercase()
            .contains(&text.to_ascii_lowercase());
    }
    line.contains(text)
}

/// Whether a path fits one of the patterns that are generated.
fn path_fits(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| {
        if let Some(ending) = pattern.strip_prefix('*') {
            path.ends_with(ending)
        } else if let Some(folder) = pattern.strip_suffix("**") {
            path.starts_with(folder)
        } else {
            format!("/{path}").contains(pattern)
        }
    })
}

fn expected(files: &BTreeMap<String, String>, parts: &[Part], case: &str) -> Vec<String> {
    let is_word = |part: &Part| matches!(part, Part::Word { .. });
    let by_name = !parts.iter().any(is_word);
    let mut found = Vec::new();
    for (path, text) in files {
        let admits = |part: &Part| match part {
            Part::File { patterns, negated } => path_fits(patterns, path) != *negated,
            Part::Word { .. } => true,
        };
        if !parts.iter().all(admits) {
            continue;
        }
        if by_name {
            found.push(format!("{path}:0"));
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let holds = |part: &Part| match part {
                Part::Word {
                    text,
                    negated,
                    kind,
                } => line_matches(text, *kind, case, line) != *negated,
                Part::File { .. } => true,
            };
            if parts.iter().all(holds) {
                found.push(format!("{path}:{}", at + 1));
            }
        }
    }
    found
}

static GENERATED: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, |_| {}));

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Many queries on each tree: indexing is what takes time.
    #[test]
    fn generated_queries_equal_a_slow_scan(
        files in prop::collection::btree_map("([ab]/){0,2}[ab]\\.[ch]", "([abAB_.( \"\\\\]{0,8}\n){0,6}[ab]{0,3}", 1..8),
        queries in prop::collection::vec((prop::collection::vec(part(), 1..4), prop::sample::select(vec!["", "case:yes", "case:no", "case:auto"])), 40),
    ) {
        let tree = tempfile::tempdir().unwrap();
        write_tree(tree.path(), &files);
        GENERATED.master.index(tree.path());
        for (parts, case) in queries {
            let mut words: Vec<String> = parts.iter().map(Part::written).collect();
            words.push(case.to_owned());
            let query = words.join(" ");
            let found = search(&GENERATED, &query, "&count=true");
            let expected = expected(&files, &parts, case);
            prop_assert_eq!(places(&found), expected.clone(), "{}", query);
            prop_assert_eq!(&found["totals"]["lines"], &json!(expected.len()), "{}", query);
            let page = search(&GENERATED, &query, "&limit=2&offset=1&count=true");
            let window: Vec<_> = expected.iter().skip(1).take(2).cloned().collect();
            prop_assert_eq!(places(&page), window, "{}", query);
            prop_assert_eq!(&page["totals"], &found["totals"], "{}", query);
            let mut best = places(&search(&GENERATED, &query, "&sort=best"));
            best.sort();
            let mut sorted = expected;
            sorted.sort();
            prop_assert_eq!(best, sorted, "{}", query);
        }
    }
}
