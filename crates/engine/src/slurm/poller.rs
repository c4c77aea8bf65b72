//! The one thread that watches all jobs of a launcher, and the only owner of what is known of them.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gazal_stage_api::Level;
use gazal_store::Store;

use super::queue::{self, Row};
use super::task::{Task, Wish};
use crate::Said;

/// How often the poller looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks at events and receipts.
    pub files: Duration,
    /// Between two looks at the queue: one command for all jobs.
    pub queue: Duration,
    /// How long a job must be gone without a result before that is believed.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { files: Duration::from_millis(500), queue: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

pub(crate) enum Order {
    Watch(Box<Task>),
    Wish(String, Wish),
}

pub(crate) struct Poller {
    pub store: Store,
    pub pace: Pace,
    pub orders: Receiver<Order>,
    pub tasks: Vec<Task>,
    /// When the queue was looked at last.
    pub looked: Option<Instant>,
    /// The queue could not be asked, and that is told.
    pub mute: bool,
}

impl Poller {
    /// Until its launcher and all jobs are gone.
    pub fn go(mut self) {
        loop {
            match self.order() {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn order(&self) -> Result<Order, RecvTimeoutError> {
        if self.tasks.is_empty() {
            return self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        self.orders.recv_timeout(self.pace.files)
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(task) => self.tasks.push(*task),
            Order::Wish(id, wish) => {
                self.tasks.iter_mut().filter(|task| task.id == id).for_each(|task| task.hear_wish(wish));
                // A person waits for it.
                self.looked = None;
            }
        }
    }

    fn tick(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= self.pace.queue) {
            self.look();
            self.looked = Some(Instant::now());
        }
        let mut finished = Vec::new();
        for index in (0..self.tasks.len()).rev() {
            self.tasks[index].listen();
            if let Some(last) = self.tasks[index].verdict(&self.store, self.pace.grace) {
                finished.push((self.tasks.swap_remove(index), last));
            }
        }
        forget(&finished);
        finished.into_iter().for_each(|(task, last)| task.finish(last));
    }

    /// Repeats what is wanted, since a worker may not have listened yet, and asks the queue.
    fn look(&mut self) {
        let wishing = |wish| self.tasks.iter().filter(move |task| task.wish == Some(wish)).map(|task| task.id.clone());
        queue::ask_for_checkpoint(&wishing(Wish::Checkpoint).collect::<Vec<_>>());
        queue::end(&wishing(Wish::End).collect::<Vec<_>>());
        match queue::jobs() {
            Ok(rows) => self.see(&rows),
            Err(refusal) if !self.mute => self.warn(&refusal.to_string()),
            Err(_) => {}
        }
    }

    fn see(&mut self, rows: &[Row]) {
        self.mute = false;
        let by_id: HashMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        for task in &mut self.tasks {
            task.see(by_id.get(task.id.as_str()).copied());
        }
    }

    /// A controller that is away for a while says nothing about the jobs.
    fn warn(&mut self, refusal: &str) {
        self.mute = true;
        for task in &self.tasks {
            task.tell(Level::Warning, format!("Slurm does not answer, and the job may go on: {refusal}"));
        }
    }
}

/// A job that was to stop, or whose work somebody else has done, must not come back to the queue or stay in it.
fn forget(finished: &[(Task, Said)]) {
    let ids = |which: &dyn Fn(&Task) -> bool| -> Vec<String> {
        finished.iter().filter(|(task, _)| which(task)).map(|(task, _)| task.id.clone()).collect()
    };
    queue::end(&ids(&|task| task.wish.is_some()));
    queue::withdraw(&ids(&|task| task.wish.is_none() && !task.left && task.waits()));
}
