//! A cluster that begins with a database that was there before: its log begins after a snapshot that has it, as
//! if all before had been cut off. So nothing of it is ever in the log, and whoever joins pulls the snapshot.

use std::io::Read;
use std::path::Path;

use raft::eraftpb::{ConfState, HardState};

use super::recover::{Form, Opened, RecoverError, open, random_id};
use super::threads::now_ms;
use crate::consensus::{Apply, Members, Persist};
use crate::database::Database;
use crate::ids::{ClusterId, Index, Term};
use crate::log::LogError;
use crate::machine::{Machine, Moment, Saved as _};

/// Where the entry would be that founds a cluster.
const FIRST: Index = Index::new(1);
const TERM: Term = Term::new(1);

/// Begins the log of a new cluster, whose only member is this node, with the SQLite file that `source` gives. If an
/// earlier process has come so far, nothing is done. Gives whether it was.
///
/// # Errors
///
/// If the folder cannot be used, holds something else, or the file is no database; the folder can be used again.
pub fn begin_with(
    home: &Path,
    name: &str,
    form: Form,
    source: &mut dyn Read,
) -> Result<bool, RecoverError> {
    let Opened {
        lock: _lock,
        mut log,
        recovered,
        mut identity,
        folder: _,
    } = open(home)?;
    if recovered.snapshot.is_some() {
        return Ok(false);
    }
    if recovered.log.last() > Index::START {
        return Err(RecoverError::HasBegun(home.to_owned()));
    }
    if identity.cluster.is_none() {
        identity.cluster = ClusterId::new(random_id());
    }
    let file = home.join("node");
    identity.save(home).map_err(RecoverError::file(&file))?;
    let folder = home.join("database");
    let database = match form {
        Form::Memory => Database::beside(&folder)?,
        Form::Disk => Database::on_disk(&folder, identity.node)?,
    };
    let mut machine = Machine::new(database);
    // Nothing is there to be called back.
    let none = |_: Index| None::<&raft::eraftpb::Entry>;
    machine
        .recall(none)
        .map_err(|error| RecoverError::file(&folder)(std::io::Error::other(error)))?;
    machine.apply(Apply::Members {
        index: FIRST,
        term: TERM,
        conf_state: ConfState::from((vec![identity.node.get()], vec![])),
        members: Members::from([(identity.node, name.to_owned())]),
    })?;
    let moment = Moment {
        time_ms: now_ms(),
        seed: 0,
    };
    machine.executor().begin_with(moment, source)?;
    let failed = |error| RecoverError::from(LogError::Database(error));
    let draft = machine.draft_reference().map_err(failed)?;
    draft.state().sync().map_err(failed)?;
    let snapshot = draft.finish_reference().map_err(failed)?;
    if recovered.is_new {
        // A snapshot alone would be one whose log is missing.
        log.begin()?;
    }
    log.append(&[Persist {
        snapshot: Some(snapshot),
        hard_state: Some(HardState {
            term: TERM.get(),
            commit: FIRST.get(),
            ..HardState::default()
        }),
        ..Persist::default()
    }])?;
    identity.has_log = true;
    identity.save(home).map_err(RecoverError::file(&file))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::recover::prepare;
    use super::*;
    use crate::machine::Executor as _;
    use crate::message::Command;
    use crate::settings::Settings;

    fn file() -> Vec<u8> {
        let mut database = Database::new().unwrap();
        let moment = Moment {
            time_ms: 0,
            seed: 1,
        };
        let fill = "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(3000000))";
        database
            .execute(moment, &Command::Shell(fill.into()))
            .unwrap();
        database.view().to_vec().unwrap()
    }

    /// The file that the node in this folder has, its place in the log, and where the log begins.
    fn content(home: &Path, form: Form) -> (Vec<u8>, Index, Index) {
        let timing = Settings::listening_at("n").timing();
        let mut prepared = prepare(home, "n", false, timing, false, form).unwrap();
        let file = prepared.machine.executor().view().to_vec().unwrap();
        (file, prepared.machine.applied(), prepared.saved)
    }

    #[test]
    fn a_cluster_begins_behind_the_snapshot_that_its_database_is() {
        for form in [Form::Memory, Form::Disk] {
            let home = tempfile::tempdir().unwrap();
            let file = file();
            let no_database = begin_with(home.path(), "n", form, &mut &b"nonsense"[..]);
            let error = no_database.unwrap_err().to_string();
            assert!(error.contains("database"), "{error}");
            assert!(begin_with(home.path(), "n", form, &mut &file[..]).unwrap());
            // Whoever comes again, after a process that ended just then, changes nothing.
            assert!(!begin_with(home.path(), "n", form, &mut &b""[..]).unwrap());
            for _ in 0..2 {
                assert!(content(home.path(), form) == (file.clone(), FIRST, FIRST));
            }
            let identity = crate::Identity::load(home.path()).unwrap().unwrap();
            assert!(identity.has_log && identity.cluster.is_some());
        }
    }

    #[test]
    fn a_process_that_ended_before_the_snapshot_was_durable_is_no_hindrance() {
        let (home, form) = (tempfile::tempdir().unwrap(), Form::Disk);
        let Opened {
            mut log, identity, ..
        } = open(home.path()).unwrap();
        identity.save(home.path()).unwrap();
        log.begin().unwrap();
        let file = file();
        assert!(begin_with(home.path(), "n", form, &mut &file[..]).unwrap());
        assert!(content(home.path(), form) == (file, FIRST, FIRST));
    }

    #[test]
    fn what_has_begun_is_not_replaced() {
        let (home, form) = (tempfile::tempdir().unwrap(), Form::Disk);
        let before = content(home.path(), form);
        let again = begin_with(home.path(), "n", form, &mut &file()[..]);
        assert!(matches!(again, Err(RecoverError::HasBegun(_))), "{again:?}");
        assert!(content(home.path(), form) == before);
    }
}
