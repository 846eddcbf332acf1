//! SQLite's mathematical functions (`sqrt`, `sin`, `pow`, …), which the bundled engine is compiled without.
//!
//! They are computed by a library of our own and not by the system's, whose last bits differ from version to
//! version: replicas have to agree about them, too. What they give for which arguments is what SQLite
//! documents (`lang_mathfunc.html`): NULL for what is no number, and where there is no answer.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};

type Of = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

/// Functions of one number.
const OF_ONE: [(&str, Of); 20] = [
    ("acos", libm::acos),
    ("acosh", libm::acosh),
    ("asin", libm::asin),
    ("asinh", libm::asinh),
    ("atan", libm::atan),
    ("atanh", libm::atanh),
    ("cos", libm::cos),
    ("cosh", libm::cosh),
    ("degrees", |x| x * (180.0 / std::f64::consts::PI)),
    ("exp", libm::exp),
    ("ln", |x| logarithm(x, libm::log)),
    ("log", |x| logarithm(x, libm::log10)),
    ("log10", |x| logarithm(x, libm::log10)),
    ("log2", |x| logarithm(x, libm::log2)),
    ("radians", |x| x * (std::f64::consts::PI / 180.0)),
    ("sin", libm::sin),
    ("sinh", libm::sinh),
    ("sqrt", libm::sqrt),
    ("tan", libm::tan),
    ("tanh", libm::tanh),
];
/// Functions that leave integers as they are.
const ROUNDING: [(&str, Of); 4] = [
    ("ceil", libm::ceil),
    ("ceiling", libm::ceil),
    ("floor", libm::floor),
    ("trunc", libm::trunc),
];
/// Functions of two numbers.
const OF_TWO: [(&str, OfTwo); 5] = [
    ("atan2", libm::atan2),
    ("log", |base, x| {
        let base = logarithm(base, libm::log);
        if base > 0.0 {
            logarithm(x, libm::log) / base
        } else {
            f64::NAN
        }
    }),
    ("mod", libm::fmod),
    ("pow", libm::pow),
    ("power", libm::pow),
];

/// There is none of what is not positive.
fn logarithm(x: f64, of: Of) -> f64 {
    if x > 0.0 { of(x) } else { f64::NAN }
}

/// Makes them known to a connection.
pub fn install(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, of) in OF_ONE {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(number(context, 0).map(|x| of(x.as_real())))
        })?;
    }
    for (name, of) in ROUNDING {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(match number(context, 0) {
                Some(Number::Real(x)) => Value::Real(of(x)),
                Some(Number::Integer(x)) => Value::Integer(x),
                None => Value::Null,
            })
        })?;
    }
    for (name, of) in OF_TWO {
        connection.create_scalar_function(name, 2, flags, move |context| {
            let both = number(context, 0).zip(number(context, 1));
            Ok(both.map(|(x, y)| of(x.as_real(), y.as_real())))
        })?;
    }
    connection.create_scalar_function("pi", 0, flags, |_| Ok(std::f64::consts::PI))
}

/// An argument that is a number, or text that is nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Integer(i64),
    Real(f64),
}

impl Number {
    fn as_real(self) -> f64 {
        match self {
            Self::Integer(x) => x as f64,
            Self::Real(x) => x,
        }
    }
}

fn number(context: &Context, place: usize) -> Option<Number> {
    match context.get_raw(place) {
        ValueRef::Integer(x) => Some(Number::Integer(x)),
        ValueRef::Real(x) => Some(Number::Real(x)),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(parse),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// Text as SQLite's numeric affinity reads it: a decimal number with blanks around it.
fn parse(text: &str) -> Option<Number> {
    let is_blank = |c: char| matches!(c, ' ' | '\t'..='\r');
    let text = text.trim_matches(is_blank);
    // Rust reads names of what is no number, and SQLite does not.
    let is_decimal = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.chars().all(is_decimal) {
        return None;
    }
    let integer = text.parse().ok().map(Number::Integer);
    integer.or_else(|| text.parse().ok().map(Number::Real))
}

#[cfg(test)]
mod tests {
    use super::super::super as engine;
    use super::super::super::image::Image;
    use super::super::super::vfs::File;
    use super::*;

    /// As the `sqlite3` shell with mathematical functions prints it.
    fn print(connection: &Connection, expression: &str) -> String {
        let query = format!("SELECT quote({expression})");
        connection.query_row(&query, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn they_give_what_sqlites_own_give() {
        let file = File::new(Image::default());
        let connection = engine::open(&file).unwrap();
        install(&connection).unwrap();
        for (expression, value) in [
            ("sqrt(16)", "4.0"),
            ("sqrt(' 4 ')", "2.0"),
            ("sqrt('4x')", "NULL"),
            ("sqrt('0x10')", "NULL"),
            ("sqrt('inf')", "NULL"),
            ("sqrt(x'34')", "NULL"),
            ("sqrt(NULL)", "NULL"),
            ("sqrt(-1)", "NULL"),
            ("acos(2)", "NULL"),
            ("ln(0)", "NULL"),
            ("log(-1)", "NULL"),
            ("log(100)", "2.0"),
            ("log(2, 8)", "3.0"),
            ("log(1, 5)", "NULL"),
            ("log(0.5, 8)", "NULL"),
            ("log2(8)", "3.0"),
            ("pow(2, 10)", "1024.0"),
            ("power(0, -1)", "9.0e+999"),
            ("exp(1000)", "9.0e+999"),
            ("atanh(1)", "9.0e+999"),
            ("mod(7, -3)", "1.0"),
            ("mod(5, 0)", "NULL"),
            ("ceil('4.2')", "5.0"),
            ("ceil('5')", "5"),
            ("ceiling(-1.5)", "-1.0"),
            ("floor(-1.5)", "-2.0"),
            ("trunc('1e2')", "100.0"),
            ("trunc(9223372036854775807)", "9223372036854775807"),
            ("ceil('x')", "NULL"),
            ("round(degrees(pi()), 9)", "180.0"),
            ("round(radians(180) - pi(), 9)", "0.0"),
            ("atan2(0, -1) = pi()", "1"),
            ("sin(0)", "0.0"),
        ] {
            assert_eq!(print(&connection, expression), value, "{expression}");
        }
    }
}
