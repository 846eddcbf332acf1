//! How many programs of triggers and foreign keys one statement may have run within each other.
//!
//! SQLite runs a trigger, or what a foreign key does, as a program of its own, with registers of its own. It
//! keeps these until the statement ends: one set for each way in which programs have called each other. Two
//! triggers that fire each other twice have a million ways after twenty calls, and their registers are blocks
//! that are too small to be charged one by one. So the ways are counted here, in the texts of triggers and
//! tables, which all replicas have alike; a statement that may have too many is charged for its steps, of which
//! each fills a register.
//! It errs on the side of too much: where anything says REPLACE, whatever is changed may be deleted first.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use super::tokens::{Kind, Token, Tokens, Word};

/// Ways that need not be charged, each by its weight.
const MOST_WEIGHT: u64 = 5_000;
/// Of a way that ends at a trigger.
const TRIGGER_WEIGHT: u64 = 10;
/// Of one that ends at a foreign key.
const KEY_WEIGHT: u64 = 1;
/// Programs that are looked at to find that out, at most.
const MOST_LOOKS: u64 = 50_000;
/// Charged for each of them, in steps of the statement.
const LOOK_STEPS: u64 = 3;
/// Charged for each step of a statement that may have more, if triggers are among them, bytes of memory. What was
/// made to keep as much as it can kept ten bytes a step where the registers are few, and blocks of more are charged.
const TRIGGER_BYTES: u64 = 128;
/// Where only foreign keys are, whose programs hold keys and little else.
const KEY_BYTES: u64 = 32;

/// What is done to a table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// INSERT, or REPLACE.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

/// A change, and the name of what is changed, in lower case.
pub type Change = (Operation, String);

/// A trigger, or what a foreign key does.
#[derive(Debug)]
struct Program {
    is_trigger: bool,
    changes: Vec<Change>,
}

/// Whether rows may be replaced, and what is changed.
type Question = (bool, Change);

/// What a statement is charged with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// For finding that out, in steps.
    pub steps: u64,
    /// For each of its own steps, bytes of memory.
    pub bytes_a_step: u64,
}

/// The triggers and foreign keys of a database.
#[derive(Debug, Default)]
pub struct Firing {
    programs: Vec<Program>,
    /// By what has them run.
    by_change: BTreeMap<Change, Vec<usize>>,
    /// What has been found out since something was added, by whether rows may be replaced.
    known: BTreeMap<Question, Cost>,
    /// What this request has been charged for finding out.
    charged: BTreeSet<Question>,
    /// Some text says REPLACE.
    replaces: bool,
    /// Triggers may fire themselves (`PRAGMA recursive_triggers`).
    is_recursive: bool,
    /// A table has got another name, which the texts that are here do not have; or had it, if that was taken back.
    is_stale: bool,
}

impl Firing {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Whether it has to be made anew of the schema before each statement.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Triggers may fire themselves, from here on.
    pub fn recurse(&mut self) {
        self.is_recursive = true;
        self.forget();
    }

    /// A request begins.
    pub fn begin(&mut self) {
        self.charged.clear();
    }

    fn forget(&mut self) {
        self.known.clear();
        self.charged.clear();
    }

    /// Forgets all of them, to be made anew.
    pub fn clear(&mut self) {
        *self = Self {
            is_recursive: self.is_recursive,
            is_stale: self.is_stale,
            ..Self::default()
        };
    }

    /// Adds a trigger by its text.
    pub fn add_trigger(&mut self, sql: &[u8]) {
        self.replaces |= replaces(sql);
        let mut tokens = Tokens { sql }.peekable();
        let Some(operation) = tokens.find_map(|token| operation(&token)) else {
            return;
        };
        if !tokens.any(|token| is_word(&token, b"on")) {
            return;
        }
        let Some(table) = name(&mut tokens) else {
            return;
        };
        let program = Program {
            is_trigger: true,
            changes: changes(&mut tokens),
        };
        self.add((operation, table), program);
    }

