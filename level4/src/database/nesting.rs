//! How deep SELECTs are nested once views have been put in their places, and for how many tables they stand
//! then, known before SQLite compiles.
//!
//! SQLite's compiler walks a chain of nested SELECTs once for each of them, and once more for each view
//! whose columns a connection does not know yet; a view that is named twice is put in its place twice, with
//! all that it names; none of that reports progress. So depth and breadth are taken from the text alone:
//! that of a statement and of the views and triggers in the schema, which all replicas have alike.
//! It errs on the side of too much: what stands where a table may stand counts for the view of that name.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Kind, Token, Tokens, Word};

/// The most SELECTs within each other, those of views and common table expressions among them. SQLite's
/// own limit counts what a connection has not met before, and must never be the one that is reached.
pub const DEEPEST: u64 = 150;

/// The most tables and views that a view or a statement may stand for: a third of a second of compiling.
pub const BROADEST: u64 = 10_000;

/// Charged for the compiling of each of them.
const BREADTH_STEPS: u64 = 200;

/// The most parentheses that may be open.
const PARENTHESES: usize = 10_000;

/// The views of a database, and what else of its schema makes compiling costly.
#[derive(Debug, Default)]
pub struct Views {
    /// The length of the longest text of a table that may have generated columns; 0: there is none.
    generated: usize,
    shapes: BTreeMap<String, Shape>,
    /// What comes of each of them.
    extents: BTreeMap<String, Extent>,
    /// The tables of all of them.
    mentioned: BTreeSet<String>,
    triggers: BTreeMap<String, Shape>,
}

/// What a statement is once views are in their places.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// SELECTs within each other.
    depth: u64,
    /// Views, and tables within views.
    breadth: u64,
}

impl Extent {
    /// What compiling it is charged with, in steps.
    pub fn steps(self) -> u64 {
        let depth = self.depth.saturating_mul(self.depth);
        depth.saturating_add(self.breadth.saturating_mul(BREADTH_STEPS))
    }

    /// With a view in its place so many times.
    fn with(self, view: Self, times: u64) -> Self {
        let breadth = times.saturating_mul(view.breadth);
        Self {
            depth: self.depth.max(view.depth),
            breadth: self.breadth.saturating_add(breadth),
        }
    }

    /// Around SELECTs that are nested so deep.
    fn around(self, depth: u64) -> Self {
        Self {
            depth: self.depth + depth,
            ..self
        }
    }

    fn check(self) -> Result<Self, TooNested> {
        if self.depth > DEEPEST {
            return Err(TooNested::Deep);
        }
        if self.breadth > BROADEST {
            return Err(TooNested::Broad);
        }
        Ok(self)
    }
}

/// What a statement's text tells.
#[derive(Debug, Default)]
struct Shape {
    /// SELECTs within each other.
    depth: u64,
    /// What may be tables or views, in lower case, and how often each is named.
    tables: BTreeMap<String, u64>,
}

impl Shape {
    /// Of a text's first statement.
    fn of(sql: &[u8]) -> Self {
        let mut shape = Self::default();
        shape.depth = scan(sql, |table| shape.mention(table.name(), 1));
        shape
    }

    fn join(&mut self, other: Self) {
        self.depth = self.depth.max(other.depth);
        for (table, times) in other.tables {
            self.mention(table, times);
        }
    }

    /// One that names more than [`BROADEST`] is too broad whatever they are.
    fn mention(&mut self, table: String, times: u64) {
        if self.tables.len() as u64 <= BROADEST || self.tables.contains_key(&table) {
            let count = self.tables.entry(table).or_default();
            *count = count.saturating_add(times);
        }
    }
}

/// What views stand for is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooNested {
    /// Beyond [`DEEPEST`], or so many parentheses that they need not be looked into.
    #[error(
        "budget exceeded: SELECTs are nested more than {DEEPEST} deep, those of views among them, \
         or parentheses more than {PARENTHESES}"
    )]
    Deep,
    /// Beyond [`BROADEST`].
    #[error("budget exceeded: views stand for more than {BROADEST} tables, each use counted")]
    Broad,
}

/// The longest text of a table with generated columns, bytes: it bounds how deep they are within each other.
const GENERATED_TEXT: usize = 64 * 1024;

/// A table with generated columns has a longer text than [`GENERATED_TEXT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "budget exceeded: a table with generated columns is of more than {GENERATED_TEXT} bytes of SQL"
)]
pub struct TooLong;

/// Whether a table with this text may have generated columns: `AS (` in it.
fn has_generated_columns(sql: &[u8]) -> bool {
    let mut is_after_as = false;
    for token in (Tokens { sql }) {
        let word = token.word();
        if is_after_as && word == Word::Open {
            return true;
        }
        is_after_as = word == Word::As;
    }
    false
}

