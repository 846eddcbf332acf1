//! From what a student has handed in to a program that can be judged: unpacked and built in rooms,
//! kept as archives in between. Nothing of it is ever unpacked or run outside of one.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{
    room::{Building, Feed, PROJECT, Purpose, Room},
    roster::{Kind, Submission},
};
use crate::{project::Manifest, solution_log};

/// How long unpacking may take.
const UNPACK_LIMIT: Duration = Duration::from_secs(300);

/// The most bytes of a manifest, and the most manifests of a submission.
const MANIFEST_MOST: u64 = 64 << 10;
const PROJECTS_MOST: usize = 20;

/// Unpacks what comes in. First of what goes out are the manifests: path, length and text of each,
/// and an empty line; then everything, in an archive that is the same for the same files.
const UNPACK: &str = r#"
set -e
cd "$HOME"
mkdir project
case "$1" in
tar) tar $2 -xf - -C project ;;
zip) cat > archive.zip; unzip -q archive.zip -d project; rm archive.zip ;;
repository)
    mkdir repository
    tar -xf - -C repository
    git --git-dir=repository archive --output=archive.tar "$3"
    tar -xf archive.tar -C project
    rm -rf repository archive.tar ;;
esac
chmod -R u+rwX project
find project -maxdepth 3 -name ctf3.toml -type f -size -64k | LC_ALL=C sort | head -n 20 > list
while IFS= read -r file; do
    printf '%s\n' "$file"
    wc -c < "$file"
    cat "$file"
done < list
echo
exec tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - project
"#;

/// Builds a project and sends everything on.
const BUILD: &str = r#"
cd "$HOME" && tar -xf - && cd "$1" || exit 120
sh -c "$2" </dev/null 1>&2 || { echo "the build ended with status $?" >&2; exit 121; }
[ -f "$3" ] || { echo "there is no $3 after the build" >&2; exit 122; }
cd "$HOME" && exec tar -cf - project
"#;

/// A submission that was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// All of it.
    pub archive: PathBuf,
    /// SHA-256 of that, in hex.
    pub digest: String,
    /// The projects in it.
    pub projects: Vec<Found>,
    /// What is wrong with manifests that cannot be understood, a line each.
    pub mistakes: Vec<String>,
}

/// A folder with a manifest.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its path in a room's home.
    pub folder: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Why a submission cannot be judged, which is its author's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// A word for programs.
    pub kind: &'static str,
    /// A line for people.
    pub message: String,
    /// The last lines that were said.
    pub said: Vec<String>,
}

impl Refused {
    fn new(kind: &'static str, message: impl Into<String>, said: &[u8]) -> Self {
        Self {
            kind,
            message: message.into(),
            said: solution_log::lines_of(said),
        }
    }
}

/// Unpacks a submission into the archive `into`.
///
/// # Errors
/// Something on our side; what is wrong with the submission is [`Refused`].
pub(super) fn unpack(
    building: &Building,
    submission: &Submission,
    into: &Path,
) -> Result<Result<Unpacked, Refused>> {
    let kind = match submission.kind() {
        Ok(kind) => kind,
        Err(error) => return Ok(Err(Refused::new("source", format!("{error:#}"), b""))),
    };
    if submission.revision.is_some() && kind != Kind::Repository {
        let shown = submission.source.display();
        let message = format!("{shown} is no bare repository, and has no `revision`");
        return Ok(Err(Refused::new("source", message, b"")));
    }
    let (word, flag) = match kind {
        Kind::Folder => ("tar", ""),
        Kind::Tar(flag) => ("tar", flag),
        Kind::Zip => ("zip", ""),
        Kind::Repository => ("repository", ""),
    };
    let room = building.room(Purpose::Unpack)?;
    let revision = submission.revision.as_deref().unwrap_or("HEAD");
    let mut command = building.command(&room, Purpose::Unpack, "sh".as_ref())?;
    command.args(["-c", UNPACK, "sh", word, flag, revision]);
    let (feed, input) = input(&submission.source, kind)?;
    let whole = into.with_extension("unpacked");
    let output = create(&whole)?;
    let ended = room.run(command, input, Some(&output), UNPACK_LIMIT)?;
    // Killed if it still runs: then the room has had enough.
    let is_complete = feed.is_none_or(|feed| ended.is_success() && feed.has_completed());
    if !is_complete || !ended.is_success() {
        let message = "it cannot be unpacked, or is too large";
        return Ok(Err(Refused::new("source", message, &ended.said)));
    }
    let unpacked = split(&whole, into)?;
    let _gone_later = std::fs::remove_file(&whole);
    Ok(match unpacked {
        Some(unpacked) if unpacked.projects.is_empty() => {
            let message = match unpacked.mistakes.first() {
                Some(mistake) => mistake.clone(),
                None => format!("there is no {} in it", Manifest::FILE),
            };
            Err(Refused::new("manifest", message, b""))
        }
        Some(unpacked) => Ok(unpacked),
        None => Err(Refused::new("source", "its manifests cannot be read", b"")),
    })
}

/// What is unpacked: an archive as it is; all else as a stream of `tar`'s, which follows no links.
fn input(source: &Path, kind: Kind) -> Result<(Option<Feed>, Stdio)> {
    if matches!(kind, Kind::Tar(_) | Kind::Zip) {
        let file = File::open(source).with_context(|| source.display().to_string())?;
        return Ok((None, file.into()));
    }
    let mut command = Command::new("tar");
    command.args(["-cf", "-", "--sort=name"]);
    if kind == Kind::Folder {
        command.args(["--exclude-vcs", "--exclude-caches-all", "--exclude=.ctf3"]);
    }
    command.arg("-C").arg(source).arg(".");
    let (feed, pipe) = Feed::start(&mut command)?;
    Ok((Some(feed), pipe))
}