    /// Adds the foreign keys of a table by its text, or by a statement that makes or alters it.
    pub fn add_table(&mut self, sql: &[u8]) {
        self.replaces |= replaces(sql);
        let mut tokens = Tokens { sql }.peekable();
        if !tokens.any(|token| is_word(&token, b"table")) {
            return;
        }
        while tokens
            .next_if(|token| {
                [&b"if"[..], b"not", b"exists"]
                    .iter()
                    .any(|word| is_word(token, word))
            })
            .is_some()
        {}
        let Some(table) = name(&mut tokens) else {
            return;
        };
        while let Some(token) = tokens.next() {
            self.is_stale |= is_word(&token, b"rename");
            if !is_word(&token, b"references") {
                continue;
            }
            let Some(parent) = name(&mut tokens) else {
                return;
            };
            for (operation, does) in actions(&mut tokens) {
                let program = Program {
                    is_trigger: false,
                    changes: vec![(does, table.clone())],
                };
                self.add((operation, parent.clone()), program);
            }
        }
    }

    fn add(&mut self, change: Change, program: Program) {
        self.by_change
            .entry(change)
            .or_default()
            .push(self.programs.len());
        self.programs.push(program);
        self.forget();
    }

    /// The programs that a change runs.
    fn run_by(&self, (operation, table): &Change, replaces: bool) -> impl Iterator<Item = usize> {
        let deletes = (replaces && *operation != Operation::Delete).then_some(Operation::Delete);
        let operations = [Some(*operation), deletes].into_iter().flatten();
        let programs =
            operations.filter_map(|operation| self.by_change.get(&(operation, table.clone())));
        programs.flatten().copied()
    }

    fn reaches_trigger(&self, change: &Change, replaces: bool) -> bool {
        let mut seen = BTreeSet::new();
        let mut left: Vec<usize> = self.run_by(change, replaces).collect();
        while let Some(place) = left.pop() {
            if !seen.insert(place) {
                continue;
            }
            let program = &self.programs[place];
            if program.is_trigger {
                return true;
            }
            left.extend(
                program
                    .changes
                    .iter()
                    .flat_map(|change| self.run_by(change, replaces)),
            );
        }
        false
    }

    /// What a statement that makes these changes is charged with.
    pub fn cost_of(&mut self, sql: &[u8], changes: &[Change], deepest: usize) -> Cost {
        let replaces = self.replaces || replaces(sql);
        let mut all = Cost::default();
        for change in changes {
            let question = (replaces, change.clone());
            let known = self.known.get(&question).copied();
            let cost = known.unwrap_or_else(|| self.find_out(change, replaces, deepest));
            self.known.insert(question.clone(), cost);
            all.bytes_a_step = all.bytes_a_step.max(cost.bytes_a_step);
            if self.charged.insert(question) {
                all.steps += cost.steps;
            }
        }
        all
    }

    fn find_out(&self, change: &Change, replaces: bool, deepest: usize) -> Cost {
        let mut count = Count {
            firing: self,
            replaces,
            deepest,
            active: Vec::new(),
            weight: 0,
            looks: 0,
        };
        let bytes_a_step = match count.walk(change) {
            Ok(()) => 0,
            Err(TooMany) if self.reaches_trigger(change, replaces) => TRIGGER_BYTES,
            Err(TooMany) => KEY_BYTES,
        };
        Cost {
            steps: count.looks * LOOK_STEPS,
            bytes_a_step,
        }
    }
}

/// Ways from one change on.
struct Count<'f> {
    firing: &'f Firing,
    replaces: bool,
    deepest: usize,
    /// Programs within each other.
    active: Vec<usize>,
    weight: u64,
    looks: u64,
}

struct TooMany;

