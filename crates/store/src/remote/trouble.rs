//! How a request may fail, told from the errors of `object_store`.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

/// How the credentials of a machine in Amazon's cloud are asked for: the last resort where none are given.
const METADATA_SERVICE: &str = "169.254.169.254";

/// How a request may fail.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no such object.
    Absent,
    /// There is one already.
    Exists,
    /// The service knows the request and does not allow it.
    Denied(String),
    /// The service cannot do this at all.
    Unsupported,
    /// Nobody answered, or with nonsense.
    Away(String),
}

/// What there is to say when the work itself broke down.
pub(super) fn sudden_end() -> Trouble {
    Trouble::Away("a transfer came to a sudden end".into())
}

pub(super) fn trouble(error: object_store::Error) -> Trouble {
    use object_store::Error::{
        AlreadyExists, NotFound, NotImplemented, NotSupported, PermissionDenied, Precondition, Unauthenticated,
    };
    match error {
        NotFound { .. } => Trouble::Absent,
        AlreadyExists { .. } | Precondition { .. } => Trouble::Exists,
        NotImplemented { .. } | NotSupported { .. } => Trouble::Unsupported,
        PermissionDenied { .. } | Unauthenticated { .. } => Trouble::Denied(brief(&error)),
        other => vague_trouble(&other),
    }
}

/// Listing and the search for credentials give errors that only their text tells apart.
fn vague_trouble(error: &object_store::Error) -> Trouble {
    let text = error.to_string();
    let says = |part: &str| text.contains(part);
    if says(METADATA_SERVICE) {
        Trouble::Denied("no credentials were given".into())
    } else if says("status code: 403") || says("status code: 401") {
        Trouble::Denied(brief(error))
    } else if says("status code: 404") {
        Trouble::Absent
    } else {
        Trouble::Away(brief(error))
    }
}

/// Services answer with pages of XML.
fn brief(error: &object_store::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(300).collect()
}

/// Whether trying again at once is pointless: no connection, or silence.
pub(super) fn is_nobody_there(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout);
        }
        cause = error.source();
    }
    false
}
