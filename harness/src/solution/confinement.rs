//! A solution in a sandbox: what `harness grade` tells the judges that it starts, by a variable.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
};

use octopus::sandbox::{Folder, SELF, Sandbox};

/// The variable; its value is a [`Sandbox`] as JSON.
pub const CONFINEMENT: &str = "HARNESS_CONFINEMENT";

/// The command line that runs a program, in a sandbox if there is to be one. What it gets as
/// arguments it sees, if they are files.
pub(super) fn words(program: &Path, arguments: &[OsString], folder: Folder) -> Vec<OsString> {
    let own = arguments.iter().cloned();
    let Some(written) = env::var_os(CONFINEMENT) else {
        return std::iter::once(program.into()).chain(own).collect();
    };
    confined(&written, program, arguments, folder)
        .into_iter()
        .chain(own)
        .collect()
}

fn confined(
    written: &OsStr,
    program: &Path,
    arguments: &[OsString],
    folder: Folder,
) -> Vec<OsString> {
    let sandbox = written
        .to_str()
        .and_then(|text| serde_json::from_str(text).ok());
    let Some(mut sandbox): Option<Sandbox> = sandbox else {
        // Whatever is wrong with it, no program is run outside of a sandbox that it should be in.
        return vec!["false".into()];
    };
    let files = arguments.iter().map(Path::new);
    let files = files.filter(|path| path.is_absolute() && path.is_file());
    sandbox.read_only.extend(files.map(Path::to_owned));
    sandbox.folder = folder;
    let words = sandbox.arguments(program);
    std::iter::once(SELF.into()).chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octopus::sandbox::Limits;

    #[test]
    fn a_program_gets_its_sandbox_or_is_not_run() {
        let sandbox = serde_json::to_string(&Sandbox::new(Limits::default())).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let arguments = [file.path().into(), "/tmp".into(), "-x".into()];
        let words = |written: &str| {
            let program = Path::new("/bin/program");
            confined(written.as_ref(), program, &arguments, Folder::Shared)
        };
        let line = words(&sandbox);
        assert_eq!(line[0], SELF);
        let inner: Sandbox = serde_json::from_str(line[2].to_str().unwrap()).unwrap();
        assert_eq!(inner.read_only, [file.path()]);
        assert_eq!(inner.folder, Folder::Shared);
        assert_eq!(line[3], "/bin/program");
        assert_eq!(words("garbage"), ["false"]);
    }
}
