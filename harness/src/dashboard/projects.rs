//! The folders whose programs may be run: those that the command line names, and the folders in
//! them, that have a `ctf3.toml`. Nothing that a browser says adds to them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::project::{Manifest, Progress, Project};

/// The most folders that are looked into.
const FOLDERS_MAX: usize = 1000;

/// Registered folders, each with a number that stays.
#[derive(Debug, Default)]
pub(super) struct Projects {
    all: Vec<Project>,
    errors: Vec<String>,
}

impl Projects {
    /// Those in folders and, if a folder has no manifest, in the folders in it.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn find(dirs: &[PathBuf]) -> Result<Self> {
        let mut projects = Self::default();
        for dir in dirs {
            if dir.join(Manifest::FILE).is_file() {
                projects.add(dir);
                continue;
            }
            let entries = fs::read_dir(dir)
                .with_context(|| format!("cannot read the folder {}", dir.display()))?;
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let mut paths: Vec<PathBuf> = paths
                .filter(|path| path.join(Manifest::FILE).is_file())
                .take(FOLDERS_MAX)
                .collect();
            paths.sort();
            for path in paths {
                projects.add(&path);
            }
        }
        Ok(projects)
    }

    fn add(&mut self, dir: &Path) {
        match Project::open(dir) {
            Ok(project)
                if self
                    .all
                    .iter()
                    .any(|known| known.folder() == project.folder()) => {}
            Ok(project) => self.all.push(project),
            Err(error) => self.errors.push(format!("{error:#}")),
        }
    }

    /// All, in the order of their numbers.
    pub fn all(&self) -> &[Project] {
        &self.all
    }

    /// What is wrong with manifests that were found.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// One by its number, as it is now: its manifest may have changed since, its folder not.
    pub fn get(&self, number: usize) -> Option<Result<Project>> {
        let known = self.all.get(number)?;
        Some(Project::open(known.folder()))
    }
}

/// How far a project has got; as if it had never been judged where that cannot be read.
pub(super) fn progress(project: &Project) -> Progress {
    Progress::load(project.folder()).unwrap_or_default()
}

/// A project's name for people: its folder's.
pub(super) fn name(project: &Project) -> String {
    let name = project.folder().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_found_in_folders_and_in_folders_of_folders_once() {
        let home = tempfile::tempdir().unwrap();
        let project = |name: &str, manifest: &str| {
            let folder = home.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(Manifest::FILE), manifest).unwrap();
            folder
        };
        let one = project("one", "level = 1\nrun = './a'");
        project("two", "level = 2\nrun = './b'");
        project("bad", "level = 9\nrun = './b'");
        project("far/away/three", "level = 3\nrun = './c'");
        fs::create_dir(home.path().join("none")).unwrap();
        let found = Projects::find(&[one, home.path().to_owned()]).unwrap();
        let names: Vec<String> = found.all().iter().map(name).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(found.errors().len(), 1);
        assert!(found.get(2).is_none());
        assert_eq!(found.get(1).unwrap().unwrap().manifest().level, 2);
        let error = Projects::find(&[home.path().join("nowhere")]).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot read the folder"),
            "{error}"
        );
    }
}