impl Views {
    /// Whether a table may have generated columns.
    pub fn has_generated_columns(&self) -> bool {
        self.generated > 0
    }

    /// Adds a table by its text, or by a statement that makes or alters it. What a statement adds to a
    /// table is taken to be added to the longest.
    pub fn add_table(&mut self, sql: &[u8], alters: bool) {
        if has_generated_columns(sql) {
            let before = if alters { self.generated } else { 0 };
            self.generated = self.generated.max(before.saturating_add(sql.len()));
        }
    }

    /// # Errors
    ///
    /// If the text of a table with generated columns is too long.
    pub fn check_tables(&self) -> Result<(), TooLong> {
        if self.generated > GENERATED_TEXT {
            return Err(TooLong);
        }
        Ok(())
    }

    /// Adds a view by its text; one of the same name stays, too.
    pub fn add(&mut self, name: &str, sql: &str) {
        let name = name.to_ascii_lowercase();
        let mut new = Shape::of(sql.as_bytes());
        new.tables.remove(&name);
        self.mentioned.extend(new.tables.keys().cloned());
        new.depth = new.depth.max(1);
        self.shapes.entry(name).or_default().join(new);
    }

    /// Adds a trigger by its text; one of the same name stays, too.
    pub fn add_trigger(&mut self, name: &str, sql: &str) {
        let trigger = self.triggers.entry(name.to_ascii_lowercase());
        trigger.or_default().join(Shape::of(sql.as_bytes()));
    }

    /// Adds a view to those that have been followed; gives how many had to be looked at.
    ///
    /// # Errors
    ///
    /// As [`Views::follow`].
    pub fn add_and_follow(&mut self, name: &str, sql: &str) -> Result<u64, TooNested> {
        self.add(name, sql);
        let name = name.to_ascii_lowercase();
        if self.mentioned.contains(&name) {
            return self.follow();
        }
        let extent = self
            .shapes
            .get(&name)
            .map_or_else(Extent::default, |shape| self.view(shape));
        self.extents.insert(name, extent);
        extent.check().map(|_| 1)
    }

    /// Follows the views through each other, after all have been added; gives how many had to be looked
    /// at.
    ///
    /// # Errors
    ///
    /// If one is too deep or too broad, or there is a circle. Statements that use such a one are refused
    /// from now on.
    pub fn follow(&mut self) -> Result<u64, TooNested> {
        self.extents.clear();
        let mut looks = 0;
        loop {
            let mut has_changed = false;
            for (name, shape) in &self.shapes {
                let extent = self.view(shape);
                has_changed |= self.extents.insert(name.clone(), extent) != Some(extent);
                looks += 1;
            }
            if !has_changed {
                break;
            }
        }
        let mut extents = self.extents.values();
        extents.try_for_each(|extent| extent.check().map(drop))?;
        Ok(looks)
    }

    /// Of a view. What is too much is all the same, so that following a circle ends.
    fn view(&self, shape: &Shape) -> Extent {
        let Extent { depth, .. } = self.extent(shape);
        let tables = shape.tables.iter().map(|(name, times)| {
            let breadth = self.extents.get(name).map_or(1, |view| view.breadth);
            times.saturating_mul(breadth)
        });
        let breadth = tables.fold(1, u64::saturating_add);
        Extent {
            depth: depth.min(DEEPEST + 1),
            breadth: breadth.min(BROADEST + 1),
        }
    }

    /// Of what names views, and is none.
    fn extent(&self, shape: &Shape) -> Extent {
        let named = shape.tables.iter();
        let views = named.filter_map(|(name, &times)| Some((*self.extents.get(name)?, times)));
        let extent = views.fold(Extent::default(), |all, (view, times)| {
            all.with(view, times)
        });
        extent.around(shape.depth)
    }

    /// What the first statement of `sql` comes to.
    ///
    /// # Errors
    ///
    /// If that is too deep or too broad.
    pub fn extent_of(&self, sql: &[u8]) -> Result<Extent, TooNested> {
        let mut extent = Extent::default();
        let depth = scan(sql, |table| {
            // Most databases have no views.
            if !self.extents.is_empty()
                && let Some(&view) = self.extents.get(&table.name())
            {
                extent = extent.with(view, 1);
            }
        });
        extent.around(depth).check()
    }

    /// What compiling a trigger is charged with, in steps.
    pub fn trigger_steps(&self, name: &str) -> u64 {
        let shape = self.triggers.get(&name.to_ascii_lowercase());
        shape.map_or(0, |shape| self.extent(shape).steps())
    }

