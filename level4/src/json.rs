//! SQLite's values as JSON.
//!
//! Every number is written so that reading it gives the same bits. JSON has no infinities: they are
//! written as SQLite's own JSON functions write them, as a number that is too large for a double, which
//! most readers take for infinity. (SQLite has no NaN; it makes it NULL.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::statement::Value;

/// A value to be written.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Which.
    pub value: &'a Value,
    /// A blob becomes an array of numbers, and not base64.
    pub blob_array: bool,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Real(value) if value.is_infinite() => {
                let text = if *value > 0.0 {
                    "9.0e+999"
                } else {
                    "-9.0e+999"
                };
                let raw = RawValue::from_string(text.to_owned()).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
            Value::Real(value) => serializer.serialize_f64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::Blob(value) if self.blob_array => serializer.collect_seq(value),
            Value::Blob(value) => serializer.serialize_str(&STANDARD.encode(value)),
        }
    }
}
