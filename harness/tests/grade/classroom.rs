//! A folder with a class in it: solutions, a roster, and what a grading of it has left.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A folder with a class in it.
pub struct Classroom {
    pub home: tempfile::TempDir,
    pub roster: String,
    /// Where the harness makes its folders: none of them stays.
    scratch: tempfile::TempDir,
}

impl Classroom {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // Those who are shut in may be somebody else.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self {
            scratch,
            home: tempfile::tempdir().unwrap(),
            roster: "title = 'A <b>class</b>'\n".to_owned(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn harness(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("--no-history")
            .args(arguments)
            .env("TMPDIR", self.scratch.path())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Writes a kit; whether it can be run here, by a program of the system's.
    pub fn kit(&self, level: u8, language: &str, program: &str, folder: &str) -> bool {
        // Those in a home are not seen by who is shut in.
        let places = ["/usr/local/bin", "/usr/bin", "/bin"];
        if !places
            .iter()
            .any(|place| Path::new(place).join(program).is_file())
        {
            eprintln!("SKIPPED: level {level} in {language}: no {program} of the system's");
            return false;
        }
        let new = self.harness(&["new", &format!("level{level}"), "--lang", language, folder]);
        assert!(new.status.success(), "{}", said(&new));
        true
    }

    /// Writes a solution of level 0 that is a shell script.
    pub fn script(&self, folder: &str, build: Option<&str>, text: &str) {
        self.script_of(0, folder, build, text);
    }

    /// Writes a solution of a level that is a shell script.
    pub fn script_of(&self, level: u8, folder: &str, build: Option<&str>, text: &str) {
        let path = self.path(folder);
        fs::create_dir(&path).unwrap();
        let build = build.map_or_else(String::new, |build| format!("build = '''{build}'''\n"));
        let manifest = format!("level = {level}\nrun = './x.sh'\n{build}");
        fs::write(path.join("ctf3.toml"), manifest).unwrap();
        fs::write(path.join("x.sh"), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path.join("x.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn enrol(&mut self, student: &str, source: &str) {
        let entry = format!("[[submission]]\nstudent = '{student}'\nsource = '{source}'\n");
        self.roster.push_str(&entry);
    }

    /// Grades level 0, a run each; none where there can be no sandboxes.
    pub fn grade(&self, flags: &[&str]) -> Option<Output> {
        let level = [
            "--levels", "0", "--seeds", "1", "--memory", "256", "--disk", "64",
        ];
        self.grade_as(&[&level, flags].concat())
    }

    /// Grades what the flags say; none where there can be no sandboxes.
    pub fn grade_as(&self, flags: &[&str]) -> Option<Output> {
        fs::write(self.path("roster.toml"), &self.roster).unwrap();
        let mut arguments = vec!["grade", "--roster", "roster.toml"];
        arguments.extend(flags);
        let run = self.harness(&arguments);
        if said(&run).contains("no sandbox: ") {
            eprintln!("SKIPPED: {}", said(&run));
            return None;
        }
        let mut left = fs::read_dir(self.scratch.path()).unwrap();
        assert!(left.next().is_none(), "left behind: {}", said(&run));
        Some(run)
    }

    /// The only record of a student's, at level 0.
    pub fn record(&self, student: &str) -> Value {
        self.record_of(student, 0)
    }

    /// The only record of a student's at a level.
    pub fn record_of(&self, student: &str, level: u8) -> Value {
        let text = fs::read_to_string(self.path("grades/grades.json")).unwrap();
        let class: Value = serde_json::from_str(&text).unwrap();
        let mut students = class["students"].as_array().unwrap().iter();
        let student = students.find(|row| row["name"] == student).unwrap();
        student["levels"][level.to_string()][0].clone()
    }
}

pub fn said(run: &Output) -> String {
    let stdout = String::from_utf8_lossy(&run.stdout);
    format!("{stdout}{}", String::from_utf8_lossy(&run.stderr))
}

pub fn shell(folder: &Path, script: &str) {
    let run = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", said(&run));
}
