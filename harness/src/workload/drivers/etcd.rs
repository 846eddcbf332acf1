//! etcd through its JSON gateway (`/v3/kv/…`): keys and values are base64, numbers are text, and what is false or
//! empty is left out.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Driver, Manner, Trouble, http::Http};
use crate::workload::{
    generate::{ACCOUNTS, BALANCE, Kind},
    operation::{Operation, Reply},
};

const PORT: u16 = 2379;

/// etcd's gateway, and through it its node.
pub(super) struct Etcd {
    http: Http,
    stale_reads: bool,
}

impl Etcd {
    pub fn new(manner: Manner) -> Self {
        Self {
            http: Http::new(manner.home_at(PORT), manner.timeout),
            stale_reads: manner.stale_reads,
        }
    }

    fn post(&mut self, what: &str, body: &Value) -> Result<Value, Trouble> {
        let answer = self
            .http
            .post(&format!("/v3/kv/{what}"), &body.to_string())?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            // Such as "etcdserver: request timed out", after which it may be executed all the same.
            return Err(Trouble::Unknown(format!(
                "{}: {}",
                answer.status,
                text.trim()
            )));
        }
        serde_json::from_str(&text).map_err(|error| Trouble::Unknown(format!("no JSON: {error}")))
    }

    fn put(&mut self, key: &str, value: i64) -> Result<Reply, Trouble> {
        self.post("put", &put(key, value)).map(|_| Reply::Done)
    }

    fn get(&mut self, key: &str, end: Option<&str>) -> Result<Vec<(String, i64)>, Trouble> {
        let mut body = json!({ "key": coded(key), "serializable": self.stale_reads });
        if let Some(end) = end {
            body["range_end"] = coded(end).into();
        }
        let answer = self.post("range", &body)?;
        let pairs = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
        let read = |pair: &Value| {
            Some((
                decoded(&pair["key"])?,
                decoded(&pair["value"])?.parse().ok()?,
            ))
        };
        let pairs: Option<Vec<(String, i64)>> = pairs.iter().map(read).collect();
        pairs.ok_or_else(|| Trouble::Unknown("a pair that cannot be read".to_owned()))
    }

    /// Puts what is given if all of these keys have these values.
    fn put_if(
        &mut self,
        expected: &[(String, i64)],
        puts: &[(String, i64)],
    ) -> Result<Reply, Trouble> {
        let compare = expected.iter().map(|(key, value)| {
            json!({ "key": coded(key), "target": "VALUE", "result": "EQUAL", "value": coded(&value.to_string()) })
        });
        let success = puts
            .iter()
            .map(|(key, value)| json!({ "requestPut": put(key, *value) }));
        let body = json!({ "compare": compare.collect::<Vec<_>>(), "success": success.collect::<Vec<_>>() });
        let answer = self.post("txn", &body)?;
        let done = answer["succeeded"] == true;
        Ok(if done { Reply::Done } else { Reply::Refused })
    }

    /// Puts a key that is not there yet: asked again, or executed late, it changes nothing.
    fn create(&mut self, key: &str, value: i64) -> Result<(), Trouble> {
        let compare =
            json!({ "key": coded(key), "target": "VERSION", "result": "EQUAL", "version": "0" });
        let body = json!({ "compare": [compare], "success": [{ "requestPut": put(key, value) }] });
        self.post("txn", &body).map(|_| ())
    }

    fn accounts(&mut self) -> Result<Vec<(String, i64)>, Trouble> {
        self.get("account/", Some("account0"))
    }
}

impl Driver for Etcd {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        match *operation {
            Operation::Read(key) => {
                let pairs = self.get(&register(key), None)?;
                Ok(Reply::Value(pairs.first().map(|(_, value)| *value)))
            }
            Operation::Write(key, value) => self.put(&register(key), value),
            Operation::Swap(key, from, to) => {
                let name = register(key);
                self.put_if(&[(name.clone(), from)], &[(name, to)])
            }
            Operation::Add(value) => self.put(&format!("set/{value}"), value),
            Operation::Members => {
                // '0' comes after '/'.
                let pairs = self.get("set/", Some("set0"))?;
                Ok(Reply::Values(
                    pairs.into_iter().map(|(_, value)| value).collect(),
                ))
            }
            Operation::Accounts => {
                let pairs = self.accounts()?;
                Ok(Reply::Values(
                    pairs.into_iter().map(|(_, value)| value).collect(),
                ))
            }
            Operation::Move(from, to, amount) => {
                // Reading changes nothing: what fails here was not executed.
                let pairs = self.accounts().map_err(|error| match error {
                    Trouble::Unknown(why) | Trouble::NotDone(why) => Trouble::NotDone(why),
                })?;
                let (Some(source), Some(target)) = (pairs.get(from), pairs.get(to)) else {
                    return Err(Trouble::NotDone("there are no such accounts".to_owned()));
                };
                if source.1 < amount {
                    return Ok(Reply::Refused);
                }
                let puts = [
                    (source.0.clone(), source.1 - amount),
                    (target.0.clone(), target.1 + amount),
                ];
                self.put_if(&[source.clone(), target.clone()], &puts)
            }
            _ => Err(Trouble::NotDone("etcd has no such operation".to_owned())),
        }
    }

    fn prepare(&mut self, kind: Kind) -> Result<(), Trouble> {
        if kind == Kind::Bank {
            for account in 0..ACCOUNTS {
                self.create(&format!("account/{account}"), BALANCE)?;
            }
        }
        self.put("prepared", 1).map(|_| ())
    }
}

fn register(key: i64) -> String {
    format!("register/{key}")
}

fn put(key: &str, value: i64) -> Value {
    json!({ "key": coded(key), "value": coded(&value.to_string()) })
}

fn coded(text: &str) -> String {
    STANDARD.encode(text)
}

fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}
