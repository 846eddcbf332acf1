//! A family of requests made to cost much, generated: every function over values of every length, joins,
//! sorts, windows, changes, schemas and scripts. The test of charges and the benchmark of times share it.

/// Lengths of values: around the sizes at which SQLite or the meter treats them in another way.
const LENGTHS: [usize; 7] = [60, 400, 1_100, 4_000, 15_000, 100_000, 8_000_000];

/// What is asked of a text `z` (of `x`), an equal one `y`, a text of digits `d`, a JSON array `j` and a
/// number `n` that is never the same.
const EXPRESSIONS: [&str; 52] = [
    "length(z)",
    "length(z || n)",
    "octet_length(z) + n",
    "z = y",
    "z < y || 'a'",
    "z = y COLLATE NOCASE",
    "z = y COLLATE RTRIM",
    "z IN (y || n, y || 'a', y || 'b')",
    "CASE z WHEN y || n THEN 1 WHEN y || 'c' THEN 2 END",
    "upper(z) = lower(y)",
    "length(hex(z))",
    "length(unhex(d || d))",
    "length(quote(z))",
    "length(trim(z, n || 'x'))",
    "length(ltrim(z, z))",
    "length(rtrim(z, 'abcdefgéèx'))",
    "length(replace(z, 'x', 'yy'))",
    "length(replace(z, 'xx', ''))",
    "length(replace(z, y, n))",
    "instr(z, n)",
    "instr(z, substr(y, 1, 400) || n)",
    "z LIKE '%x%x%x%x%y'",
    "z LIKE '%' || substr(y, 1, 200) || 'b'",
    "z LIKE substr(y, 1, 20000)",
    "z GLOB '*[a-w]*'",
    "z GLOB '*' || substr(y, 1, 200) || 'b'",
    "z GLOB replace(hex(zeroblob(5000)), '00', '[^a]')",
    "z LIKE replace(hex(zeroblob(15000)), '00', '_%')",
    "length(substr(z, -n, 9))",
    "length(substr(z, n % 1000000, 9))",
    "d + n",
    "abs(d)",
    "CAST(d || n AS INTEGER)",
    "CAST(d || n AS REAL)",
    "round(d, 3)",
    "length(printf('%s%d', z, n))",
    "length(printf('%,d %.20f %e', n, n / 3.0, n))",
    "length(printf('%.*c', length(z), 'x'))",
    "length(strftime('%Y-%m-%d %H:%M:%f %J %s', n))",
    "length(strftime(z, n))",
    "json_valid(j)",
    "json_extract(j, '$[#-1]') + n",
    "length(json_set(j, '$[0]', n))",
    "json_array_length(j || ' ')",
    "length(json_patch(j, j))",
    "length(json_array(z, n))",
    "(SELECT count(*) FROM json_each(j))",
    "length(max(z, y))",
    "soundex(z) = n",
    "unicode(z) + length(char(n, n, n))",
    "length(concat_ws(z, n, n, n))",
    "length(randomblob(length(z)))",
];