impl Count<'_> {
    fn walk(&mut self, change: &Change) -> Result<(), TooMany> {
        if self.active.len() >= self.deepest {
            return Ok(());
        }
        let firing = self.firing;
        for place in firing.run_by(change, self.replaces) {
            self.look()?;
            let program = &firing.programs[place];
            if program.is_trigger && !firing.is_recursive && self.active.contains(&place) {
                continue;
            }
            self.weight += if program.is_trigger {
                TRIGGER_WEIGHT
            } else {
                KEY_WEIGHT
            };
            if self.weight > MOST_WEIGHT {
                return Err(TooMany);
            }
            self.active.push(place);
            for change in &program.changes {
                self.look()?;
                self.walk(change)?;
            }
            self.active.pop();
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), TooMany> {
        self.looks += 1;
        if self.looks > MOST_LOOKS {
            return Err(TooMany);
        }
        Ok(())
    }
}

fn is_word(token: &Token, word: &[u8]) -> bool {
    token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
}

/// Whether a text says so, be it of a function.
fn replaces(sql: &[u8]) -> bool {
    (Tokens { sql }).any(|token| is_word(&token, b"replace"))
}

fn operation(token: &Token) -> Option<Operation> {
    [
        (&b"insert"[..], Operation::Insert),
        (b"update", Operation::Update),
        (b"delete", Operation::Delete),
    ]
    .into_iter()
    .find_map(|(word, operation)| is_word(token, word).then_some(operation))
}

/// A name, without the schema's in front of it.
fn name(tokens: &mut Peekable<Tokens<'_>>) -> Option<String> {
    let mut name = tokens.next()?;
    while tokens.next_if(|token| token.word() == Word::Dot).is_some() {
        name = tokens.next()?;
    }
    (name.kind != Kind::Sign).then(|| name.name())
}

/// What a foreign key does: what has to be done to its parent, and what it does to the children then. They stand
/// behind the parent's name.
fn actions(tokens: &mut Peekable<Tokens>) -> Vec<(Operation, Operation)> {
    let mut actions = Vec::new();
    if tokens.next_if(|token| token.word() == Word::Open).is_some() {
        tokens.find(|token| token.word() == Word::Close);
    }
    loop {
        if tokens.next_if(|token| is_word(token, b"match")).is_some() {
            tokens.next();
            continue;
        }
        if tokens.next_if(|token| is_word(token, b"on")).is_none() {
            return actions;
        }
        let changed = tokens.next().and_then(|token| operation(&token));
        let Some(action) = tokens.next() else {
            return actions;
        };
        let does = if is_word(&action, b"cascade") {
            changed
        } else {
            is_word(&action, b"set").then_some(Operation::Update)
        };
        // SET NULL, SET DEFAULT, NO ACTION.
        if is_word(&action, b"set") || is_word(&action, b"no") {
            tokens.next();
        }
        actions.extend(changed.zip(does));
    }
}

