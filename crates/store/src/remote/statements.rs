//! What principals say: asked for at the remote, judged, and kept here as it came.
//!
//! A kept statement is judged again each time it is used, so that it does not matter who can write to the store's
//! folder, and so that a principal who is no longer trusted is no longer heard.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::bucket::Bucket;
use super::layout::{Subject, Topic, statement, statements};
use super::refused::{Reason, Refused};
use super::signing::{self, Flaw, PublicKey};
use super::trouble::Trouble;
use super::wire::Parcel;
use super::{Remote, layout};
use crate::durable::Durable;
use crate::{Digest, Store, StoreError, disk};

/// A statement is not larger than this, in bytes.
const LIMIT: usize = 16 << 20;

/// Questions that are on their way at the same time.
const AT_ONCE: usize = 16;

/// A statement that counts.
#[derive(Clone)]
pub(super) struct Statement {
    pub signer: PublicKey,
    /// As it was signed.
    pub sealed: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Those who are heard.
type Accepted = Arc<Vec<PublicKey>>;

/// Takes a statement apart if it counts.
fn judge(subject: Subject, sealed: &[u8], accepted: &[PublicKey]) -> Result<Statement, Reason> {
    let signed = signing::open(subject.topic.domain(), &subject.name, sealed).map_err(|flaw| match flaw {
        Flaw::Unsigned => Reason::Unsigned,
        Flaw::Forged => Reason::Forged,
    })?;
    if !accepted.contains(&signed.signer) {
        return Err(Reason::Stranger);
    }
    if !is_readable(subject.topic, signed.payload) {
        return Err(Reason::Unreadable);
    }
    Ok(Statement { signer: signed.signer, sealed: sealed.to_vec(), payload: signed.payload.to_vec() })
}

fn is_readable(topic: Topic, payload: &[u8]) -> bool {
    match topic {
        Topic::Receipt => Parcel::decode(payload).is_some(),
        Topic::Deep => payload.len() == Digest::of("").as_bytes().len(),
    }
}

/// What came of a question.
struct Answer {
    subject: Subject,
    found: Option<Statement>,
    refused: Vec<Refused>,
    /// Whether the remote could be asked at all.
    was_reached: bool,
    /// Whether it did not allow the question, which may mean that there is nothing.
    was_denied: bool,
}

/// Whom to ask about a subject, and whom to believe.
#[derive(Clone)]
struct Question {
    asked: Accepted,
    accepted: Accepted,
    /// Whether somebody publishes there who is not heard.
    has_strangers: bool,
}

impl Question {
    fn to(principal: PublicKey) -> Question {
        let only = Arc::new(vec![principal]);
        Question { asked: Arc::clone(&only), accepted: only, has_strangers: false }
    }
}

/// Asks for one statement after the other until one counts.
async fn ask(bucket: Arc<Bucket>, subject: Subject, question: Question) -> Answer {
    let mut answer = Answer { subject, found: None, refused: Vec::new(), was_reached: true, was_denied: false };
    for principal in question.asked.iter() {
        let refuse = |why| Refused { key: subject.name, why, principal: principal.to_string() };
        match bucket.get(&statement(&bucket.root, subject, principal), LIMIT).await {
            Ok(sealed) => match judge(subject, &sealed, &question.accepted) {
                Ok(statement) => {
                    answer.found = Some(statement);
                    return answer;
                }
                Err(why) => answer.refused.push(refuse(why)),
            },
            Err(Trouble::Absent) => {}
            // A service that may not tell what is there denies what is not.
            Err(Trouble::Denied(_)) => answer.was_denied = true,
            Err(_) => {
                answer.was_reached = false;
                return answer;
            }
        }
    }
    if question.has_strangers {
        answer.refused.extend(strangers(&bucket, subject, &question.asked).await);
    }
    answer
}

/// What those say who are not heard; told, so that a person can decide to hear them.
async fn strangers(bucket: &Bucket, subject: Subject, asked: &[PublicKey]) -> Vec<Refused> {
    let known: HashSet<String> = asked.iter().map(PublicKey::id).collect();
    let names = bucket.list(&statements(&bucket.root, subject)).await.unwrap_or_default();
    let strangers = names.into_iter().filter(|name| !known.contains(name));
    strangers.map(|principal| Refused { key: subject.name, why: Reason::Stranger, principal }).collect()
}

impl Remote {
    /// Those of the subjects that are worth asking about: not in vain before, and not while the remote is left alone.
    fn open_questions(&self, subjects: &[Subject]) -> Vec<Subject> {
        let memory = self.memory();
        let is_open = |subject: &&Subject| !self.inner.bucket.is_resting() && !memory.missed.contains(subject);
        subjects.iter().filter(is_open).copied().collect()
    }

    /// Asks about all these subjects, several at a time.
    fn ask(&self, subjects: Vec<Subject>, accepted: Vec<PublicKey>) -> Vec<(Subject, Statement)> {
        let (bucket, question) = (Arc::clone(&self.inner.bucket), self.question(accepted));
        let asking = stream::iter(subjects).map(move |subject| ask(Arc::clone(&bucket), subject, question.clone()));
        let answers = self.inner.door.wait(asking.buffer_unordered(AT_ONCE).collect::<Vec<Answer>>());
        answers.unwrap_or_default().into_iter().filter_map(|answer| self.note(answer)).collect()
    }