/// Requests that are not an expression over a value.
const OTHERS: [&str; 34] = [
    // From the file of what has been tried.
    "WITH RECURSIVE r(n) AS (SELECT zeroblob(1000000) UNION ALL SELECT n FROM r) SELECT sum(length(n)) FROM r",
    "SELECT length(z) FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 300) \
     SELECT zeroblob(16000000) AS z FROM r) ORDER BY z",
    // Joins and lookups.
    "SELECT count(*) FROM big a, big b, big c, big d, big e, big f",
    "SELECT count(*) FROM words a, words b, words c WHERE b.k = a.k AND c.k > b.k",
    "SELECT count(*) FROM words a, words b, words c WHERE b.e = a.e AND c.e = b.e || 'z'",
    "SELECT count(*) FROM words a, words b WHERE a.e = b.e || a.k COLLATE NOCASE",
    "SELECT count(*) FROM big a, big b WHERE a.a = b.a",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT sum((SELECT count(*) FROM big WHERE n > 0)) FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r WHERE n IN (SELECT rowid FROM big)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT (n * 69069 + 1) % 4294967296 FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE r(n) AS (SELECT randomblob(1000) UNION SELECT randomblob(1000) FROM r) SELECT count(*) FROM r",
    // Sorting and grouping.
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r ORDER BY random()",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r ORDER BY printf('%.300c%d', 'x', n) COLLATE NOCASE",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 3000000) SELECT DISTINCT n % 1000000 FROM r ORDER BY 1",
    "SELECT count(*), a.k, b.k FROM words a, words b GROUP BY b.k, a.k COLLATE RTRIM",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(DISTINCT n || 'x') FROM r",
    // Windows and aggregates.
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 100000) \
     SELECT sum(length(g)) FROM (SELECT group_concat(n) OVER (ROWS 20000 PRECEDING) AS g FROM r)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 100000) \
     SELECT max(g) FROM (SELECT sum(n) OVER (ROWS BETWEEN 50000 PRECEDING AND 50000 FOLLOWING EXCLUDE TIES) AS g FROM r)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT length(json_group_array(n)) FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT length(group_concat(n, 'some text')) FROM r",
    // Changes.
    "INSERT INTO big WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r",
    "INSERT INTO big SELECT a.a FROM big a, big b",
    "INSERT INTO words SELECT k || n, e FROM words, (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r)",
    "UPDATE words SET k = k || (SELECT count(*) FROM big)",
    "DELETE FROM words WHERE k IN (SELECT a.k || b.e FROM words a, words b)",
    "CREATE TEMP TABLE t AS WITH RECURSIVE r(n) AS (SELECT zeroblob(100000) UNION ALL SELECT n FROM r) SELECT n FROM r",
    "CREATE TABLE q (a); CREATE TRIGGER qt AFTER INSERT ON q WHEN NEW.a < 190 BEGIN INSERT INTO q VALUES (NEW.a + 1); \
     INSERT INTO q VALUES (NEW.a + 1); END; PRAGMA recursive_triggers = ON; INSERT INTO q VALUES (1)",
    "CREATE INDEX i1 ON big (a, a || 'x', hex(a)); CREATE INDEX i2 ON big (hex(a)); CREATE INDEX i3 ON big (quote(a)); REINDEX",
    "VACUUM; VACUUM; VACUUM; VACUUM; VACUUM; VACUUM; VACUUM; VACUUM; VACUUM; VACUUM",
    "ANALYZE; ANALYZE; PRAGMA integrity_check; PRAGMA integrity_check; PRAGMA foreign_key_check",
    "CREATE VIRTUAL TABLE f USING fts5 (t); INSERT INTO f SELECT hex(a) || ' ' || rowid || ' word' FROM big; \
     INSERT INTO f (f) VALUES ('optimize'); INSERT INTO f (f) VALUES ('rebuild'); SELECT count(*) FROM f WHERE f MATCH 'wor* AND 0*'",
    "SELECT randomblob(16000000), randomblob(16000000), randomblob(16000000), randomblob(16000000), randomblob(16000000)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r",
    "EXPLAIN QUERY PLAN SELECT count(*) FROM words a NATURAL JOIN words b NATURAL JOIN words c NATURAL JOIN words d",
];

/// What the requests find.
pub const SETUP: &str = "CREATE TABLE big (a);
    WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) INSERT INTO big SELECT zeroblob(900) FROM r;
    CREATE TABLE words (k COLLATE NOCASE, e);
    CREATE INDEX words_k ON words (k); CREATE INDEX words_e ON words (e);
    WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 2000)
    INSERT INTO words SELECT printf('%.480c%06d', 'x', n), printf('%.480c%06d', 'y', n) FROM r";

/// An expression over values of a length, for as many rows as come.
pub fn over_values(expression: &str, length: usize, rows: &str) -> String {
    format!(
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r{rows}), \
         v(z, y, d, j) AS MATERIALIZED (SELECT printf('%.{length}c', 'x'), printf('%.{length}c', 'x'), \
         printf('%.{length}c', '7'), '[' || replace(hex(zeroblob({})), '00', '10,') || '1]') \
         SELECT sum({expression}) FROM r, v",
        length / 3
    )
}

fn script(count: usize, statement: impl Fn(usize) -> String) -> String {
    (0..count).map(statement).collect::<Vec<_>>().concat()
}

