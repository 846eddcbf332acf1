//! Reading and writing objects.

use super::{GitError, Repository, parse_id};
use crate::object_id::ObjectId;
use std::path::Path;

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// Its type: `commit`, `tree`, `blob` or `tag`.
    pub kind: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Has git check an object of SHA-1's kind without a repository; `None` where there is no git.
///
/// # Errors
/// Git would not take the object.
pub fn check_anywhere(kind: &str, content: &[u8]) -> Result<Option<ObjectId>, GitError> {
    // The root is hardly a repository, whose settings and names would be others.
    match Repository::at(Path::new("/")).check(kind, content) {
        Ok(id) => Ok(Some(id)),
        Err(GitError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Repository {
    /// Reads the objects that `names` (ids, references, `HEAD^{tree}`, `HEAD:file` …) stand for,
    /// with one call of git. What is not there is `None`.
    pub fn read(&self, names: &[&str]) -> Result<Vec<Option<Object>>, GitError> {
        let mut input = names.join("\n").into_bytes();
        input.push(b'\n');
        let output = self.run_with(&["cat-file", "--batch"], Some(input))?;
        let mut rest = &output[..];
        names.iter().map(|_| next_object(&mut rest)).collect()
    }

    /// Writes an object and returns the id that git computes for it.
    ///
    /// # Errors
    /// Among others, git finds something wrong with the object that `git fsck --strict` would.
    pub fn write(&self, kind: &str, content: &[u8]) -> Result<ObjectId, GitError> {
        self.hash_object(&["hash-object", "-w", "-t", kind, "--stdin"], content)
    }

    /// Has git check an object as [`Repository::write`] does, without writing it.
    pub fn check(&self, kind: &str, content: &[u8]) -> Result<ObjectId, GitError> {
        self.hash_object(&["hash-object", "-t", kind, "--stdin"], content)
    }

    fn hash_object(&self, arguments: &[&str], content: &[u8]) -> Result<ObjectId, GitError> {
        let output = self.run_with(arguments, Some(content.to_vec()))?;
        parse_id("hash-object", &String::from_utf8_lossy(&output))
    }
}

/// Takes one answer of `git cat-file --batch` off the front of `output`.
fn next_object(output: &mut &[u8]) -> Result<Option<Object>, GitError> {
    let unexpected = |answer: &[u8]| GitError::Unexpected {
        what: "cat-file",
        answer: String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned(),
    };
    let newline = output.iter().position(|&byte| byte == b'\n');
    let (header, rest) = output.split_at(newline.ok_or_else(|| unexpected(output))?);
    let text = String::from_utf8_lossy(header).into_owned();
    let rest = &rest[1..];
    let fields: Vec<&str> = text.split(' ').collect();
    if let [.., "missing" | "ambiguous"] = fields[..] {
        *output = rest;
        return Ok(None);
    }
    let &[id, kind, size] = &fields[..] else {
        return Err(unexpected(header));
    };
    let size: usize = size.parse().map_err(|_| unexpected(header))?;
    // A newline ends the content.
    if rest.len() <= size {
        return Err(unexpected(header));
    }
    let (content, after) = rest.split_at(size);
    *output = &after[1..];
    Ok(Some(Object {
        id: parse_id("cat-file", id)?,
        kind: kind.to_owned(),
        content: content.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_one_by_one() {
        let id = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        let text = format!("{id} blob 3\na\nb\nx y missing\n{id} tree 0\n\n{id} blob 9\nabc\n");
        let mut output = text.as_bytes();
        let blob = next_object(&mut output).unwrap().unwrap();
        assert_eq!(
            (blob.kind.as_str(), &blob.content[..]),
            ("blob", &b"a\nb"[..])
        );
        assert_eq!(next_object(&mut output).unwrap(), None);
        assert_eq!(next_object(&mut output).unwrap().unwrap().content, b"");
        for mut broken in [output, b"", b"abc", b"abc\n", b"x blob y\n"] {
            assert!(next_object(&mut broken).is_err());
        }
    }
}
