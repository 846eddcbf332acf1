//! Systems: programs that run as the nodes of one, described in a file.
//!
//! `description` is the file, as it is written; [`System`] is one that is ready to be run here: its programs are
//! found, and `nodes` makes nodes of it. `look` looks at a node from its own machine, `health` again and again.
//! `template` fills in what stands in braces.

mod description;
mod health;
mod look;
mod nodes;
mod template;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

pub use description::Description;
pub use health::Health;
pub use template::{check as check_template, fill};

use crate::solution;

/// The largest description, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Those that come along, by name.
const OWN: [(&str, &str); 6] = [
    ("etcd", include_str!("../../systems/etcd.toml")),
    (
        "redis-sentinel",
        include_str!("../../systems/redis-sentinel.toml"),
    ),
    ("postgresql", include_str!("../../systems/postgresql.toml")),
    ("nats", include_str!("../../systems/nats.toml")),
    ("zookeeper", include_str!("../../systems/zookeeper.toml")),
    ("level4", include_str!("../../systems/level4.toml")),
];

/// A system whose programs are here.
#[derive(Debug)]
pub struct System {
    /// Its name: of one that comes along, or its file's.
    pub name: String,
    /// What its file says.
    pub description: Description,
    /// Where its programs are.
    programs: BTreeMap<String, PathBuf>,
}

impl System {
    /// The system of a name, or of a file, with parameters that have other values than the usual.
    ///
    /// # Errors
    /// There is none, the file cannot be read or understood, or a program is missing: the line says which package
    /// has it.
    pub fn find(name: &str, parameters: &[(String, String)]) -> Result<Self> {
        let own = OWN.iter().find(|(own, _)| *own == name);
        let (name, text) = match own {
            Some((name, text)) => ((*name).to_owned(), (*text).to_owned()),
            None => read(name)?,
        };
        let description = Description::read(&text).and_then(|mut description| {
            description.set(parameters)?;
            Ok(description)
        });
        let description = description.with_context(|| format!("in the system {name}"))?;
        let mut programs = BTreeMap::new();
        let mut lacking = Vec::new();
        for program in description.programs() {
            let is_file = program.contains('/') && description.packages.contains_key(program);
            let found = if is_file {
                find_file(program)
            } else {
                find_program(program)
            };
            match found {
                Ok(path) => {
                    programs.insert(program.to_owned(), path);
                }
                Err(error) => match description.packages.get(program) {
                    Some(package) => lacking.push((program, package.as_str())),
                    None => return Err(error),
                },
            }
        }
        if !lacking.is_empty() {
            let names: Vec<&str> = lacking.iter().map(|(program, _)| *program).collect();
            let mut packages: Vec<&str> = lacking.iter().map(|(_, package)| *package).collect();
            packages.dedup();
            bail!(
                "{name} needs {}, which is not installed: on Debian, apt-get install {}",
                names.join(", "),
                packages.join(" ")
            );
        }
        Ok(Self {
            name,
            description,
            programs,
        })
    }
}

/// The names of those that come along, with a line about each.
pub fn own() -> Vec<(&'static str, String)> {
    let about = |text| Description::read(text).map(|description| description.about);
    OWN.iter()
        .map(|(name, text)| (*name, about(text).unwrap_or_default()))
        .collect()
}

fn read(file: &str) -> Result<(String, String)> {
    let path = Path::new(file);
    let names: Vec<&str> = OWN.iter().map(|(name, _)| *name).collect();
    let found = fs::metadata(path).with_context(|| {
        format!(
            "no system {file}: name one of {}, or a file",
            names.join(", ")
        )
    })?;
    ensure!(found.is_file(), "{file} is not a file");
    ensure!(
        found.len() <= MOST_BYTES,
        "{file} is larger than {MOST_BYTES} bytes"
    );
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), text))
}

/// A program by its path or its name; daemons may be where only root's path leads, and our own solution is
/// built if it is not there.
fn find_program(name: &str) -> Result<PathBuf> {
    if name == "level4" {
        return solution::own(4);
    }
    let found = solution::find_program(name.as_ref());
    if found.is_ok() || name.contains('/') {
        return found;
    }
    let daemons = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let folders = daemons.into_iter().chain(of_versions());
    let mut paths = folders.map(|folder| folder.join(name));
    paths.find(|path| path.is_file()).map_or(found, Ok)
}

/// What a package has that is no program, such as a library, by its path.
fn find_file(path: &str) -> Result<PathBuf> {
    ensure!(Path::new(path).is_file(), "{path}: no such file");
    Ok(path.into())
}

/// Where Debian has the programs of each version of PostgreSQL, the newest first.
fn of_versions() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<u32> = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    let folder = |version| format!("/usr/lib/postgresql/{version}/bin").into();
    versions.into_iter().map(folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_along_can_be_read() {
        for (name, text) in OWN {
            let description =
                Description::read(text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert!(!description.workloads.is_empty(), "{name}");
            for program in description.programs() {
                let known = description.packages.contains_key(program)
                    || ["level4", "sh", "bash"].contains(&program);
                assert!(known, "{name}: which package has {program}?");
            }
        }
        assert_eq!(own().len(), OWN.len());
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = System::find("no/such", &[]).unwrap_err();
        assert!(
            format!("{none:#}").contains("etcd, redis-sentinel, postgresql"),
            "{none:#}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let text = "about = 'x'\nnodes = 2\n[packages]\nno-such-program = 'some-package'\n\
                    '/no/such/library' = 'its-package'\n'/proc/version' = 'another'\n\
                    [[process]]\ncommand = ['no-such-program']\n";
        fs::write(&path, text).unwrap();
        let lacking = System::find(path.to_str().unwrap(), &[])
            .unwrap_err()
            .to_string();
        assert!(
            lacking.contains("apt-get install its-package some-package"),
            "{lacking}"
        );
    }
}