    /// What compiling all views and triggers once is charged with, in steps.
    pub fn all_steps(&self) -> u64 {
        let views = self.extents.values().map(|extent| extent.steps());
        let triggers = self.triggers.values();
        let triggers = triggers.map(|shape| self.extent(shape).steps());
        views.chain(triggers).fold(0, u64::saturating_add)
    }
}

/// What a pair of parentheses holds so far.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    /// SELECTs around it.
    around: u64,
    /// Those, and its own.
    depth: u64,
    /// What comes may be tables.
    is_from: bool,
}

/// How deep a text's first statement nests SELECTs; tells what may be tables or views in it.
fn scan<'s>(sql: &'s [u8], mut mention: impl FnMut(Token<'s>)) -> u64 {
    let mut levels = vec![Level::default()];
    let (mut depth, mut selects, mut has_with) = (0, 0, false);
    let (mut is_beginning, mut is_trigger) = (true, false);
    // The word before, and the one before that.
    let (mut last, mut before_last) = (Word::Other, Word::Other);
    let mut candidate: Option<Token> = None;
    for token in (Tokens { sql }) {
        let word = token.word();
        let follows_dot = last == Word::Dot && candidate.is_some();
        if word != Word::Dot
            && let Some(table) = candidate.take()
        {
            mention(table);
        }
        is_trigger |= is_beginning && word == Word::Trigger;
        is_beginning &= word == Word::TriggerBegins;
        let ends = !is_trigger || (last == Word::End && before_last == Word::Semicolon);
        if word == Word::Semicolon && ends {
            break;
        }
        selects += u64::from(word == Word::Select);
        has_with |= word == Word::With;
        let is_from = open_levels(&mut levels, word);
        if levels.len() > PARENTHESES {
            return DEEPEST + 1;
        }
        depth = levels.last().map_or(0, |l| l.depth).max(depth);
        let may_be_table = match last {
            Word::Comma | Word::Open => is_from,
            Word::From | Word::Join | Word::Into | Word::Update | Word::In | Word::OnConflict => {
                true
            }
            _ => follows_dot,
        };
        if may_be_table && token.kind != Kind::Sign {
            candidate = Some(token);
        }
        before_last = std::mem::replace(&mut last, word);
    }
    candidate.map(mention);
    // Each common table expression may be within the one after it.
    if has_with { selects } else { depth }
}

/// What a word makes of the parentheses that are open; gives whether tables were awaited before it.
fn open_levels(levels: &mut Vec<Level>, word: Word) -> bool {
    let Some(top) = levels.last_mut() else {
        return true;
    };
    let was_from = top.is_from;
    match word {
        Word::Select => {
            top.depth = top.around + 1;
            top.is_from = false;
        }
        Word::From | Word::Join | Word::Into | Word::Update => top.is_from = true,
        Word::EndsFrom => top.is_from = false,
        Word::Open => {
            let (around, is_from) = (top.depth, was_from);
            levels.push(Level {
                around,
                depth: around,
                is_from,
            });
        }
        Word::Close if levels.len() > 1 => {
            levels.pop();
        }
        _ => {}
    }
    was_from
}

#[cfg(test)]
mod tests {
    use super::{BREADTH_STEPS, BROADEST, DEEPEST, TooNested, Views};

    #[test]
    fn depth_is_that_of_selects_within_each_other() {
        let mut views = Views::default();
        views.add(
            "One",
            "CREATE VIEW One AS SELECT * FROM (SELECT a AS one FROM t)",
        );
        views.add(
            "two",
            "CREATE VIEW two AS SELECT x FROM t, main.[one] WHERE x IN (SELECT 1)",
        );
        views.add(
            "a b",
            "CREATE VIEW \"a b\" AS SELECT * FROM -- c\n two JOIN t ON 1",
        );
        views.add("a \"b", "CREATE VIEW \"a \"\"b\" AS SELECT * FROM \"a b\"");
        assert!(views.follow().is_ok());
        for (depth, sql) in [
            (0, "INSERT INTO t VALUES (1)"),
            (1, "SELECT 1; SELECT * FROM one"),
            (2, "SELECT (SELECT 1), (SELECT 2), ')' UNION SELECT 3"),
            (3, "SELECT * FROM one"),
            (1, "SELECT one, t.two, 'two' FROM t"),
            (5, "select * from t, \"TWO\""),
            (6, "SELECT 1 WHERE 1 IN 'a b'"),
            (
                3,
                "WITH c AS (SELECT 1), d AS (SELECT * FROM c) SELECT * FROM d",
            ),
            (2, "DELETE FROM one"),
            (7, "SELECT * FROM `a \"\"b`, \"a \"\"b\""),
            (4, "UPDATE OR IGNORE two SET x = 1"),
            (
                3,
                "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT * FROM one; END; SELECT * FROM two",
            ),
        ] {
            let extent = views.extent_of(sql.as_bytes()).unwrap();
            assert_eq!(extent.depth, depth, "{sql}");
        }
    }