/// Scripts and statements whose text is long or whose compilation is.
fn texts() -> Vec<String> {
    let views = script(14, |n| {
        format!(
            "CREATE VIEW v{} AS SELECT x.a FROM v{n} x UNION SELECT y.a FROM v{n} y;",
            n + 1
        )
    });
    let savepoints = script(200, |n| {
        format!("SAVEPOINT s{n}; UPDATE big SET a = zeroblob(900 - {n});")
    });
    let small_savepoints = script(5_000, |n| {
        format!("SAVEPOINT s{n}; UPDATE big SET a = {n} WHERE rowid < 50;")
    });
    let tables = script(4_000, |n| format!("CREATE TABLE c{n} (a, b, c UNIQUE);"));
    let renames = script(1_000, |n| {
        format!("ALTER TABLE c{n} RENAME COLUMN a TO z{n};")
    });
    let joins: Vec<String> = (0..60).map(|n| format!("words w{n}")).collect();
    let on: Vec<String> = (1..60).map(|n| format!("w{n}.k = w{}.e", n - 1)).collect();
    let ors: Vec<String> = (0..5_000)
        .map(|n| format!("k = 'a{n}' AND e > 'b{n}'"))
        .collect();
    let list: Vec<String> = (0..200_000).map(|n| n.to_string()).collect();
    let unions: Vec<String> = (0..400)
        .map(|n| format!("SELECT k, e, {n} FROM words"))
        .collect();
    let columns: Vec<String> = (0..1_900).map(|n| format!("c{n}")).collect();
    let many_indexes = script(300, |n| format!("CREATE INDEX m{n} ON words (e, k, {n});"));
    vec![
        format!("CREATE VIEW v0 AS SELECT 1 AS a; {views} SELECT * FROM v14"),
        savepoints,
        small_savepoints,
        format!("{tables}{renames}"),
        format!(
            "SELECT count(*) FROM {} WHERE {}",
            joins.join(", "),
            on.join(" AND ")
        ),
        format!(
            "SELECT count(*) FROM words a, words b WHERE {}",
            ors.join(" OR ")
                .replace("k = ", "a.k = ")
                .replace(" e >", " b.e >")
        ),
        format!(
            "SELECT count(*) FROM big WHERE rowid IN ({})",
            list.join(",")
        ),
        format!("SELECT count(*) FROM ({})", unions.join(" UNION ")),
        format!(
            "CREATE TABLE wide ({0}); INSERT INTO wide ({0}) SELECT {1} FROM big; SELECT * FROM wide, wide x ORDER BY 1900",
            columns.join(","),
            vec!["a"; 1_900].join(",")
        ),
        format!("{many_indexes} UPDATE words SET e = e || 'x'"),
        "SELECT 1;\n".repeat(1_000_000),
        ";\n".repeat(10_000_000),
        "a;\n".repeat(10_000_000),
        "\n".repeat(30_000_000),
        "/* ".repeat(10_000_000),
        "-- a\n".repeat(6_000_000),
        format!("SELECT {}", vec!["1"; 1_900].join(",")) + ";",
        format!("SELECT {}1{}", "(".repeat(900), ")".repeat(900)),
        format!(
            "SELECT '{}' LIKE '{}b'",
            "a".repeat(8_000_000),
            "%a".repeat(20_000)
        ),
        format!(
            "SELECT length(trim('{}', '{}'))",
            "é".repeat(4_000_000),
            "aé".repeat(2_000_000)
        ),
    ]
}

/// Schemas that make a short statement compile for long.
fn schemas() -> Vec<String> {
    let chain = |count, over: &str| {
        script(count, |n| {
            let select = over.replace("v#", &format!("v{n}"));
            format!("CREATE VIEW v{} AS {select};", n + 1)
        })
    };
    let base = "CREATE VIEW v0 AS SELECT a FROM big;";
    let crossed = chain(70, "SELECT x.a FROM v# x, v# y");
    let united = chain(70, "SELECT a FROM v# UNION ALL SELECT a + 1 FROM v#");
    let asked = chain(
        70,
        "SELECT (SELECT max(a) FROM v#) + (SELECT min(a) FROM v#) AS a",
    );
    let long = chain(140, "SELECT a, count(*) FROM v# GROUP BY a LIMIT 1");
    let triggers = script(400, |n| {
        format!(
            "CREATE TRIGGER t{n} AFTER INSERT ON q BEGIN INSERT INTO words SELECT a, {n} FROM v140; END;"
        )
    });
    let inserts = "INSERT INTO q VALUES (1);\n".repeat(1_000);
    let instead = script(70, |n| {
        let m = n + 1;
        format!(
            "CREATE VIEW w{m} AS SELECT * FROM w{n}; CREATE TRIGGER i{m} INSTEAD OF INSERT ON w{m} BEGIN \
             INSERT INTO w{n} VALUES (NEW.a); INSERT INTO w{n} VALUES (NEW.a + 1); END;"
        )
    });
    let indexes = script(60, |n| {
        format!("CREATE INDEX x{n} ON q (a, a + {n}) WHERE a > {n};")
    });
    let ors: Vec<String> = (0..3_000).map(|n| format!("a = {n} OR a > {n}")).collect();
    vec![
        format!("{base} {crossed} SELECT count(*) FROM v70"),
        format!("{base} {united} SELECT count(*) FROM v70"),
        format!("{base} {asked} SELECT a FROM v70"),
        format!("{base} {long} CREATE TABLE q (a); {triggers} {inserts}"),
        format!(
            "CREATE VIEW w0 AS SELECT a FROM q; CREATE TABLE q (a); {instead} INSERT INTO w70 VALUES (1)"
        ),
        format!(
            "CREATE TABLE q (a); {indexes} SELECT * FROM q WHERE {}",
            ors.join(" OR ")
        ),
    ]
}

/// The whole family: a name and a request.
pub fn family() -> Vec<(String, String)> {
    let mut family = Vec::new();
    for expression in EXPRESSIONS {
        for length in LENGTHS {
            let name = format!("{length:>8} {expression}");
            family.push((name, over_values(expression, length, "")));
        }
    }
    let others = OTHERS.iter().map(|&sql| sql.to_owned());
    let others = others.chain(texts()).chain(schemas());
    family.extend(others.map(|sql| (sql.chars().take(90).collect(), sql)));
    family
}
