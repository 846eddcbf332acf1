//! rqlite's files `-auto-backup` and `-auto-restore`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use super::folder::Folder;
use super::s3::S3;
use crate::security::without_values;
use crate::{duration, files};

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct ConfigError {
    path: PathBuf,
    what: String,
}

/// Where backups are.
#[derive(Debug, Clone)]
pub enum Store {
    /// A folder of this machine.
    Folder(Folder),
    /// A store that speaks S3.
    S3(S3),
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(formatter),
            Self::S3(s3) => s3.fmt(formatter),
        }
    }
}

/// Backups as an operator wants them.
#[derive(Debug, Clone)]
pub struct BackupConfig {
    /// Where they go.
    pub store: Store,
    /// How often.
    pub interval: Duration,
    /// As gzip files.
    pub compress: bool,
    /// Names begin with the time, so that none replaces another.
    pub timestamp: bool,
    /// Without free pages.
    pub vacuum: bool,
}

/// The backup that a new cluster begins with.
#[derive(Debug, Clone)]
pub struct RestoreConfig {
    /// Where it is.
    pub store: Store,
    /// How long fetching it may take.
    pub timeout: Duration,
    /// Begin with nothing if it cannot be had.
    pub continue_on_failure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupFile {
    version: u64,
    r#type: String,
    interval: String,
    #[serde(default)]
    no_compress: bool,
    #[serde(default)]
    timestamp: bool,
    #[serde(default)]
    vacuum: bool,
    sub: Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreFile {
    version: u64,
    r#type: String,
    #[serde(default)]
    timeout: Option<String>,
    #[serde(default)]
    continue_on_failure: bool,
    sub: Json,
}

impl BackupConfig {
    /// Reads a file; `$NAME` and `${NAME}` in it stand for variables of the environment.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not in the format.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: BackupFile = read(path)?;
        let bad = |what: String| named(path, what);
        version(file.version).map_err(bad)?;
        let interval = time(&file.interval).map_err(bad)?;
        if interval.is_zero() {
            return Err(bad("the interval has to be longer than nothing".to_owned()));
        }
        Ok(Self {
            store: store(&file.r#type, file.sub).map_err(bad)?,
            interval,
            compress: !file.no_compress,
            timestamp: file.timestamp,
            vacuum: file.vacuum,
        })
    }
}

impl RestoreConfig {
    /// Likewise.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not in the format.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: RestoreFile = read(path)?;
        let bad = |what: String| named(path, what);
        version(file.version).map_err(bad)?;
        let timeout = file.timeout.as_deref().map(time).transpose().map_err(bad)?;
        Ok(Self {
            store: store(&file.r#type, file.sub).map_err(bad)?,
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
            continue_on_failure: file.continue_on_failure,
        })
    }
}

fn named(path: &Path, what: String) -> ConfigError {
    ConfigError {
        path: path.to_owned(),
        what,
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, ConfigError> {
    let text = files::read_text(path).map_err(|error| named(path, error.to_string()))?;
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    // What comes from the environment may be a secret: errors say where, and do not show it.
    serde_json::from_str(&expand(&text, variable))
        .map_err(|error| named(path, without_values(&error)))
}

fn version(version: u64) -> Result<(), String> {
    (version == 1)
        .then_some(())
        .ok_or_else(|| format!("version {version} is not 1"))
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("{text} is not a duration such as 30s or 1h"))
}

fn store(kind: &str, sub: Json) -> Result<Store, String> {
    let text = |error: serde_json::Error| format!("sub: {}", without_values(&error));
    match kind {
        "file" => serde_json::from_value(sub).map_err(text).and_then(|mut folder: Folder| {
            folder.fix()?;
            Ok(Store::Folder(folder))
        }),
        "s3" => serde_json::from_value(sub).map_err(text).and_then(|s3: S3| {
            s3.check()?;
            Ok(Store::S3(s3))
        }),
        "gcs" => Err("gcs is not to be had: its stores speak S3, too, at the endpoint https://storage.googleapis.com with an HMAC key".to_owned()),
        other => Err(format!("the type {other} is neither s3 nor file")),
    }
}

/// Puts variables in their places.
fn expand(text: &str, variable: impl Fn(&str) -> String) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = match after
            .strip_prefix('{')
            .and_then(|braced| braced.split_once('}'))
        {
            Some(braced) => braced,
            None => after.split_at(after.len() - after.trim_start_matches(is_name).len()),
        };
        if name.is_empty() {
            out.push('$');
        } else {
            // As it stands in a text of JSON.
            let value = Json::from(variable(name)).to_string();
            out.push_str(&value[1..value.len() - 1]);
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(text: &str) -> Result<BackupConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        BackupConfig::load(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_put_in_their_places() {
        let variable = |name: &str| match name {
            "A" => "one".to_owned(),
            "B_2" => "q\"uote".to_owned(),
            _ => String::new(),
        };
        assert_eq!(
            expand("${A}-$A $B_2,$none|$", variable),
            "one-one q\\\"uote,|$"
        );
        assert_eq!(expand("plain", variable), "plain");
    }

    #[test]
    fn files_of_rqlites_are_read() {
        let config = backup(
            r#"{"version": 1, "type": "s3", "interval": "30m", "vacuum": true, "timestamp": true,
                "sub": {"region": "us-east-1", "bucket": "b", "path": "db.gz", "access_key_id": "A",
                        "secret_access_key": "very secret", "endpoint": "http://localhost:9000"}}"#,
        )
        .unwrap();
        assert_eq!(config.interval, Duration::from_secs(1800));
        assert!(config.compress && config.vacuum && config.timestamp);
        assert!(!format!("{config:?} {}", config.store).contains("very secret"));
        let folder = r#"{"version": 1, "type": "file", "interval": "5s", "no_compress": true,
                         "sub": {"dir": "/backups", "name": "db.sqlite"}}"#;
        assert!(!backup(folder).unwrap().compress);
        for (changed, told) in [
            (
                folder.replace("\"version\": 1", "\"version\": 2"),
                "version 2 is not 1",
            ),
            (folder.replace("5s", "soon"), "soon is not a duration"),
            (folder.replace("5s", "0s"), "longer than nothing"),
            (folder.replace("file", "gcs"), "gcs is not to be had"),
            (folder.replace("dir", "folder"), "unknown field `folder`"),
            (
                folder.replace("no_compress", "compress"),
                "unknown field `compress`",
            ),
        ] {
            let error = backup(&changed).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
