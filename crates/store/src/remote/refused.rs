//! What was found at the remote and not believed, in words that say what a person can do about it.

use std::fmt;

use crate::Digest;

/// A statement at the remote that was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The action key or the deep key that it is about.
    pub key: Digest,
    pub why: Reason,
    /// The public key of who is said to have made it, or its first digits.
    pub principal: String,
}

/// Why a statement was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its signer is not trusted here.
    Stranger,
    /// It bears no signature.
    Unsigned,
    /// Its signature does not fit.
    Forged,
    /// It is signed by somebody trusted, and makes no sense.
    Unreadable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { key, why, principal } = self;
        let key = key.short();
        match why {
            Reason::Stranger => write!(
                f,
                "{key}: signed by {principal}, who is not trusted: if you know them, `gazal-pipe cache trust NAME KEY`"
            ),
            Reason::Unsigned => write!(f, "{key}: what lies in the name of {principal} bears no signature"),
            Reason::Forged => {
                write!(f, "{key}: what lies in the name of {principal} was altered, or copied from another key")
            }
            Reason::Unreadable => write!(f, "{key}: what {principal} signed cannot be read: update gazal-pipe"),
        }
    }
}