/// What the statements of a trigger change.
fn changes(tokens: &mut Peekable<Tokens>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut last = Word::Other;
    while let Some(token) = tokens.next() {
        let operation = match token.word() {
            Word::Into => Operation::Insert,
            // Of `INSERT … ON CONFLICT DO UPDATE SET`, too: that one's name is SET, which nobody's is.
            Word::Update => Operation::Update,
            Word::From if last == Word::Delete => Operation::Delete,
            word => {
                last = word;
                continue;
            }
        };
        last = Word::Other;
        if operation == Operation::Update && tokens.next_if(|token| is_word(token, b"or")).is_some()
        {
            tokens.next();
        }
        let upserts = operation == Operation::Update
            && tokens.next_if(|token| is_word(token, b"set")).is_some();
        let table = if upserts {
            changes.last().map(|(_, table): &Change| table.clone())
        } else {
            name(tokens)
        };
        changes.extend(table.map(|table| (operation, table)));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEPEST: usize = 200;

    fn of(texts: &[&str]) -> Firing {
        let mut firing = Firing::default();
        for sql in texts {
            firing.add_table(sql.as_bytes());
            if sql.contains("TRIGGER") {
                firing.add_trigger(sql.as_bytes());
            }
        }
        firing
    }

    fn inserts(firing: &mut Firing, table: &str) -> u64 {
        firing
            .cost_of(b"", &[(Operation::Insert, table.to_owned())], DEEPEST)
            .bytes_a_step
    }

    #[test]
    fn what_a_trigger_changes_is_read_from_its_text() {
        let firing = of(&[
            "CREATE TEMP TRIGGER IF NOT EXISTS \"delete\" INSTEAD OF /* x */ UPDATE OF a, b ON main.[V w] WHEN new.a IN
             (SELECT a FROM u) BEGIN INSERT OR REPLACE INTO a VALUES ('UPDATE x'); UPDATE OR IGNORE \"B\" SET a = 1;
             DELETE FROM temp.c WHERE a IN (SELECT delete_ FROM d);
             INSERT INTO e VALUES (1) ON CONFLICT DO UPDATE SET a = 2; REPLACE INTO f SELECT * FROM g; END",
        ]);
        let (fires, programs) = firing.by_change.first_key_value().unwrap();
        assert_eq!(*fires, (Operation::Update, "v w".to_owned()));
        let changes = &firing.programs[programs[0]].changes;
        let names: Vec<_> = changes
            .iter()
            .map(|(o, name)| (*o, name.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                (Operation::Insert, "a"),
                (Operation::Update, "b"),
                (Operation::Delete, "c"),
                (Operation::Insert, "e"),
                (Operation::Update, "e"),
                (Operation::Insert, "f"),
            ]
        );
    }

    #[test]
    fn what_a_foreign_key_does_is_read_from_its_table() {
        let firing = of(&[
            "CREATE TABLE IF NOT EXISTS main.\"C\" (a REFERENCES P (x, y) MATCH FULL ON DELETE SET NULL ON UPDATE
             CASCADE DEFERRABLE, b REFERENCES q ON DELETE NO ACTION ON UPDATE RESTRICT, c REFERENCES r,
             FOREIGN KEY (a, b) REFERENCES s ON DELETE CASCADE)",
            "ALTER TABLE d ADD COLUMN e REFERENCES p ON UPDATE SET DEFAULT",
        ]);
        let all = firing
            .by_change
            .iter()
            .flat_map(|((operation, parent), programs)| {
                let changes = programs
                    .iter()
                    .flat_map(|&place| &firing.programs[place].changes);
                changes
                    .map(move |(does, child)| (*operation, parent.as_str(), *does, child.as_str()))
            });
        assert_eq!(
            all.collect::<Vec<_>>(),
            [
                (Operation::Update, "p", Operation::Update, "c"),
                (Operation::Update, "p", Operation::Update, "d"),
                (Operation::Delete, "p", Operation::Update, "c"),
                (Operation::Delete, "s", Operation::Delete, "c"),
            ]
        );
    }

    /// What people have in their databases: notes of what has changed, times of changes, trees.
    #[test]
    fn usual_triggers_and_foreign_keys_cost_nothing() {
        let mut texts = vec!["CREATE TABLE log (a)".to_owned()];
        for table in 0..60 {
            texts.push(format!(
                "CREATE TABLE t{table} (a, b REFERENCES t{table} ON DELETE CASCADE, c REFERENCES t{} ON DELETE CASCADE)",
                table / 2
            ));
            for what in ["INSERT", "UPDATE", "DELETE"] {
                texts.push(format!(
                    "CREATE TRIGGER {what}_{table} AFTER {what} ON t{table} BEGIN INSERT INTO log VALUES (1); END"
                ));
            }
            texts.push(format!(
                "CREATE TRIGGER time_{table} AFTER UPDATE ON t{table} BEGIN UPDATE t{table} SET a = 1; END"
            ));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut firing = of(&texts);
        for table in 32..60 {
            let table = format!("t{table}");
            for operation in [Operation::Insert, Operation::Update, Operation::Delete] {
                let change = (operation, table.clone());
                assert_eq!(
                    firing.cost_of(b"", &[change], DEEPEST).bytes_a_step,
                    0,
                    "{operation:?} {table}"
                );
            }
        }
    }

    #[test]
    fn programs_with_many_ways_into_each_other_are_charged() {
        let twice = |n: u32| {
            format!(
                "CREATE TRIGGER r{n} AFTER INSERT ON t{n} BEGIN INSERT INTO t{m} VALUES (1); INSERT INTO t{m} VALUES (2); END",
                m = n + 1
            )
        };
        let texts: Vec<String> = (0..10).map(twice).collect();
        let mut firing = of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(inserts(&mut firing, "t0"), TRIGGER_BYTES);
        assert_eq!(inserts(&mut firing, "t1"), TRIGGER_BYTES);
        // 255 ways are few.
        assert_eq!(inserts(&mut firing, "t2"), 0);
        assert_eq!(inserts(&mut firing, "t10"), 0);

        // Only if it may fire itself.
        let mut firing = of(&[
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); END",
        ]);
        assert_eq!(inserts(&mut firing, "t"), 0);
        firing.recurse();
        assert_eq!(inserts(&mut firing, "t"), TRIGGER_BYTES);
        let mut once =
            of(&["CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO t VALUES (1); END"]);
        once.recurse();
        assert_eq!(inserts(&mut once, "t"), 0);

        // Foreign keys always do.
        let changes = |firing: &mut Firing, sql: &str, operation| {
            firing
                .cost_of(sql.as_bytes(), &[(operation, "t".to_owned())], DEEPEST)
                .bytes_a_step
        };
        let tree =
            "CREATE TABLE t (a REFERENCES t ON DELETE CASCADE, b REFERENCES t ON DELETE CASCADE)";
        let mut trees = of(&[tree]);
        assert_eq!(
            changes(&mut trees, "DELETE FROM t", Operation::Delete),
            KEY_BYTES
        );
        assert_eq!(
            changes(&mut trees, "INSERT INTO t VALUES (1, 2)", Operation::Insert),
            0
        );
        assert_eq!(
            changes(
                &mut trees,
                "REPLACE INTO t VALUES (1, 2)",
                Operation::Insert
            ),
            KEY_BYTES
        );
        let note = "CREATE TRIGGER r AFTER DELETE ON t BEGIN INSERT OR REPLACE INTO log VALUES (old.a); END";
        trees.add_trigger(note.as_bytes());
        assert_eq!(
            changes(&mut trees, "DELETE FROM t", Operation::Delete),
            TRIGGER_BYTES
        );
        assert_eq!(
            changes(&mut trees, "INSERT INTO t VALUES (1, 2)", Operation::Insert),
            TRIGGER_BYTES
        );
    }

    #[test]
    fn looking_at_programs_ends() {
        // None of them may fire itself, so that each way ends only after as many as there are.
        let notes = "INSERT INTO log VALUES (1); ".repeat(300);
        let texts: Vec<String> = (0..400)
            .map(|n| {
                format!("CREATE TRIGGER r{n} AFTER INSERT ON t BEGIN {notes} INSERT INTO t VALUES (1); END")
            })
            .collect();
        let mut firing = of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let change = (Operation::Insert, "t".to_owned());
        let first = firing.cost_of(b"", std::slice::from_ref(&change), DEEPEST);
        let steps = (MOST_LOOKS + 1) * LOOK_STEPS;
        let bytes_a_step = TRIGGER_BYTES;
        assert_eq!(
            first,
            Cost {
                steps,
                bytes_a_step
            }
        );
        // It is found out once in a request, and charged once in each.
        let again = firing.cost_of(b"", std::slice::from_ref(&change), DEEPEST);
        assert_eq!(
            again,
            Cost {
                steps: 0,
                bytes_a_step
            }
        );
        firing.begin();
        assert_eq!(firing.cost_of(b"", &[change], DEEPEST), first);
    }

    #[test]
    fn another_name_makes_it_stale_for_good() {
        let mut firing = of(&["ALTER TABLE t ADD COLUMN a"]);
        assert!(!firing.is_stale());
        firing.add_table(b"ALTER TABLE t RENAME TO u");
        firing.clear();
        assert!(firing.is_stale());
    }
}
