//! Requests: each is counted, bounded in time, and ends in one of a few ways.
//!
//! A remote that does not answer must not slow a run down again and again. So after a failure that says that nobody
//! is there, or after [`STRIKES`] failures of any sort in a row, it is left alone for a while and every request fails
//! at once.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::place::Place;
use super::trouble::{Trouble, is_nobody_there, trouble};

/// Failures in a row before the remote is left alone.
const STRIKES: u32 = 3;

/// A larger file is sent in parts of at least this size, in bytes.
pub(super) const PART: u64 = 8 << 20;

/// More parts than this a service may refuse.
const PARTS: u64 = 9_000;

/// Parts of one file that are on their way at the same time.
const PARTS_AT_ONCE: usize = 4;

/// What has gone over the line: the bodies of objects, without what HTTP adds, and requests, without repeated ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    /// In bytes.
    pub sent: u64,
    /// In bytes.
    pub received: u64,
}

/// An object's bytes as they come.
pub(super) struct Incoming {
    /// In bytes, as the remote says.
    pub size: u64,
    chunks: BoxStream<'static, object_store::Result<Bytes>>,
}

pub(super) struct Bucket {
    objects: Arc<dyn ObjectStore>,
    pub root: Path,
    lists: bool,
    rest: Duration,
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    strikes: AtomicU32,
    health: Mutex<Health>,
}

/// Why a remote does not do as it should.
#[derive(Clone)]
pub(super) struct Complaint {
    pub why: String,
    /// Whether it answers, and does not allow it.
    pub was_denied: bool,
}

#[derive(Default)]
struct Health {
    resting_until: Option<Instant>,
    /// The first failure worth telling.
    complaint: Option<Complaint>,
}

impl Bucket {
    /// `rest` is how long the remote is left alone after it failed.
    pub(super) fn new(place: Place, rest: Duration) -> Bucket {
        let Place { objects, root, lists } = place;
        let (requests, sent, received, strikes) = Default::default();
        Bucket { objects, root, lists, rest, requests, sent, received, strikes, health: Mutex::default() }
    }

