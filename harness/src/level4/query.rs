//! The queries of the simulated client: one that makes the table, then endless updates of five
//! people, each followed by a look at the whole table.

use rand_chacha::ChaCha12Rng;

pub use history::sql_counter::{Statement, Update};
use octopus::{
    NodeId,
    random::{below, stream},
};

/// The people of the table.
pub const PEOPLE: [&str; 5] = ["siddarth", "gdb", "christian", "andy", "carl"];

/// What favourite words are made of.
const LETTERS: &[u8] = b"abcdefghijkmnpq";

/// Letters in a favourite word.
const WORD_LETTERS: usize = 15;

/// The client's stream of the seed; monkeys and links have others.
const CLIENT_STREAM: u64 = 1 << 33;

/// Which number a query has in the order of queueing; the boot query is number 0.
pub type QueryId = u64;

/// One query, meant for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its place in the order of queueing.
    pub id: QueryId,
    /// The node it is sent to, again and again until it is answered.
    pub node: NodeId,
    /// What it does.
    pub what: Statement,
}

/// The SQL text of a query.
pub fn sql(what: &Statement) -> String {
    match what {
        Statement::Boot => {
            let columns = "name STRING PRIMARY KEY, friendCount INT DEFAULT 0, \
                requestCount INT DEFAULT 0, favoriteWord CHAR(15) DEFAULT \"\"";
            let mut sql = format!("CREATE TABLE ctf3 ({columns});");
            for name in PEOPLE {
                sql.extend([" INSERT INTO ctf3 (name) VALUES (\"", name, "\");"]);
            }
            sql
        }
        Statement::Update(Update {
            person,
            friends,
            word,
        }) => format!(
            "UPDATE ctf3 SET friendCount=friendCount+{friends}, requestCount=requestCount+1, \
             favoriteWord=\"{word}\" WHERE name=\"{}\"; SELECT * FROM ctf3;",
            PEOPLE[*person]
        ),
    }
}

/// Makes the queries of a seed, in the order of queueing.
#[derive(Debug)]
pub struct Generator {
    rng: ChaCha12Rng,
    nodes: usize,
    next: QueryId,
}

impl Generator {
    /// The queries of a seed for so many nodes.
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self {
            rng: stream(seed, CLIENT_STREAM),
            nodes,
            next: 0,
        }
    }
}

impl Iterator for Generator {
    type Item = Query;

    fn next(&mut self) -> Option<Query> {
        let id = self.next;
        self.next += 1;
        let node = below(&mut self.rng, self.nodes as u64) as usize;
        let what = if id == 0 {
            Statement::Boot
        } else {
            let mut letter = || LETTERS[below(&mut self.rng, LETTERS.len() as u64) as usize];
            let word = (0..WORD_LETTERS).map(|_| char::from(letter())).collect();
            Statement::Update(Update {
                person: below(&mut self.rng, PEOPLE.len() as u64) as usize,
                friends: 1 + below(&mut self.rng, 100),
                word,
            })
        };
        Some(Query { id, node, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_query_makes_the_table_and_the_others_change_it() {
        let queries: Vec<Query> = Generator::new(7, 5).take(2000).collect();
        assert_eq!(queries[0].what, Statement::Boot);
        let mut nodes = [0; 5];
        for (place, query) in queries.iter().enumerate() {
            assert_eq!(query.id, place as u64);
            nodes[query.node] += 1;
            if let Statement::Update(update) = &query.what {
                assert!((1..=100).contains(&update.friends) && update.word.len() == WORD_LETTERS);
            }
        }
        assert!(nodes.iter().all(|&count| count > 300), "{nodes:?}");
        assert_eq!(queries, Generator::new(7, 5).take(2000).collect::<Vec<_>>());
        assert_ne!(queries, Generator::new(8, 5).take(2000).collect::<Vec<_>>());
    }
}