    fn note(&self, answer: Answer) -> Option<(Subject, Statement)> {
        let mut memory = self.memory();
        memory.refused.extend(answer.refused);
        match &answer.found {
            Some(statement) => memory.last = Some(statement.signer),
            None if answer.was_reached => {
                memory.missed.insert(answer.subject);
            }
            None => {}
        }
        Some((answer.subject, answer.found?))
    }

    /// Only those are asked who publish there, and first who answered last: most often one request does.
    fn question(&self, accepted: Vec<PublicKey>) -> Question {
        let publishers = self.publishers();
        let mut asked = accepted.clone();
        let mut has_strangers = false;
        if let Some(publishers) = publishers {
            has_strangers = publishers.iter().any(|key| !accepted.contains(key));
            asked.retain(|key| publishers.contains(key));
        }
        let last = self.memory().last;
        asked.sort_by_key(|key| Some(*key) != last);
        Question { asked: Arc::new(asked), accepted: Arc::new(accepted), has_strangers }
    }

    /// Who publishes there; `None` where that cannot be told.
    fn publishers(&self) -> Option<Vec<PublicKey>> {
        if let Some(known) = &self.memory().publishers {
            return known.clone();
        }
        self.list_publishers().ok()
    }

    /// Asks who publishes there. That the remote cannot tell is remembered, too; that it did not answer is not.
    pub(super) fn list_publishers(&self) -> Result<Vec<PublicKey>, Trouble> {
        let bucket = Arc::clone(&self.inner.bucket);
        let root = layout::principals(&bucket.root);
        let listed = self.wait(async move { bucket.list(&root).await });
        let publishers: Result<Vec<PublicKey>, Trouble> =
            listed.map(|names| names.iter().filter_map(|name| name.parse().ok()).collect());
        if !matches!(publishers, Err(Trouble::Away(_))) {
            self.memory().publishers = Some(publishers.as_ref().ok().cloned());
        }
        publishers
    }

    /// Takes back that nobody has said anything about it: somebody may have, meanwhile.
    pub(super) fn ask_again(&self, subject: Subject) {
        let mut memory = self.memory();
        memory.missed.remove(&subject);
        memory.publishers = None;
    }

    /// Gives the subject up for this process.
    pub(super) fn give_up(&self, subject: Subject) {
        self.memory().missed.insert(subject);
    }

    /// What each of these principals says about the subject, asked anew and not kept.
    pub(super) fn hear(&self, subject: Subject, principals: &[PublicKey]) -> Result<Vec<Statement>, Trouble> {
        let bucket = Arc::clone(&self.inner.bucket);
        let questions: Vec<Question> = principals.iter().map(|principal| Question::to(*principal)).collect();
        let asking = stream::iter(questions).map(move |question| ask(Arc::clone(&bucket), subject, question));
        let answers = self.wait(async move { Ok(asking.buffered(AT_ONCE).collect::<Vec<Answer>>().await) })?;
        match answers.iter().all(|answer| answer.was_reached && !answer.was_denied) {
            true => Ok(answers.into_iter().filter_map(|answer| answer.found).collect()),
            false => Err(Trouble::Away("it does not tell what was published before".into())),
        }
    }
}

impl Store {
    /// A statement about the subject that counts: one that was kept, else one at the remote.
    pub(super) fn statement(&self, subject: Subject) -> Result<Option<Statement>, StoreError> {
        match self.kept(subject)? {
            None if self.gather(&[subject])? => self.kept(subject),
            kept => Ok(kept),
        }
    }

    /// A statement that was fetched before, and still counts.
    pub(super) fn kept(&self, subject: Subject) -> Result<Option<Statement>, StoreError> {
        let path = self.kept_path(subject);
        match fs::read(&path) {
            Ok(sealed) => Ok(judge(subject, &sealed, &self.accepted()?).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Asks the remote about the subjects, and keeps what counts. Whether there was anything.
    pub(super) fn gather(&self, subjects: &[Subject]) -> Result<bool, StoreError> {
        let Some(remote) = self.source() else { return Ok(false) };
        let open = remote.open_questions(subjects);
        if open.is_empty() {
            return Ok(false);
        }
        let found = remote.ask(open, self.accepted()?);
        for (subject, statement) in &found {
            self.keep_manifests(*subject, statement)?;
            self.write(&self.kept_path(*subject), &statement.sealed, Durable::No)?;
        }
        Ok(!found.is_empty())
    }

    /// Forgets a statement; the remote's stays.
    pub(super) fn drop_kept(&self, subject: Subject) -> Result<(), StoreError> {
        let path = self.kept_path(subject);
        match disk::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::within(&path, error)),
            _ => Ok(()),
        }
    }

    fn kept_path(&self, subject: Subject) -> PathBuf {
        self.sharded(&format!("remote/{}", subject.topic.folder()), &subject.name)
    }

    /// The keys of all that are heard.
    pub(super) fn accepted(&self) -> Result<Vec<PublicKey>, StoreError> {
        Ok(self.principals()?.into_iter().map(|principal| principal.key).collect())
    }
}