    #[test]
    fn views_count_as_often_as_they_are_put_in_their_places() {
        let mut views = Views::default();
        views.add("a", "CREATE VIEW a AS SELECT * FROM t, u");
        views.add(
            "b",
            "CREATE VIEW b AS SELECT * FROM a UNION SELECT 1 FROM A x JOIN t",
        );
        assert!(views.follow().is_ok());
        // Itself, and its two tables; itself, those twice, and one table.
        let breadth_of = |sql: &str| views.extent_of(sql.as_bytes()).unwrap().breadth;
        assert_eq!(breadth_of("SELECT * FROM t, u"), 0);
        assert_eq!(breadth_of("SELECT * FROM a"), 3);
        assert_eq!(
            breadth_of("SELECT (SELECT x FROM a), y FROM b, a"),
            3 + 8 + 3
        );
        let trigger =
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT * FROM b; DELETE FROM a; END";
        views.add_trigger("r", trigger);
        assert_eq!(views.trigger_steps("R"), 3 * 3 + 11 * BREADTH_STEPS);
        assert_eq!(views.trigger_steps("b"), 0);
        let all = (1 + 3 * BREADTH_STEPS) + (4 + 8 * BREADTH_STEPS) + views.trigger_steps("r");
        assert_eq!(views.all_steps(), all);

        // Each stands for the one before twice.
        let view = |n: u32| format!("CREATE VIEW v{} AS SELECT * FROM v{n} x, v{n} y", n + 1);
        let broad = (0..60).find(|&n| {
            views
                .add_and_follow(&format!("v{}", n + 1), &view(n))
                .is_err()
        });
        assert_eq!(broad, Some(BROADEST.ilog2() - 1));
        assert_eq!(views.follow(), Err(TooNested::Broad));
        let name = format!("SELECT 1 FROM v{}", BROADEST.ilog2());
        assert_eq!(views.extent_of(name.as_bytes()), Err(TooNested::Broad));
    }

    #[test]
    fn what_is_beyond_measure_takes_no_memory() {
        let mut views = Views::default();
        let open = "(".repeat(3_000_000);
        assert_eq!(views.extent_of(open.as_bytes()), Err(TooNested::Deep));
        let names: Vec<String> = (0..3 * BROADEST).map(|n| format!("t{n}")).collect();
        let text = format!("CREATE VIEW v AS SELECT 1 FROM {}", names.join(", "));
        assert_eq!(views.add_and_follow("v", &text), Err(TooNested::Broad));
        assert_eq!(views.shapes["v"].tables.len() as u64, BROADEST + 1);
    }

    #[test]
    fn generated_columns_are_known_by_their_text() {
        for (generates, sql) in [
            (false, "CREATE TABLE t (a, \"as\", b CHECK (a > 'as ('))"),
            (true, "CREATE TABLE t (a, b GENERATED ALWAYS AS (a + 1))"),
            (true, "ALTER TABLE t ADD COLUMN c As/* */(a)"),
        ] {
            let mut views = Views::default();
            views.add_table(sql.as_bytes(), false);
            assert_eq!(views.has_generated_columns(), generates, "{sql}");
        }
        let mut views = Views::default();
        let column = format!("c AS ({})", "~".repeat(40_000));
        views.add_table(column.as_bytes(), true);
        views.check_tables().unwrap();
        views.add_table(column.as_bytes(), false);
        views.check_tables().unwrap();
        views.add_table(column.as_bytes(), true);
        views.check_tables().unwrap_err();
    }

    #[test]
    fn what_is_too_deep_is_refused_wherever_it_is_used() {
        let mut views = Views::default();
        for n in 0..=DEEPEST {
            assert!(views.follow().is_ok());
            views.add(&format!("v{n}"), &format!("SELECT * FROM v{}", n + 1));
        }
        assert_eq!(views.follow(), Err(TooNested::Deep));
        let depth_of = |sql: &str| Ok(views.extent_of(sql.as_bytes())?.depth);
        assert_eq!(depth_of("SELECT * FROM v0"), Err(TooNested::Deep));
        assert_eq!(depth_of("SELECT * FROM v9"), Ok(DEEPEST + 1 - 8));
        let mut circle = Views::default();
        circle.add("a", "SELECT * FROM b");
        circle.add("b", "SELECT * FROM a");
        assert_eq!(circle.follow(), Err(TooNested::Deep));
    }
}
