//! What the texts of triggers and tables say: what they change, and when.

use std::iter::Peekable;

use super::{Change, Operation};
use crate::database::tokens::{Kind, Token, Tokens, Word};

/// A table, or a change of one.
#[derive(Debug, Default)]
pub struct Table {
    /// For each thing that a foreign key does: what is done to the parent, and to the children then.
    pub keys: Vec<(Change, Change)>,
    /// It gets another name, or a part of it does.
    pub is_renamed: bool,
}

/// What has a trigger run, and what that changes.
pub fn trigger(sql: &[u8]) -> Option<(Change, Vec<Change>)> {
    let mut tokens = Tokens { sql }.peekable();
    let operation = tokens.find_map(|token| operation(&token))?;
    tokens.find(|token| is_word(token, b"on"))?;
    let table = name(&mut tokens)?;
    Some(((operation, table), changes(&mut tokens)))
}

/// What a statement says that makes or alters a table.
pub fn table(sql: &[u8]) -> Table {
    let mut found = Table::default();
    let mut tokens = Tokens { sql }.peekable();
    tokens.find(|token| is_word(token, b"table"));
    let is_condition = |token: &Token| {
        [&b"if"[..], b"not", b"exists"]
            .iter()
            .any(|word| is_word(token, word))
    };
    while tokens.next_if(is_condition).is_some() {}
    let Some(table) = name(&mut tokens) else {
        return found;
    };
    while let Some(token) = tokens.next() {
        found.is_renamed |= is_word(&token, b"rename");
        if is_word(&token, b"references")
            && let Some(parent) = name(&mut tokens)
        {
            let keys = actions(&mut tokens).into_iter();
            let keys = keys.map(|(done, does)| ((done, parent.clone()), (does, table.clone())));
            found.keys.extend(keys);
        }
    }
    found
}

/// Whether a text says REPLACE, be it a function.
pub fn replaces(sql: &[u8]) -> bool {
    (Tokens { sql }).any(|token| is_word(&token, b"replace"))
}

fn is_word(token: &Token, word: &[u8]) -> bool {
    token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
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
        // `INSERT … ON CONFLICT DO UPDATE SET`: no table is called SET.
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

    #[test]
    fn what_a_trigger_changes_is_read_from_its_text() {
        let sql = "CREATE TEMP TRIGGER IF NOT EXISTS \"delete\" INSTEAD OF /* x */ UPDATE OF a, b ON main.[V w] WHEN new.a
             IN (SELECT a FROM u) BEGIN INSERT OR REPLACE INTO a VALUES ('UPDATE x'); UPDATE OR IGNORE \"B\" SET a = 1;
             DELETE FROM temp.c WHERE a IN (SELECT delete_ FROM d);
             INSERT INTO e VALUES (1) ON CONFLICT DO UPDATE SET a = 2; REPLACE INTO f SELECT * FROM g; END";
        let (fires, changes) = trigger(sql.as_bytes()).unwrap();
        assert_eq!(fires, (Operation::Update, "v w".to_owned()));
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
        for none in [
            "",
            "CREATE TRIGGER t",
            "CREATE TRIGGER t AFTER INSERT ON",
            "CREATE TABLE t (a)",
        ] {
            assert!(trigger(none.as_bytes()).is_none(), "{none}");
        }
    }

    #[test]
    fn what_a_foreign_key_does_is_read_from_its_table() {
        let made = table(
            b"CREATE TABLE IF NOT EXISTS main.\"C\" (a REFERENCES P (x, y) MATCH FULL ON DELETE SET NULL ON UPDATE
             CASCADE DEFERRABLE, b REFERENCES q ON DELETE NO ACTION ON UPDATE RESTRICT, c REFERENCES r,
             FOREIGN KEY (a, b) REFERENCES s ON DELETE CASCADE)",
        );
        let altered = table(b"ALTER TABLE d ADD COLUMN e REFERENCES p ON UPDATE SET DEFAULT");
        assert!(!made.is_renamed && !altered.is_renamed);
        assert!(table(b"ALTER TABLE d RENAME TO e").is_renamed);
        let all = made.keys.iter().chain(&altered.keys);
        let all = all.map(|((done, parent), (does, child))| (*done, &**parent, *does, &**child));
        assert_eq!(
            all.collect::<Vec<_>>(),
            [
                (Operation::Delete, "p", Operation::Update, "c"),
                (Operation::Update, "p", Operation::Update, "c"),
                (Operation::Delete, "s", Operation::Delete, "c"),
                (Operation::Update, "p", Operation::Update, "d"),
            ]
        );
    }
}
