//! Performing one action: lock, second look, inputs, run, outputs, receipt. The only place that writes results.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gazal_stage_api::{Context, DynKind, Folders, Kinds, StageError};
use gazal_store::{Digest, Lock, Output, Receipt, Scratch, Store};

use crate::prepare::role_name;
use crate::{Request, Said, content_digest, paths, process};

/// Between two attempts at a lock that another run holds.
const RETRY: Duration = Duration::from_millis(100);

/// Performs a request and returns the last words on it; `tell` hears what comes before them.
pub fn perform(
    store: &Store,
    kinds: &Kinds,
    request: &Request,
    tell: &mut dyn FnMut(Said),
    cancelled: &dyn Fn() -> bool,
) -> Said {
    let Some(kind) = kinds.get(&request.manifest.kind) else {
        return Said::Failed(format!("this program has no stage kind `{}`", request.manifest.kind));
    };
    let action = Action { store, kind, request, key: request.manifest.key() };
    action.perform(tell, cancelled).unwrap_or_else(|last| last)
}

struct Action<'a> {
    store: &'a Store,
    kind: &'static dyn DynKind,
    request: &'a Request,
    key: Digest,
}

impl Action<'_> {
    /// The last words; also as an error, where they come early.
    fn perform(&self, tell: &mut dyn FnMut(Said), cancelled: &dyn Fn() -> bool) -> Result<Said, Said> {
        let Some(_lock) = self.lock(tell, cancelled)? else { return Ok(Said::Cancelled) };
        if !self.request.force && self.store.hit(&self.key)?.is_some() {
            return Ok(Said::Found);
        }
        let started = Instant::now();
        let scratch = self.scratch()?;
        let folders = self.folders(&scratch)?;
        self.run(folders, tell, cancelled)?;
        self.check_unchanged()?;
        let outputs = self.put(&scratch)?;
        self.store.publish(&self.key, &self.receipt(outputs, started))?;
        self.store.clear_wip(&self.key)?;
        Ok(Said::Ran)
    }

    /// Waits for the action's lock; `None` when the run was stopped meanwhile.
    fn lock(&self, tell: &mut dyn FnMut(Said), cancelled: &dyn Fn() -> bool) -> Result<Option<Lock>, Said> {
        let mut waiting = false;
        while !cancelled() {
            if let Some(lock) = self.store.try_lock(&self.key)? {
                return Ok(Some(lock));
            }
            if !waiting {
                tell(Said::Waiting);
            }
            waiting = true;
            thread::sleep(RETRY);
        }
        Ok(None)
    }

    /// A fresh folder for each output.
    fn scratch(&self) -> Result<BTreeMap<String, Scratch>, Said> {
        let outputs = self.request.outputs.iter();
        outputs.map(|wanted| Ok((wanted.name.clone(), self.store.scratch()?))).collect()
    }

    fn folders(&self, scratch: &BTreeMap<String, Scratch>) -> Result<Folders, Said> {
        let mut inputs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (port, artifacts) in &self.request.inputs {
            for artifact in artifacts {
                let view = self.store.view(artifact).map_err(|error| match error {
                    damaged if damaged.is_damage() => Said::Damaged(artifact.bytes),
                    error => Said::from(error),
                })?;
                inputs.entry(port.clone()).or_default().push(view);
            }
        }
        let mut resolved = BTreeMap::new();
        for (name, value) in &self.request.paths {
            let found = paths::resolve(self.store, &self.request.base, value)
                .map_err(|error| Said::Failed(error.to_string()))?;
            resolved.insert(name.clone(), found.paths);
        }
        let outputs = scratch.iter().map(|(name, folder)| (name.clone(), folder.path().to_path_buf())).collect();
        let wip = self.store.wip(&self.key)?;
        Ok(Folders { inputs, outputs, paths: resolved, wip })
    }

    fn run(&self, folders: Folders, tell: &mut dyn FnMut(Said), cancelled: &dyn Fn() -> bool) -> Result<(), Said> {
        let mut report = |event| tell(Said::Event(event));
        let mut context = Context::new(folders, self.request.seed, self.request.device, &mut report, cancelled);
        let ran = catch_unwind(AssertUnwindSafe(|| self.kind.run(&self.request.params, &mut context)));
        match ran {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StageError::Cancelled)) => Err(Said::Cancelled),
            Ok(Err(error)) => Err(Said::Failed(error.to_string())),
            Err(panic) => Err(Said::Failed(format!("panicked: {}", panic_text(panic.as_ref())))),
        }
    }

    /// What the user changed while the stage read it must not be published under the key of what it was.
    fn check_unchanged(&self) -> Result<(), Said> {
        for (name, value) in &self.request.paths {
            let now = paths::resolve(self.store, &self.request.base, value).map(|found| found.digests);
            if now.ok().as_ref() != self.request.manifest.params.get(name) {
                let message =
                    format!("what `{name}` points at changed while the stage ran: nothing was kept; run again");
                return Err(Said::Failed(message));
            }
        }
        Ok(())
    }

    fn put(&self, scratch: &BTreeMap<String, Scratch>) -> Result<BTreeMap<String, Output>, Said> {
        let mut outputs = BTreeMap::new();
        for wanted in &self.request.outputs {
            let Some(folder) = scratch.get(&wanted.name) else { continue };
            let failed = |error| Said::Failed(format!("cannot read the output `{}`: {error}", wanted.name));
            let content = content_digest(wanted.kind, folder.path()).map_err(failed)?;
            let artifact = self.store.put_tree(folder.path(), &|_| content)?;
            let output = Output { artifact, kind: wanted.kind.name().into(), role: role_name(wanted.role).into() };
            outputs.insert(wanted.name.clone(), output);
        }
        Ok(outputs)
    }

    fn receipt(&self, outputs: BTreeMap<String, Output>, started: Instant) -> Receipt {
        Receipt {
            manifest: self.request.manifest.to_value(),
            outputs,
            seconds: started.elapsed().as_secs_f64(),
            finished: gazal_store::rfc3339(SystemTime::now()),
            host: process::host(),
            program: concat!("gazal-pipe ", env!("CARGO_PKG_VERSION")).into(),
            peak_bytes: process::peak_bytes(),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
