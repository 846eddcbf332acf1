//! The stages of all levels, as data.

use super::{
    Bound::{AtLeast, AtMost},
    Demand, Stage,
};

/// The stages of a level, the first first; none of a level that is not there.
pub const fn of_level(level: u8) -> &'static [Stage] {
    match level {
        0 => LEVEL0,
        1 => LEVEL1,
        2 => LEVEL2,
        3 => LEVEL3,
        4 => LEVEL4,
        _ => &[],
    }
}

const fn stage(title: &'static str, points: u32, flags: &'static [&'static str]) -> Stage {
    Stage {
        title,
        idea: "",
        failed: "",
        points,
        is_optional: false,
        flags,
        forgives: &[],
        demands: &[],
    }
}

const fn demand(figure: &'static str, bound: super::Bound, text: &'static str) -> Demand {
    Demand {
        figure,
        bound,
        text,
    }
}

const LEVEL0: &[Stage] = &[
    Stage {
        idea: "Read the dictionary, read the document, put every unknown word between `<` and `>`.",
        failed: "only spaces and newlines separate words, letters are folded to lower case in the \
                 document only, and all else is copied as it is.",
        ..stage("exact", 10, &["--words=200", "--runs=1", "--no-checks"])
    },
    Stage {
        idea: "A word is any run of bytes but spaces and newlines: tabs, carriage returns and \
               letters beyond ASCII belong to it.",
        failed: "read and write bytes, not text; do not split at white space in general, nor fold \
                 other letters than A to Z; and an empty document has an empty output.",
        ..stage("edges", 10, &["--words=1000", "--runs=1"])
    },
    Stage {
        idea: "The contest's document and its measure: the whole process has to be faster than the \
               reference.",
        failed: "a thousand words are nothing; what takes long is the start of the program and a \
                 table of a quarter of a million entries. Hint 1 of the text is about that.",
        demands: &[demand(
            "score_2014_percent",
            AtLeast(100.0),
            "the best run is faster than the reference, 0.66 s",
        )],
        ..stage("the original", 20, &["--words=1000", "--runs=10"])
    },
    Stage {
        idea: "A hundred megabytes: now the loop over the words counts.",
        failed: "write many words with one call, look each word up in constant time, and copy \
                 nothing that you need not.",
        ..stage("100 MB", 20, &["--large=100", "--time-limit=60s"])
    },
    Stage {
        idea: "The document can be larger than the memory: read a piece, write a piece.",
        failed: "a program that holds the whole document fails here. Read a piece of fixed size, \
                 write what is decided, and keep only the word that the piece's end has cut.",
        ..stage(
            "bounded memory",
            30,
            &["--large=32", "--time-limit=5m", "--memory-growth=16"],
        )
    },
];

const LEVEL1: &[Stage] = &[
    Stage {
        idea: "Clone, raise your entry, try commits until one has a small id, push it.",
        failed: "the line `the last refusal` says which rule the push broke. Without one, nothing \
                 was pushed: compare your id with what `git hash-object -t commit` says.",
        ..stage(
            "a coin",
            10,
            &["--difficulty=01", "--bots=0", "--replace-every=0"],
        )
    },
    Stage {
        idea: "Somebody else is faster, and your commit's parent is not the head any more.",
        failed: "a refused push is part of the game. Fetch, begin again from the new \
                 origin/master with the ledger as it is there, search, push again.",
        ..stage(
            "a moved head",
            10,
            &[
                "--difficulty=01",
                "--bots=0",
                "--replace-every=0",
                "--before-push=coin",
            ],
        )
    },
    Stage {
        idea: "One commit in sixteen million is good, and three bots are at it as well.",
        failed: "a search has no memory, so nothing is lost with a race; but each hash on an old \
                 head is wasted, and below a million hashes a second two minutes may not do. Hint 2.",
        ..stage(
            "bots",
            20,
            &[
                "--difficulty=000001",
                "--bots=3",
                "--replace-every=0",
                "--time-limit=2m",
            ],
        )
    },
    Stage {
        idea: "The whole chain is another one, with no commit in common.",
        failed: "the new head does not descend from yours, so merging and pulling cannot work. \
                 `git fetch`, then `git reset --hard origin/master`; and the difficulty is read \
                 again, too.",
        ..stage(
            "another chain",
            20,
            &[
                "--difficulty=01",
                "--bots=0",
                "--replace-every=0",
                "--before-push=chain",
            ],
        )
    },
    Stage {
        idea: "A round is coin after coin: the program is run again after each, beside three bots.",
        failed: "now speed is everything: nonce in the last block, state kept before it, all cores, \
                 vector units. Hints 2 and 3.",
        ..stage(
            "rounds",
            30,
            &[
                "--difficulty=000001",
                "--bots=3",
                "--coins=5",
                "--time-limit=1m",
            ],
        )
    },
];

const LEVEL2: &[Stage] = &[
    Stage {
        idea: "Pass requests to the backends and answers back.",
        failed: "HEAD asks all backends and is 200 only if all say so; everything else goes to \
                 one of them, with its path and query, and its answer goes back as it is.",
        forgives: &["demands_unmet"],
        demands: &[demand("mice_served", AtLeast(1.0), "a mouse is answered")],
        ..stage("pass through", 10, &["--seconds=5"])
    },
    Stage {
        idea: "A backend holds two requests in work and four that wait. A seventh is one too many.",
        failed: "count what each backend has under way, and never let it be more than six; refuse \
                 the others, or let them wait with you. (Hint 1.)",
        forgives: &["demands_unmet"],
        demands: &[
            demand("overflows", AtMost(0.0), "no backend overflows"),
            demand(
                "backends_busy_percent",
                AtLeast(30.0),
                "the backends work at least 30 % of the time",
            ),
        ],
        ..stage("survive", 10, &["--seconds=10", "--regime=open"])
    },
    Stage {
        idea: "The header X-Forwarded-For says who asks. Whoever was served least goes first.",
        failed: "an elephant asks often, so it has been served often. Keep a count for each name, \
                 let it fade, and give a free place to the smallest. (Hint 2.)",
        forgives: &["demands_unmet"],
        demands: &[demand(
            "mice_served_percent",
            AtLeast(75.0),
            "three quarters of the mice's requests are answered",
        )],
        ..stage("mice first", 20, &["--seconds=20", "--regime=2014"])
    },
    Stage {
        idea: "An idle slot costs points: elephants get what the mice leave.",
        failed: "whatever you refuse an elephant while a slot is idle is lost. Keep each backend at \
                 two in work and one or two waiting.",
        demands: &[demand(
            "backends_busy_percent",
            AtLeast(85.0),
            "the backends work at least 85 % of the time",
        )],
        ..stage("full backends", 20, &["--seconds=20"])
    },
    Stage {
        idea: "The flood comes at its real rate: a hundred requests a second from each elephant.",
        failed: "a queue that grows is a queue of the dead: a request that waited for a second has \
                 nobody who wants it. Bound the queue, and drop an elephant's before a mouse's.",
        ..stage("the open regime", 30, &["--seconds=20", "--regime=open"])
    },
    Stage {
        idea: "A name costs nothing: elephants take a new one every five requests.",
        failed: "a newcomer must not go before a client that has been modest for a while. (Hint 3.)",
        ..stage("new names", 30, &["--seconds=20", "--world=rotating-names"])
    },
];

const LEVEL3: &[Stage] = &[
    Stage {
        idea: "Four servers; each file on a node; a query to all of them.",
        failed: "`/healthcheck` is 200 once all four are there, `/isIndexed` once all have read \
                 their files, and a result is `path:line` with the path relative to the folder.",
        ..stage(
            "a small tree",
            10,
            &[
                "--seed=3",
                "--num-trees=1",
                "--max-depth=2",
                "--min-words=50",
                "--max-words=200",
                "--num-keys=5",
            ],
        )
    },
    Stage {
        idea: "What is indexed, what is a line, what is equal: to the byte.",
        failed: "no links, nothing hidden, no NUL, valid UTF-8 only, at most 1 MiB; lines end at \
                 \\n and nowhere else; upper and lower case differ; the query is URL-decoded.",
        ..stage("case and lines", 10, &["--edges"])
    },
    Stage {
        idea: "The contest's tree, and a mean four times below the reference's.",
        failed: "if answers are right and slow, look at what is around the search first: \
                 connections, one node after another, JSON. (Hint 1.)",
        ..stage("the original", 20, &[])
    },
    Stage {
        idea: "More text than memory: a node cannot keep what it searches.",
        failed: "let the index say where to look, read only that from the disk, and hold no more \
                 than a buffer. (Hint 3.)",
        ..stage(
            "memory",
            30,
            &[
                "--seed=5",
                "--num-trees=8",
                "--min-words=30000",
                "--max-words=60000",
                "--min-branches=2",
                "--max-branches=3",
                "--min-depth=4",
                "--max-depth=4",
                "--memory-mb=56",
            ],
        )
    },
    Stage {
        idea: "A node dies. An answer that misses its part has to say so.",
        failed: "a node that does not answer is not a node that finds nothing: say \
                 `\"partial\": true` beside the results, or answer 502. Or keep each part twice. A \
                 node that is started again finds nothing either, until it has its files.",
        is_optional: true,
        ..stage("a dead node", 20, &["--kill-node"])
    },
];

/// What a cluster that works at all answers.
const ALIVE: Demand = demand(
    "correct_queries",
    AtLeast(10.0),
    "ten queries are answered right, in order",
);

const LEVEL4: &[Stage] = &[
    Stage {
        idea: "SQL in, a sequence number and the sqlite3 shell's output out.",
        failed: "start it by hand and ask it with `curl --unix-socket`. The number begins at 0 and \
                 grows by one with every executed request; rows are joined by `|`.",
        demands: &[ALIVE],
        ..stage(
            "one node",
            10,
            &["--nodes=1", "--monkeys=none", "--duration=5s", "--seed=1"],
        )
    },
    Stage {
        idea: "Five nodes, one order: whatever node is asked, all agree on who was number 17.",
        failed: "the nodes do not agree yet. The simplest that works: node 0 executes everything, \
                 and the others pass requests on to it through ./node0.sock. (Hint 1.)",
        demands: &[ALIVE],
        ..stage(
            "five nodes",
            10,
            &["--monkeys=none", "--duration=10s", "--seed=2"],
        )
    },
    Stage {
        idea: "Links get slow and fast again; what was sent first may arrive last.",
        failed: "wait for answers for as long as it takes, and send on connections that stay open: \
                 a new one costs two delays before its first byte.",
        demands: &[ALIVE],
        ..stage(
            "delays",
            10,
            &[
                "--monkeys=latency,jitter,lagsplit",
                "--duration=15s",
                "--seed=3",
                "--monkey-offset=0.3",
            ],
        )
    },
    Stage {
        idea: "A link goes down: connections break, and what was on its way is lost.",
        failed: "after a break you do not know whether your request was executed. Send it again \
                 under an id of its own, and let whoever executes remember ids. (Hint 1.)",
        demands: &[ALIVE],
        ..stage(
            "a link",
            20,
            &[
                "--monkeys=latency,jitter,lagsplit,link",
                "--duration=20s",
                "--seed=4",
                "--monkey-offset=0.3",
                "--monkey-gap=0.5",
            ],
        )
    },
    Stage {
        idea: "The network splits. The side with the majority goes on, the other one waits.",
        failed: "no single node may be needed, and no minority may answer. That is consensus: a \
                 leader elected by a majority, entries that count once a majority has them. (Hint 2.)",
        demands: &[ALIVE],
        ..stage(
            "partitions",
            30,
            &[
                "--monkeys=latency,jitter,lagsplit,link,netsplit,unneighborly",
                "--duration=20s",
                "--seed=5",
                "--monkey-offset=0.3",
                "--monkey-gap=0.5",
            ],
        )
    },
    Stage {
        idea: "A node stops and goes on later, and believes that no time has passed.",
        failed: "a leader that wakes up may be one no longer: it must not answer before a majority \
                 has agreed since. And a frozen node must not hold the others up. (Hint 3.)",
        demands: &[ALIVE],
        ..stage(
            "freeze",
            30,
            &[
                "--monkeys=latency,jitter,lagsplit,link,netsplit,unneighborly,freeze",
                "--duration=25s",
                "--seed=6",
                "--monkey-offset=0.3",
                "--monkey-gap=0.5",
            ],
        )
    },
    Stage {
        idea: "The contest: all of that for 30 s, and each node once cut off until the others get on.",
        failed: "130 correct queries are what the reference of 2014 made. Too few: look at how long \
                 elections take and how a broken connection is noticed (`--report run.html`).",
        demands: &[demand(
            "correct_queries",
            AtLeast(130.0),
            "130 queries are answered right, as many as the reference's fewest",
        )],
        ..stage(
            "2014",
            40,
            &["--monkeys=default", "--duration=30s", "--seed=7"],
        )
    },
    Stage {
        idea: "Nodes are killed in the middle of everything and started again.",
        failed: "term, vote and log have to be on the disk before anybody hears of them, and a \
                 restarted node rebuilds its database from them instead of beginning at 0. (Hint 3.)",
        demands: &[demand(
            "correct_queries",
            AtLeast(130.0),
            "130 queries are answered right",
        )],
        ..stage(
            "kills",
            40,
            &[
                "--monkeys=default",
                "--enable-murder-monkey=true",
                "--duration=30s",
                "--seed=8",
                "--monkey-offset=0.5",
            ],
        )
    },
    Stage {
        idea: "When all is over and the network is whole, five databases hold the same.",
        failed: "two copies differ: something that is executed on each node depends on the node \
                 (time, chance, the order of rows), or an entry was applied twice or not at all.",
        demands: &[demand(
            "correct_queries",
            AtLeast(130.0),
            "130 queries are answered right",
        )],
        ..stage(
            "equal copies",
            40,
            &[
                "--monkeys=default",
                "--enable-murder-monkey=true",
                "--check-replicas",
                "--duration=30s",
                "--seed=9",
                "--monkey-offset=0.5",
            ],
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_says_what_it_is_about() {
        for level in 0..super::super::LEVELS {
            let stages = of_level(level);
            assert!(stages.len() >= 5, "level {level}");
            for stage in stages {
                let words = [stage.title, stage.idea, stage.failed];
                assert!(words.iter().all(|text| !text.is_empty()), "{stage:?}");
                assert!(stage.points > 0, "{stage:?}");
            }
        }
        assert!(of_level(5).is_empty());
    }
}
