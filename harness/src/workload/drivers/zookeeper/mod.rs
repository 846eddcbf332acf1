//! ZooKeeper: registers, elements and lists are nodes of its tree, and a queue is a node whose children are numbered.
//! What depends on what is there is done to the version that was read. Before a read the server at home is asked to
//! catch up with the leader, as reads are its own business otherwise.

mod wire;

use std::time::Instant;

use super::{Driver, Manner, Trouble, connect};
use crate::workload::{
    generate::Kind,
    operation::{Operation, Reply},
};
use wire::{ANY_VERSION, Refusal, Request, Session, held, names};

const PORT: u16 = 2181;

/// How often something is tried that others may have been faster to do.
const TRIES: usize = 10;

/// Nodes that are there before anything is asked.
const ROOTS: [&str; 4] = ["/register", "/set", "/list", "/queue"];

/// A client of one server.
pub(super) struct ZooKeeper {
    manner: Manner,
    session: Option<Session>,
    /// When the answer to what is asked now has to be there.
    until: Instant,
}

impl ZooKeeper {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            session: None,
            until: Instant::now(),
        }
    }

    /// Asks once. What was refused for the node's sake was certainly not executed.
    fn request(&mut self, request: &Request<'_>) -> Result<Result<Vec<u8>, Refusal>, Trouble> {
        let session = self.session.take().filter(|session| !session.is_stale());
        let mut session = if let Some(session) = session {
            session
        } else {
            let stream = connect(self.manner.home_at(PORT), self.manner.timeout)?;
            Session::begin(stream, self.until).map_err(Trouble::NotDone)?
        };
        let answer = session.ask(request, self.until).map_err(Trouble::Unknown)?;
        if let Err(Refusal::Other(code)) = answer {
            return Err(Trouble::Unknown(format!("error {code}")));
        }
        self.session = Some(session);
        Ok(answer)
    }

    /// What a node holds, with its version. That changes nothing, whatever happens.
    fn get(&mut self, path: &str) -> Result<Option<(String, i32)>, Trouble> {
        match self.request(&Request::Get(path)).map_err(not_done)? {
            Ok(answer) => held(&answer).map(Some).ok_or_else(odd),
            Err(_) => Ok(None),
        }
    }

    fn children(&mut self, path: &str) -> Result<Vec<String>, Trouble> {
        match self.request(&Request::Children(path)).map_err(not_done)? {
            Ok(answer) => names(&answer).ok_or_else(odd),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Has the server catch up, unless old answers are asked for.
    fn catch_up(&mut self, path: &str) -> Result<(), Trouble> {
        if self.manner.stale_reads {
            return Ok(());
        }
        let asked = self.request(&Request::Sync(path));
        asked.map_err(not_done).map(|_| ())
    }

    /// Makes a node that holds something; whether it was not there yet.
    fn create(&mut self, path: &str, data: &str) -> Result<bool, Trouble> {
        let request = Request::Create {
            path,
            data,
            numbered: false,
        };
        match self.request(&request)? {
            Ok(_) => Ok(true),
            Err(Refusal::NodeExists) => Ok(false),
            Err(why) => Err(refused(why)),
        }
    }

    /// Whether the node was there, in this version.
    fn set(&mut self, path: &str, data: &str, version: i32) -> Result<bool, Trouble> {
        let request = Request::Set {
            path,
            data,
            version,
        };
        Ok(self.request(&request)?.is_ok())
    }

    fn write(&mut self, path: &str, data: &str) -> Result<Reply, Trouble> {
        for _ in 0..TRIES {
            if self.set(path, data, ANY_VERSION)? || self.create(path, data)? {
                return Ok(Reply::Done);
            }
        }
        Err(others_were_faster())
    }

    fn read(&mut self, path: &str) -> Result<Option<(String, i32)>, Trouble> {
        self.catch_up(path)?;
        self.get(path)
    }

    /// The version that was read protects from what others do; that it is read anew, from taking an old one for it.
    fn swap(&mut self, path: &str, from: i64, to: i64) -> Result<Reply, Trouble> {
        match self.read(path)? {
            Some((held, version)) if held == from.to_string() => {
                if self.set(path, &to.to_string(), version)? {
                    Ok(Reply::Done)
                } else {
                    Err(others_were_faster())
                }
            }
            _ => Ok(Reply::Refused),
        }
    }

    fn append(&mut self, path: &str, element: i64) -> Result<Reply, Trouble> {
        for _ in 0..TRIES {
            let done = match self.get(path)? {
                None => self.create(path, &element.to_string())?,
                Some((held, version)) => self.set(path, &format!("{held} {element}"), version)?,
            };
            if done {
                return Ok(Reply::Done);
            }
            // It may have been an old one.
            self.catch_up(path)?;
        }
        Err(others_were_faster())
    }

    fn put(&mut self, element: i64) -> Result<Reply, Trouble> {
        let data = element.to_string();
        let request = Request::Create {
            path: "/queue/",
            data: &data,
            numbered: true,
        };
        match self.request(&request)? {
            Ok(_) => Ok(Reply::Done),
            Err(why) => Err(refused(why)),
        }
    }

    /// Who removes an element has it.
    fn take(&mut self) -> Result<Reply, Trouble> {
        self.catch_up("/queue")?;
        let mut names = self.children("/queue")?;
        if names.is_empty() {
            return Ok(Reply::Value(None));
        }
        names.sort_unstable();
        for name in names.iter().take(TRIES) {
            let path = format!("/queue/{name}");
            let Some((data, _)) = self.get(&path)? else {
                continue;
            };
            let element = data.parse().map_err(|_| odd())?;
            match self.request(&Request::Delete(&path)) {
                Ok(Ok(_)) => return Ok(Reply::Value(Some(element))),
                Ok(Err(_)) => {}
                Err(Trouble::NotDone(why)) => return Err(Trouble::NotDone(why)),
                Err(Trouble::Unknown(why)) => {
                    return Err(Trouble::Unknown(format!("{element}: {why}")));
                }
            }
        }
        Err(others_were_faster())
    }
}

impl Driver for ZooKeeper {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        self.until = Instant::now() + self.manner.timeout;
        match *operation {
            Operation::Read(key) => match self.read(&register(key))? {
                Some((held, _)) => held
                    .parse()
                    .map_or_else(|_| Err(odd()), |value| Ok(Reply::Value(Some(value)))),
                None => Ok(Reply::Value(None)),
            },
            Operation::Write(key, value) => self.write(&register(key), &value.to_string()),
            Operation::Swap(key, from, to) => self.swap(&register(key), from, to),
            Operation::Add(value) => self
                .create(&format!("/set/{value}"), "")
                .map(|_| Reply::Done),
            Operation::Members => {
                self.catch_up("/set")?;
                numbers(self.children("/set")?.iter().map(String::as_str))
            }
            Operation::Append(key, value) => self.append(&list(key), value),
            Operation::List(key) => {
                let held = self.read(&list(key))?;
                let held = held.map(|(held, _)| held).unwrap_or_default();
                numbers(held.split_whitespace())
            }
            Operation::Put(value) => self.put(value),
            Operation::Take => self.take(),
            _ => Err(Trouble::NotDone(
                "that cannot be asked of ZooKeeper here".to_owned(),
            )),
        }
    }

    fn prepare(&mut self, _: Kind) -> Result<(), Trouble> {
        self.until = Instant::now() + self.manner.timeout;
        for root in ROOTS {
            self.create(root, "")?;
        }
        Ok(())
    }
}

fn register(key: i64) -> String {
    format!("/register/{key}")
}

fn list(key: i64) -> String {
    format!("/list/{key}")
}

fn numbers<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Reply, Trouble> {
    let numbers: Result<Vec<i64>, _> = texts.map(str::parse).collect();
    numbers.map(Reply::Values).map_err(|_| odd())
}

/// Asking for this changes nothing.
fn not_done(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Unknown(why) | Trouble::NotDone(why) => Trouble::NotDone(why),
    }
}

fn refused(why: Refusal) -> Trouble {
    Trouble::NotDone(format!("{why:?}"))
}

fn others_were_faster() -> Trouble {
    Trouble::NotDone("others were faster".to_owned())
}

fn odd() -> Trouble {
    Trouble::NotDone("an answer that cannot be read".to_owned())
}