    pub(super) fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { requests: read(&self.requests), sent: read(&self.sent), received: read(&self.received) }
    }

    /// Whether requests fail at once for now.
    pub(super) fn is_resting(&self) -> bool {
        self.health().resting_until.is_some_and(|until| Instant::now() < until)
    }

    /// What went wrong first, if it was more than a hiccup.
    pub(super) fn complaint(&self) -> Option<Complaint> {
        self.health().complaint.clone()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A small object; no more is read of it than `limit` bytes and what came with them.
    pub(super) async fn get(&self, path: &Path, limit: usize) -> Result<Vec<u8>, Trouble> {
        let mut incoming = self.stream(path).await?;
        let mut all = Vec::new();
        while let Some(chunk) = self.next(&mut incoming).await? {
            all.extend_from_slice(chunk.as_ref());
            if all.len() > limit {
                break;
            }
        }
        Ok(all)
    }

    /// An object of any size, to be read by [`Bucket::next`].
    pub(super) async fn stream(&self, path: &Path) -> Result<Incoming, Trouble> {
        let found = self.request(self.objects.get(path)).await?;
        Ok(Incoming { size: found.meta.size, chunks: found.into_stream() })
    }

    /// What comes next; a stream that breaks off is a request that failed.
    pub(super) async fn next(&self, incoming: &mut Incoming) -> Result<Option<impl AsRef<[u8]> + use<>>, Trouble> {
        let chunk = self.judge(incoming.chunks.try_next().await)?;
        self.received.fetch_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64), Ordering::Relaxed);
        Ok(chunk)
    }

    /// The size of an object in bytes.
    pub(super) async fn size(&self, path: &Path) -> Result<u64, Trouble> {
        Ok(self.request(self.objects.head(path)).await?.size)
    }

    /// Makes an object that is not there yet, else [`Trouble::Exists`]. Of two that do so at once, one succeeds; where
    /// the service knows no condition, the later one.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> Result<(), Trouble> {
        match self.put(path, bytes.clone(), PutMode::Create).await {
            Err(Trouble::Unsupported) => match self.size(path).await {
                Ok(_) => Err(Trouble::Exists),
                Err(Trouble::Absent) => self.replace(path, bytes).await,
                Err(other) => Err(other),
            },
            other => other,
        }
    }

    /// Makes an object, in the place of what was there.
    pub(super) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), Trouble> {
        self.put(path, bytes, PutMode::Overwrite).await
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), Trouble> {
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.request(self.objects.put_opts(path, PutPayload::from(bytes), mode.into())).await.map(|_| ())
    }

    /// Sends a file of `size` bytes in parts. It appears when all have arrived, in the place of what was there.
    pub(super) async fn upload(&self, path: &Path, file: File, size: u64) -> Result<(), Trouble> {
        let mut upload = self.request(self.objects.put_multipart(path)).await?;
        if let Err(trouble) = self.send_parts(upload.as_mut(), file, size).await {
            // Parts that never become a whole are paid for until somebody removes them.
            let _ = upload.abort().await;
            return Err(trouble);
        }
        self.request(upload.complete()).await.map(|_| ())
    }

    async fn send_parts(&self, upload: &mut dyn MultipartUpload, mut file: File, size: u64) -> Result<(), Trouble> {
        let part = PART.max(size / PARTS + 1);
        let mut sending = FuturesUnordered::new();
        let mut left = size;
        while left > 0 {
            let mut bytes = vec![0; usize::try_from(part.min(left)).unwrap_or(usize::MAX)];
            file.read_exact(&mut bytes).map_err(|error| Trouble::Away(format!("a blob cannot be read: {error}")))?;
            left -= bytes.len() as u64;
            self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.requests.fetch_add(1, Ordering::Relaxed);
            sending.push(upload.put_part(bytes.into()));
            if sending.len() >= PARTS_AT_ONCE {
                self.judge(sending.try_next().await)?;
            }
        }
        while self.judge(sending.try_next().await)?.is_some() {}
        Ok(())
    }

    /// The last parts of the names below `path`.
    pub(super) async fn list(&self, path: &Path) -> Result<Vec<String>, Trouble> {
        if !self.lists {
            return Err(Trouble::Unsupported);
        }
        let found: Vec<_> = self.request(self.objects.list(Some(path)).try_collect()).await?;
        let names: Vec<String> =
            found.iter().filter_map(|object| object.location.filename().map(str::to_string)).collect();
        self.received.fetch_add(names.iter().map(|name| name.len() as u64).sum(), Ordering::Relaxed);
        Ok(names)
    }

    async fn request<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Trouble> {
        if self.is_resting() {
            return Err(Trouble::Away("it did not answer before".into()));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.judge(request.await)
    }

    /// Draws the conclusions from an answer.
    fn judge<T>(&self, answer: object_store::Result<T>) -> Result<T, Trouble> {
        let nobody_there = answer.as_ref().err().is_some_and(is_nobody_there);
        let answer = answer.map_err(trouble);
        match &answer {
            Err(Trouble::Away(why)) => self.strike(why, nobody_there),
            Err(Trouble::Denied(why)) => self.complain(why, true),
            _ => self.strikes.store(0, Ordering::Relaxed),
        }
        answer
    }

    fn strike(&self, why: &str, nobody_there: bool) {
        if nobody_there || self.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= STRIKES {
            self.complain(why, false);
            self.health().resting_until = Some(Instant::now() + self.rest);
            self.strikes.store(0, Ordering::Relaxed);
        }
    }

    fn complain(&self, why: &str, was_denied: bool) {
        self.health().complaint.get_or_insert_with(|| Complaint { why: why.to_string(), was_denied });
    }
}
