//! Classes of clients as the file has them: `[[class]]` tables, the first that matches counts.
//!
//! ```toml
//! [[class]]
//! match = "10.0.0.0/8"    # a network, an address, or a name in which * stands for any text
//! weight = 2.5            # share of the capacity, relative to other clients
//!
//! [[class]]
//! match = "*"
//! rate = 5                # requests a second that each of them may make, whatever the capacity
//! burst = 20              # and so many at once after a silence
//! ```

use serde::Deserialize;

use crate::policy::{ClientClass, FixedLimit, Pattern};

/// Largest and, inverted, smallest weight.
const MOST_WEIGHT: f64 = 1_000.0;

/// One `[[class]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Table")]
pub(super) struct Class(pub ClientClass);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    r#match: String,
    weight: Option<f64>,
    rate: Option<f64>,
    burst: Option<f64>,
}

impl TryFrom<Table> for Class {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let pattern: Pattern = table.r#match.parse()?;
        let weight = table.weight.unwrap_or(1.0);
        if !(1.0 / MOST_WEIGHT..=MOST_WEIGHT).contains(&weight) {
            return Err(format!("weight must be from 0.001 to 1000, not {weight}"));
        }
        let limit = match (table.rate, table.burst) {
            (None, None) => None,
            (None, Some(_)) => return Err("burst needs a rate beside it".into()),
            (Some(rate), burst) => {
                if !(1e-3..=1e6).contains(&rate) {
                    return Err(format!("rate must be from 0.001 to 1000000, not {rate}"));
                }
                let burst = burst.unwrap_or(1.0);
                if !(1.0..=1e6).contains(&burst) {
                    return Err(format!("burst must be from 1 to 1000000, not {burst}"));
                }
                Some(FixedLimit { rate, burst })
            }
        };
        if table.weight.is_none() && limit.is_none() {
            return Err("a class needs a weight, a rate or both".into());
        }
        Ok(Self(ClientClass {
            pattern,
            weight,
            limit,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        class: Vec<Class>,
    }

    fn read(text: &str) -> Result<Vec<ClientClass>, String> {
        let file: Result<File, _> = toml::from_str(text);
        let classes = file.map_err(|error| error.message().to_string())?.class;
        Ok(classes.into_iter().map(|class| class.0).collect())
    }

    #[test]
    fn tables_are_read_in_order() {
        let classes = read(
            "[[class]]\nmatch = \"10.0.0.0/8\"\nweight = 2\n[[class]]\nmatch = \"*\"\nrate = 5\nburst = 20.0\n",
        );
        let classes = classes.unwrap();
        assert!((classes[0].weight - 2.0).abs() < 1e-9 && classes[0].limit.is_none());
        let limit = FixedLimit {
            rate: 5.0,
            burst: 20.0,
        };
        assert_eq!(classes[1].limit, Some(limit));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, part) in [
            ("weight = 0", "weight"),
            ("weight = nan", "weight"),
            ("burst = 3", "rate"),
            ("rate = -1", "rate"),
            ("rate = 1\nburst = 0.5", "burst"),
            ("wieght = 1", "wieght"),
            ("", "needs"),
        ] {
            let error = read(&format!("[[class]]\nmatch = \"*\"\n{line}\n")).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(read("[[class]]\nmatch = \"10.0.0.0/40\"\nweight = 1\n").is_err());
    }
}