/// Takes the manifests from the head of what came out; the rest is the archive. None if the head
/// makes no sense.
fn split(whole: &Path, into: &Path) -> Result<Option<Unpacked>> {
    let mut rest = BufReader::new(File::open(whole)?);
    let mut digest = Sha256::new();
    let (mut projects, mut mistakes) = (Vec::new(), Vec::new());
    while let Some(path) = line(&mut rest) {
        if path.is_empty() {
            let mut archive = create(into)?;
            let mut piece = vec![0; 1 << 16];
            loop {
                let count = rest.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                digest.update(&piece[..count]);
                archive.write_all(&piece[..count])?;
            }
            return Ok(Some(Unpacked {
                archive: into.to_owned(),
                digest: hex::encode(digest.finalize()),
                projects,
                mistakes,
            }));
        }
        let length = line(&mut rest).and_then(|text| text.trim().parse::<u64>().ok());
        let Some(length) = length.filter(|&length| length <= MANIFEST_MOST) else {
            break;
        };
        let mut text = Vec::new();
        rest.by_ref().take(length).read_to_end(&mut text)?;
        if projects.len() + mistakes.len() >= PROJECTS_MOST {
            break;
        }
        let Ok(shown) = Path::new(&path).strip_prefix(PROJECT) else {
            break;
        };
        let folder = Path::new(&path).parent().map(PathBuf::from);
        match (folder, Manifest::parse(&String::from_utf8_lossy(&text))) {
            (Some(folder), Ok(manifest)) => projects.push(Found { folder, manifest }),
            (_, Err(error)) => mistakes.push(format!("{}: {error}", shown.display())),
            (None, Ok(_)) => {}
        }
    }
    Ok(None)
}

/// A line without its end, of at most some thousand bytes.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    reader.take(8192).read_until(b'\n', &mut bytes).ok()?;
    (bytes.pop() == Some(b'\n')).then(|| String::from_utf8(bytes).ok())?
}

/// Builds a project of an archive into another one.
///
/// # Errors
/// Something on our side.
pub(super) fn build(
    building: &Building,
    unpacked: &Unpacked,
    project: &Found,
    environment: &BTreeMap<String, String>,
    limit: Duration,
    into: &Path,
) -> Result<Result<PathBuf, Refused>> {
    let Some(build) = &project.manifest.build else {
        return Ok(Ok(unpacked.archive.clone()));
    };
    let room = building.room(Purpose::Build)?;
    let mut command = building.command(&room, Purpose::Build, "sh".as_ref())?;
    command.args(["-c", BUILD, "sh"]).arg(&project.folder);
    command
        .args([build, &project.manifest.run])
        .envs(environment);
    let input = File::open(&unpacked.archive)?;
    let output = create(into)?;
    let ended = room.run(command, input.into(), Some(&output), limit)?;
    if ended.is_success() {
        return Ok(Ok(into.to_owned()));
    }
    let message = match ended.status {
        None => format!(
            "the build takes longer than {}, or says too much",
            humantime::format_duration(limit)
        ),
        Some(_) => format!("it cannot be built: {build}"),
    };
    Ok(Err(Refused::new("build", message, &ended.said)))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Where a room's command finds a project's program.
pub(super) fn program(room: &Room, project: &Found) -> PathBuf {
    let run = project.manifest.run.trim_start_matches("./");
    room.home().join(&project.folder).join(run)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split_text(text: &[u8]) -> Option<Unpacked> {
        let home = tempfile::tempdir().unwrap();
        let whole = home.path().join("whole");
        std::fs::write(&whole, text).unwrap();
        split(&whole, &home.path().join("archive")).unwrap()
    }

    #[test]
    fn manifests_come_before_the_archive() {
        let manifest = "level = 2\nrun = './x'";
        let text = format!(
            "project/a/ctf3.toml\n{}\n{manifest}project/b/ctf3.toml\n3\nbad\nARCHIVE",
            manifest.len()
        );
        let unpacked = split_text(text.as_bytes()).unwrap();
        assert_eq!(unpacked.projects.len(), 1);
        let [mistake] = unpacked.mistakes.as_slice() else {
            panic!("{unpacked:?}");
        };
        assert!(mistake.starts_with("b/ctf3.toml: line 1: "), "{mistake}");
        assert_eq!(unpacked.projects[0].folder, Path::new("project/a"));
        assert_eq!(unpacked.digest, hex::encode(Sha256::digest(b"ARCHIVE")));
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_read_or_refused(
            text in prop::collection::vec(any::<u8>(), 0..400),
            heads in prop::collection::vec(("[a-z./]{0,12}", "[ -~\n]{0,40}"), 0..4),
            archive in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let _either = split_text(&text);
            let mut whole = Vec::new();
            for (folder, manifest) in &heads {
                let head = format!("{PROJECT}/{folder}/ctf3.toml\n{}\n{manifest}", manifest.len());
                whole.extend(head.into_bytes());
            }
            whole.push(b'\n');
            whole.extend(&archive);
            let unpacked = split_text(&whole).unwrap();
            prop_assert_eq!(unpacked.digest, hex::encode(Sha256::digest(&archive)));
            prop_assert!(unpacked.projects.len() <= heads.len());
        }
    }

    #[test]
    fn a_head_without_sense_is_refused() {
        for text in [
            "",
            "x",
            "x\n",
            "x\n-1\n",
            "x\n99999999\n",
            "x\n1\n",
            "a\n1\nb",
        ] {
            assert!(split_text(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(split_text(b"\n").unwrap().projects.is_empty());
    }
}
