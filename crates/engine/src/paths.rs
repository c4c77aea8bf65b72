//! Path-typed parameters: what they point at, and the digests that stand for them in a manifest.
//!
//! A string is one file or folder; a list holds glob patterns. Keys see names below the pattern's folder and
//! contents, never where they lie.

use std::path::{Path, PathBuf};

use gazal_store::{Store, StoreError};
use serde_json::{Map, Value};

/// A path-typed parameter, looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Absolute, sorted within a pattern.
    pub paths: Vec<PathBuf>,
    /// Name to digest; takes the parameter's place in the manifest.
    pub digests: Value,
}

/// Why a path-typed parameter could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("there is no file or folder `{0}`")]
    Missing(PathBuf),
    #[error("no file matches `{0}`")]
    NoMatch(String),
    #[error("`{0}` is no valid pattern: {1}")]
    Pattern(String, String),
    #[error("a path must be a string or a list of strings")]
    NotAPath,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks up the value of a path-typed parameter, relative to `base`. An absent or empty one points at nothing.
///
/// # Errors
/// When a file is missing, a pattern is wrong or matches nothing, or a file cannot be read.
pub fn resolve(store: &Store, base: &Path, value: &Value) -> Result<Resolved, PathError> {
    match value {
        Value::String(path) if !path.is_empty() => one(store, base, path),
        Value::Array(patterns) => many(store, base, patterns),
        Value::Null | Value::String(_) => Ok(Resolved { paths: Vec::new(), digests: value.clone() }),
        _ => Err(PathError::NotAPath),
    }
}

fn one(store: &Store, base: &Path, path: &str) -> Result<Resolved, PathError> {
    let absolute = base.join(path);
    let label = match std::fs::metadata(&absolute) {
        Err(_) => return Err(PathError::Missing(absolute)),
        Ok(found) if found.is_dir() => ".".to_string(),
        Ok(_) => file_name(&absolute),
    };
    let digest = store.digest_path(&absolute)?.to_string();
    Ok(Resolved { paths: vec![absolute], digests: Value::Object(Map::from_iter([(label, digest.into())])) })
}

fn many(store: &Store, base: &Path, patterns: &[Value]) -> Result<Resolved, PathError> {
    let (mut paths, mut digests) = (Vec::new(), Map::new());
    for pattern in patterns {
        let pattern = pattern.as_str().ok_or(PathError::NotAPath)?;
        for path in matches(base, pattern)? {
            let label = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            digests.insert(label, store.digest_path(&path)?.to_string().into());
            paths.push(path);
        }
    }
    Ok(Resolved { paths, digests: Value::Object(digests) })
}

/// The files and folders that a path-typed parameter points at now, as far as there are any.
pub fn paths_of(base: &Path, value: &Value) -> Vec<PathBuf> {
    match value {
        Value::String(path) => vec![base.join(path)],
        Value::Array(patterns) => {
            patterns.iter().filter_map(Value::as_str).flat_map(|one| matches(base, one).unwrap_or_default()).collect()
        }
        _ => Vec::new(),
    }
}

/// The files and folders that `pattern` names below `base`, sorted.
pub(crate) fn matches(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, PathError> {
    let wrong = |error: &dyn std::fmt::Display| PathError::Pattern(pattern.to_string(), error.to_string());
    let full = Path::new(&glob::Pattern::escape(&base.to_string_lossy())).join(pattern);
    let found: Result<Vec<PathBuf>, _> = glob::glob(&full.to_string_lossy()).map_err(|error| wrong(&error))?.collect();
    let found = found.map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(PathError::NoMatch(pattern.to_string())) } else { Ok(found) }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn space() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        std::fs::create_dir(dir.path().join("scripts")).unwrap();
        for name in ["a.py", "b.py"] {
            std::fs::write(dir.path().join("scripts").join(name), name).unwrap();
        }
        (dir, store)
    }

    #[test]
    fn a_file_is_its_name_and_content_wherever_it_lies() {
        let (dir, store) = space();
        let found = resolve(&store, dir.path(), &json!("scripts/a.py")).unwrap();
        assert_eq!(found.paths, [dir.path().join("scripts/a.py")]);
        assert_eq!(found.digests, resolve(&store, &dir.path().join("scripts"), &json!("a.py")).unwrap().digests);
        assert_eq!(found.digests.as_object().unwrap().keys().collect::<Vec<_>>(), ["a.py"]);
    }

    #[test]
    fn patterns_gather_sorted() {
        let (dir, store) = space();
        let found = resolve(&store, dir.path(), &json!(["scripts/*.py"])).unwrap();
        assert_eq!(found.digests.as_object().unwrap().keys().collect::<Vec<_>>(), ["scripts/a.py", "scripts/b.py"]);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let (dir, store) = space();
        assert!(matches!(resolve(&store, dir.path(), &json!("no")), Err(PathError::Missing(_))));
        assert!(matches!(resolve(&store, dir.path(), &json!(["no/*"])), Err(PathError::NoMatch(_))));
        assert_eq!(resolve(&store, dir.path(), &json!(null)).unwrap().paths, Vec::<PathBuf>::new());
    }
}
