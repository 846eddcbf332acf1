//! Starter kits: for each level a small solution in several languages that is right, readable and
//! slow, built into the harness (`harness new`).
//!
//! They are the files of `harness/kits`; what is the same for all, a README and a `.gitignore`, is
//! written here.

mod new;
mod table;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

pub use new::{Args, run};
use table::KITS;

use crate::{project::Manifest, texts};

/// A small solution to begin with.
#[derive(Debug)]
pub struct Kit {
    /// The level it plays.
    pub level: u8,
    /// The name of its language, as in `--lang`.
    pub language: &'static str,
    /// Its files by name.
    files: &'static [(&'static str, &'static str)],
}

/// Other names of the languages.
const ALIASES: [(&str, &str); 8] = [
    ("py", "python"),
    ("python3", "python"),
    ("js", "node"),
    ("javascript", "node"),
    ("rb", "ruby"),
    ("rs", "rust"),
    ("golang", "go"),
    ("sh", "shell"),
];

/// The languages that there is a kit of a level in.
pub fn languages(level: u8) -> Vec<&'static str> {
    let kits = KITS.iter().filter(|kit| kit.level == level);
    kits.map(|kit| kit.language).collect()
}

/// All kits, by level.
pub fn all() -> impl Iterator<Item = &'static Kit> {
    KITS.iter()
}

/// The kit of a level in a language, which may be named otherwise than the kits do.
///
/// # Errors
/// There is none; the message lists those that there are.
pub fn find(level: u8, language: &str) -> Result<&'static Kit> {
    let wanted = language.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == wanted);
    let wanted = alias.map_or(wanted.as_str(), |(_, name)| name);
    let mut kits = KITS.iter();
    let found = kits.find(|kit| kit.level == level && kit.language == wanted);
    found.with_context(|| {
        format!(
            "there is no kit of level {level} in {language}; there are {}",
            languages(level).join(", ")
        )
    })
}

impl Kit {
    /// Programs that have to be there to build and run it.
    pub fn needs(&self) -> &'static [&'static str] {
        match (self.language, self.level) {
            ("c", _) => &["cc"],
            ("java", _) => &["javac", "java"],
            ("shell", _) => &["sh", "git"],
            ("python", _) => &["python3"],
            ("node", 4) => &["node", "sqlite3"],
            ("rust", 4) => &["rustc", "sqlite3"],
            ("go", 4) => &["go", "sqlite3"],
            ("node", _) => &["node"],
            ("rust", _) => &["rustc"],
            ("go", _) => &["go"],
            ("ruby", _) => &["ruby"],
            _ => &[],
        }
    }

    /// Its description of itself.
    pub fn manifest(&self) -> Result<Manifest> {
        let file = self.files.iter().find(|(name, _)| *name == Manifest::FILE);
        let (_, text) = file.context("a kit without a manifest")?;
        Ok(Manifest::parse(text)?)
    }

    /// Writes the kit into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder has something in it already, or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let shown = folder.display();
        match fs::read_dir(folder) {
            Ok(mut entries) => ensure!(
                entries.next().is_none(),
                "{shown} is not empty: name a folder that is not there yet"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                bail!("{shown} is there, and not a folder")
            }
            Err(error) => bail!("{shown}: {error}"),
        }
        self.write_files(folder)
            .with_context(|| format!("cannot write into {shown}"))
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for (name, text) in self.files {
            let path = folder.join(name);
            fs::write(&path, text)?;
            if text.starts_with("#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        let manifest = self.manifest()?;
        fs::write(folder.join(".gitignore"), self.ignored(&manifest))?;
        fs::write(folder.join("README.md"), self.readme(&manifest))?;
        Ok(())
    }

    /// What a repository of the folder leaves out: what is built, and what `harness test` keeps.
    fn ignored(&self, manifest: &Manifest) -> String {
        let mut lines = vec![".ctf3/"];
        match self.language {
            "python" => lines.push("__pycache__/"),
            "java" => lines.push("*.class"),
            _ if manifest.build.is_some() => lines.push(manifest.run.trim_start_matches("./")),
            _ => {}
        }
        lines.join("\n") + "\n"
    }

    fn readme(&self, manifest: &Manifest) -> String {
        let title = texts::text(self.level).lines().next().unwrap_or_default();
        let level = self.level;
        let source = manifest.watch.first().map_or("", String::as_str);
        let needs: Vec<String> = self
            .needs()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        format!(
            "{title}\n\n\
             A small, slow solution in {language}, to be made better: `{source}`. It needs {needs}.\n\n\
             ```sh\n\
             harness describe level{level}    # the problem\n\
             harness test               # builds, and judges the stage you are at\n\
             harness watch              # the same at every change of a file\n\
             harness level{level} --solution {run}    # the contest itself\n\
             ```\n",
            language = self.language,
            needs = needs.join(" and "),
            run = manifest.run,
        )
    }
}

/// The folder of a kit, if none is named.
fn default_folder(kit: &Kit) -> PathBuf {
    format!("level{}-{}", kit.level, kit.language).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a kit's folder, by name.
    fn listed(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn every_kit_of_the_folder_is_built_in_and_describes_itself() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("kits");
        let mut there = 0;
        for level in 0..crate::ladder::LEVELS {
            let folder = root.join(format!("level{level}"));
            let languages = listed(&folder);
            there += languages.len();
            for language in languages {
                let kit = find(level, &language).unwrap();
                let mut names: Vec<&str> = kit.files.iter().map(|(name, _)| *name).collect();
                names.sort_unstable();
                assert_eq!(names, listed(&folder.join(&language)), "{level} {language}");
                let manifest = kit.manifest().unwrap();
                assert_eq!(manifest.level, level);
                assert_eq!(manifest.language.as_deref(), Some(&*language));
                assert!(!kit.needs().is_empty(), "{level} {language}");
                for watched in &manifest.watch {
                    assert!(names.contains(&watched.as_str()), "{level} {language}");
                }
                let run = manifest.run.trim_start_matches("./");
                assert!(manifest.build.is_some() || names.contains(&run));
            }
        }
        assert_eq!(there, KITS.len());
    }

    #[test]
    fn each_level_has_python_and_a_compiled_language() {
        for level in 0..crate::ladder::LEVELS {
            let languages = languages(level);
            assert!(languages.contains(&"python"), "level {level}");
            assert!(languages.contains(&"rust") || languages.contains(&"c"));
        }
    }

    #[test]
    fn a_kit_is_written_into_an_empty_folder_only() {
        let home = tempfile::tempdir().unwrap();
        let kit = find(0, "PY").unwrap();
        let folder = home.path().join("a/b");
        kit.write(&folder).unwrap();
        let names = [".gitignore", "README.md", "ctf3.toml", "highlight.py"];
        assert_eq!(listed(&folder), names);
        let mode = fs::metadata(folder.join("highlight.py")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o111, 0o111);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(readme.lines().count(), 10, "{readme}");
        let again = kit.write(&folder).unwrap_err().to_string();
        assert!(again.contains("is not empty"), "{again}");
        let file = kit.write(&folder.join("README.md")).unwrap_err();
        assert!(format!("{file:#}").contains("README.md"), "{file:#}");
    }

    #[test]
    fn a_language_without_a_kit_is_told_which_there_are() {
        let error = find(1, "ruby").unwrap_err().to_string();
        assert!(
            error.contains("in ruby; there are") && error.contains("shell"),
            "{error}"
        );
    }
}
