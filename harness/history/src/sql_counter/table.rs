//! The table, as the answers print it.

/// What the table says of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The sum of what all updates brought.
    pub friends: u64,
    /// How many updates there were.
    pub requests: u64,
    /// What the last one left.
    pub word: String,
}

/// A row for each person.
pub type Table = Vec<Row>;

/// What `SELECT * FROM ctf3;` prints.
pub fn print(people: &[String], table: &Table) -> Vec<u8> {
    let line = |(name, row): (&String, &Row)| {
        format!("{name}|{}|{}|{}\n", row.friends, row.requests, row.word)
    };
    let text: String = people.iter().zip(table).map(line).collect();
    text.into_bytes()
}

/// The table that an answer shows, if it shows one and nothing else.
pub fn read(people: &[String], shown: &[u8]) -> Option<Table> {
    let text = std::str::from_utf8(shown).ok()?;
    let mut lines = text.lines();
    let mut table = Table::new();
    for name in people {
        let mut fields = lines.next()?.split('|');
        if fields.next()? != name {
            return None;
        }
        table.push(Row {
            friends: fields.next()?.parse().ok()?,
            requests: fields.next()?.parse().ok()?,
            word: fields.next()?.to_owned(),
        });
    }
    // Leading zeros, plus signs, further fields and lines are no part of what SQLite prints.
    (print(people, &table) == shown).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_printed_is_read() {
        let people = ["ann".to_owned(), "bob".to_owned()];
        let shown = b"ann|7|1|x\nbob|0|0|\n";
        let table = read(&people, shown).unwrap();
        assert_eq!(table[0].friends, 7);
        assert_eq!(print(&people, &table), shown);
        for wrong in [
            "",
            "ann|7|1|x\n",
            "ann|7|1|x\nbob|0|0|",
            "ann|7|1|x\nbob|0|0|\n\n",
            "ann|07|1|x\nbob|0|0|\n",
            "ann|+7|1|x\nbob|0|0|\n",
            "ann|7|1|x|\nbob|0|0|\n",
            "bob|0|0|\nann|7|1|x\n",
            "ann|-7|1|x\nbob|0|0|\n",
        ] {
            assert_eq!(read(&people, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(read(&people, &[b'a', 0xff]), None);
    }
}
