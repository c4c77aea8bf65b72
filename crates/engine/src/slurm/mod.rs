//! The `slurm` executor: the same worker as everywhere, as a job of a cluster.
//!
//! The runner and the nodes share a file system with the store on it, and that is how they speak: the runner writes
//! requests into the run's folder and submits (`submission`); a worker reads its request, appends its words to a file
//! and publishes its receipt; one thread watches all jobs (`poller`). A job is finished when its receipt appears. The
//! queue is asked, rarely, for what files cannot tell (`queue`): that a job waits, was requeued, ran into its limit.
//!
//! Nothing about a job is remembered but by Slurm: a runner that was killed finds its jobs again by their names
//! and goes on waiting for them. Submissions of one store go through a kernel lock that `sbatch` itself holds, so
//! that a runner never looks for a job between its submission and its appearance in the queue. Should an action
//! still be submitted twice, its own lock in the worker lets it run once.

mod needs;
mod poller;
mod queue;
mod submission;
mod tail;
mod task;
mod watch;
mod worker;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use gazal_store::{Receipt, Store};

pub use needs::SlurmNeeds;
pub use poller::Pace;
pub use worker::job_worker_main;

use crate::launch::Launch;
use crate::{EngineError, Job, Launcher, Report, Request, Said, Sink};
use poller::{Order, Poller};
use queue::Refusal;
use submission::{Finder, Found, Submission, adopt_log};
use task::{Begin, Task, Wish};
use watch::Watch;

/// Runs each action in a Slurm job of `program worker --request FILE --line N --events FILE`.
pub struct SlurmLauncher {
    program: PathBuf,
    store: Store,
    pace: Pace,
    orders: OnceLock<Sender<Order>>,
    max_array: OnceLock<usize>,
}

impl SlurmLauncher {
    /// `program`: absolute, and the same on all nodes, as is the store's folder.
    pub fn new(program: PathBuf, store: Store) -> SlurmLauncher {
        SlurmLauncher { program, store, pace: Pace::default(), orders: OnceLock::new(), max_array: OnceLock::new() }
    }

    #[must_use]
    pub fn with_pace(self, pace: Pace) -> SlurmLauncher {
        SlurmLauncher { pace, ..self }
    }

    /// Whether there is a cluster to submit to.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn check() -> Result<(), String> {
        queue::jobs().map(drop).map_err(|refusal| refusal.to_string())
    }

    fn orders(&self) -> &Sender<Order> {
        self.orders.get_or_init(|| {
            let (sender, orders) = mpsc::channel();
            let (store, pace) = (self.store.clone(), self.pace);
            let poller = Poller { store, pace, orders, tasks: Vec::new(), looked: None, mute: false };
            thread::spawn(move || poller.go());
            sender
        })
    }

    /// One runner at a time looks for jobs and submits; the lock is also held by an `sbatch` whose runner was killed.
    fn lock(&self) -> Result<File, EngineError> {
        let path = self.store.root().join("runs/slurm.lock");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(EngineError::io(&path))
    }

    /// How many of `count` actions one submission may hold.
    fn max_array(&self, count: usize) -> Result<usize, Refusal> {
        if count <= 1 {
            return Ok(1);
        }
        if let Some(size) = self.max_array.get() {
            return Ok(*size);
        }
        let size = queue::max_array_size()?.max(1);
        Ok(*self.max_array.get_or_init(|| size))
    }

    /// Finds or submits a job for each; what Slurm refuses, it refuses for all that were to be submitted together.
    fn place(&self, launches: &[Launch]) -> Result<Vec<Result<Found, String>>, EngineError> {
        let lock = self.lock()?;
        let asked = queue::jobs().and_then(|rows| Ok((rows, self.max_array(launches.len())?)));
        let (rows, most) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return Ok(launches.iter().map(|_| Err(refusal.to_string())).collect()),
        };
        let finder = Finder::new(self.store.root(), &rows);
        let mut placed: Vec<Option<Result<Found, String>>> = Vec::with_capacity(launches.len());
        for launch in launches {
            let found = finder.find(&launch.request.manifest.key());
            if let Some(found) = &found {
                adopt_log(found, &launch.request.log).map_err(EngineError::io(&launch.request.log))?;
            }
            placed.push(found.map(Ok));
        }
        let missing: Vec<usize> = (0..launches.len()).filter(|&index| placed[index].is_none()).collect();
        for group in groups(launches, &missing, most) {
            let jobs = self.submit(&group.iter().map(|&index| &launches[index]).collect::<Vec<_>>(), &lock)?;
            group.iter().zip(jobs).for_each(|(&index, job)| placed[index] = Some(job));
        }
        Ok(placed.into_iter().flatten().collect())
    }

    fn submit(&self, launches: &[&Launch], lock: &File) -> Result<Vec<Result<Found, String>>, EngineError> {
        let requests: Vec<&Request> = launches.iter().map(|launch| &launch.request).collect();
        let run = launches[0].request.log.parent().unwrap_or(Path::new("."));
        let submission = Submission::write(run, &self.program, &requests)?;
        for (task, launch) in launches.iter().enumerate() {
            submission.share_log(task, &launch.request.log)?;
        }
        let held = lock.try_clone().map_err(EngineError::Launch)?;
        let needs = requests[0].slurm.clone().unwrap_or_default();
        match submission.submit(&requests, &needs, Stdio::from(held)) {
            Ok(found) => Ok(found.into_iter().map(Ok).collect()),
            Err(refusal) => Ok(self.look_again(&requests, &refusal)),
        }
    }

    /// An `sbatch` that gave up waiting for an answer may have submitted all the same.
    fn look_again(&self, requests: &[&Request], refusal: &Refusal) -> Vec<Result<Found, String>> {
        let rows = queue::jobs().unwrap_or_default();
        let finder = Finder::new(self.store.root(), &rows);
        let find = |request: &&Request| finder.find(&request.manifest.key()).ok_or_else(|| refusal.to_string());
        requests.iter().map(find).collect()
    }

    /// `before`: the receipt that was there before the job was looked for, which is not of its making.
    fn watch(&self, launch: Launch, before: Option<Receipt>, found: Result<Found, String>) -> Box<dyn Job> {
        let end = Arc::new(OnceLock::new());
        let found = match found {
            Ok(found) => found,
            Err(refusal) => return Box::new(refused(&launch.sink, refusal)),
        };
        let key = launch.request.manifest.key();
        let (id, watch) = (found.id.clone(), Arc::new(Watch::new(&found.log)));
        let (needs, sink) = (launch.request.slurm.unwrap_or_default(), launch.sink);
        let task =
            Task::new(Begin { found, key, before, needs, sink, watch: Arc::clone(&watch), end: Arc::clone(&end) });
        let orders = self.orders().clone();
        let job = SlurmJob { id, orders, watch: Some(watch), end };
        job.order(Order::Watch(Box::new(task)));
        Box::new(job)
    }
}

