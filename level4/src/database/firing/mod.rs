//! How many programs of triggers and foreign keys one statement may have run within each other.
//!
//! SQLite runs a trigger, or what a foreign key does, as a program of its own, with registers of its own. It
//! keeps these until the statement ends: one set for each way in which programs have called each other. Two
//! triggers that fire each other twice have a million ways after twenty calls, and their registers are blocks
//! that are too small to be charged one by one. So the ways are counted here, in the texts of triggers and
//! tables, which all replicas have alike; a statement that may have too many is charged for its steps, of which
//! each fills a register.
//! It errs on the side of too much: where anything says REPLACE, whatever is changed may be deleted first.

mod text;

use std::collections::{BTreeMap, BTreeSet};

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

/// What a statement is charged with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// For finding that out, in steps.
    pub steps: u64,
    /// For each of its own steps, bytes of memory.
    pub bytes_a_step: u64,
}

#[derive(Debug)]
struct Known {
    cost: Cost,
    /// The last request that was charged for finding it out.
    charged: Option<u64>,
}

/// The triggers and foreign keys of a database.
#[derive(Debug, Default)]
pub struct Firing {
    programs: Vec<Program>,
    /// What is run by each [`Operation`] on a table.
    by_table: BTreeMap<String, [Vec<usize>; 3]>,
    /// What has been found out since something was added: where no rows are replaced, and where some may be.
    known: [BTreeMap<Change, Known>; 2],
    /// Counts requests.
    request: u64,
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
        self.request += 1;
    }

    fn forget(&mut self) {
        self.known = Default::default();
    }

    /// Forgets all of them, to be made anew.
    pub fn clear(&mut self) {
        *self = Self {
            request: self.request,
            is_recursive: self.is_recursive,
            is_stale: self.is_stale,
            ..Self::default()
        };
    }

    /// Adds a trigger by its text.
    pub fn add_trigger(&mut self, sql: &[u8]) {
        self.replaces |= text::replaces(sql);
        if let Some((change, changes)) = text::trigger(sql) {
            self.add(change, true, changes);
        }
    }

    /// Adds the foreign keys of a table by its text, or by a statement that makes or alters it.
    pub fn add_table(&mut self, sql: &[u8]) {
        self.replaces |= text::replaces(sql);
        let table = text::table(sql);
        self.is_stale |= table.is_renamed;
        for (of_parent, of_children) in table.keys {
            self.add(of_parent, false, vec![of_children]);
        }
    }

    fn add(&mut self, (operation, table): Change, is_trigger: bool, changes: Vec<Change>) {
        let programs = self.by_table.entry(table).or_default();
        programs[operation as usize].push(self.programs.len());
        self.programs.push(Program {
            is_trigger,
            changes,
        });
        self.forget();
    }

    /// The programs that a change runs.
    fn run_by(&self, (operation, table): &Change, replaces: bool) -> impl Iterator<Item = usize> {
        let deletes = (replaces && *operation != Operation::Delete).then_some(Operation::Delete);
        let operations = [Some(*operation), deletes].into_iter().flatten();
        let programs = self.by_table.get(table);
        let programs = operations.filter_map(move |by| Some(&programs?[by as usize]));
        programs.flatten().copied()
    }

    /// What a statement that makes these changes is charged with.
    pub fn cost_of(&mut self, sql: &[u8], changes: &[Change], deepest: usize) -> Cost {
        let replaces = self.replaces || text::replaces(sql);
        let mut all = Cost::default();
        for change in changes {
            if !self.known[usize::from(replaces)].contains_key(change) {
                let cost = self.find_out(change, replaces, deepest);
                let charged = None;
                self.known[usize::from(replaces)].insert(change.clone(), Known { cost, charged });
            }
            let Some(known) = self.known[usize::from(replaces)].get_mut(change) else {
                continue;
            };
            all.bytes_a_step = all.bytes_a_step.max(known.cost.bytes_a_step);
            if known.charged.replace(self.request) != Some(self.request) {
                all.steps += known.cost.steps;
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
            Err(TooMany) if count.reaches_trigger(change) => TRIGGER_BYTES,
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

    /// Whether a trigger may be among them, which is taken to be so where there is too much to look at.
    fn reaches_trigger(&mut self, change: &Change) -> bool {
        let firing = self.firing;
        let mut seen = BTreeSet::new();
        let mut left = vec![change];
        let most = self.looks + MOST_LOOKS;
        while let Some(change) = left.pop() {
            for place in firing.run_by(change, self.replaces) {
                let program = &firing.programs[place];
                self.looks += 1;
                if program.is_trigger || self.looks > most {
                    return true;
                }
                if seen.insert(place) {
                    left.extend(&program.changes);
                }
            }
        }
        false
    }

    fn look(&mut self) -> Result<(), TooMany> {
        self.looks += 1;
        if self.looks > MOST_LOOKS {
            return Err(TooMany);
        }
        Ok(())
    }
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
        // And one more to see that triggers are among them.
        let steps = (MOST_LOOKS + 2) * LOOK_STEPS;
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