impl Launcher for SlurmLauncher {
    fn launch(&self, request: &Request, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        let launch = Launch { request: request.clone(), sink };
        let mut jobs = self.launch_many(vec![launch])?;
        jobs.pop().ok_or_else(|| EngineError::Launch(std::io::ErrorKind::NotFound.into()))
    }

    /// As one array, as far as the launches need the same.
    fn launch_many(&self, launches: Vec<Launch>) -> Result<Vec<Box<dyn Job>>, EngineError> {
        let key = |launch: &Launch| launch.request.manifest.key();
        let before: Vec<_> =
            launches.iter().map(|launch| self.store.receipt(&key(launch))).collect::<Result<_, _>>()?;
        let placed = self.place(&launches)?;
        let all = launches.into_iter().zip(before).zip(placed);
        Ok(all.map(|((launch, before), found)| self.watch(launch, before, found)).collect())
    }
}

/// What can be one array: equal needs, and no more tasks than the cluster allows.
fn groups(launches: &[Launch], missing: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &index in missing {
        let fits = |group: &&mut Vec<usize>| {
            let (first, one) = (&launches[group[0]].request, &launches[index].request);
            group.len() < most && first.slurm == one.slurm && first.base == one.base
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// What Slurm does not take fails its stage, and no other.
fn refused(sink: &Sink, refusal: String) -> SlurmJob {
    let end = Arc::new(OnceLock::from(refusal.clone()));
    sink(Report::Said(Said::Failed(refusal)));
    sink(Report::Ended);
    SlurmJob { id: String::new(), orders: mpsc::channel().0, watch: None, end }
}

struct SlurmJob {
    id: String,
    orders: Sender<Order>,
    watch: Option<Arc<Watch>>,
    /// Set when it has ended.
    end: Arc<OnceLock<String>>,
}

impl SlurmJob {
    /// The poller lives as long as a job may speak to it.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

impl Job for SlurmJob {
    fn cancel(&mut self) {
        self.order(Order::Wish(self.id.clone(), Wish::Checkpoint));
    }

    fn kill(&mut self) {
        self.order(Order::Wish(self.id.clone(), Wish::End));
    }

    fn reap(&mut self) -> String {
        self.end.get().cloned().unwrap_or_default()
    }
}

impl Drop for SlurmJob {
    fn drop(&mut self) {
        if self.end.get().is_none() && self.watch.as_ref().is_some_and(|watch| !watch.is_shared()) {
            queue::end(std::slice::from_ref(&self.id));
        }
    }
}
