//! Performing one action: lock, second look, inputs, run, outputs, receipt. The only place that writes results.
//!
//! Where another stage serves this one, it is started first and ended last, in the same worker.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gazal_stage_api::{Context, DynKind, Event, Folders, Kinds, Level, Server, StageError};
use gazal_store::{Digest, Lock, Output, Publication, Receipt, Remote, Scratch, Store, StoreError};

use crate::effects::Declared;
use crate::prepare::role_name;
use crate::process::{self, Peak};
use crate::{Request, Said, content_digest, paths};

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
    let action = Action { store, kinds, kind, request, key: request.manifest.key() };
    action.perform(tell, cancelled).unwrap_or_else(|last| last)
}

struct Action<'a> {
    store: &'a Store,
    kinds: &'a Kinds,
    kind: &'static dyn DynKind,
    request: &'a Request,
    key: Digest,
}

impl Action<'_> {
    /// The last words; also as an error, where they come early.
    fn perform(&self, tell: &mut dyn FnMut(Said), cancelled: &dyn Fn() -> bool) -> Result<Said, Said> {
        let Some(_lock) = self.lock(tell, cancelled)? else { return Ok(Said::Cancelled) };
        if !self.request.force && self.store.made(&self.key)?.is_some() {
            return Ok(Said::Found);
        }
        let (started, peak) = (Instant::now(), Peak::begin());
        let scratch = self.scratch()?;
        let folders = self.folders(&scratch)?;
        let server = self.serve(tell, cancelled)?;
        self.run(folders, server.as_deref(), tell, cancelled).map_err(|last| self.blame_disk(last))?;
        drop(server);
        self.check_unchanged()?;
        let mut publication = self.store.publication();
        let outputs = self.put(&scratch, &mut publication)?;
        publication.publish(&self.key, &self.receipt(outputs, started, &peak))?;
        self.store.clear_wip(&self.key)?;
        self.share(tell);
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
        Ok(Folders { inputs, outputs, paths: resolved, wip, base: self.request.base.clone() })
    }

    /// Lets others have the result, where the remote is used for that. That it cannot is said, and no failure.
    fn share(&self, tell: &mut dyn FnMut(Said)) {
        let mut warn = |text: String| tell(Said::Event(Event::Message { level: Level::Warning, text }));
        match self.store.push(&self.key) {
            Ok(Some(pushed)) if !pushed.conflicts.is_empty() => {
                warn("the remote has another result for the same action: the stage is not deterministic".into());
            }
            Ok(_) => {}
            Err(error) => warn(format!("the result was not sent to the remote: {error}")),
        }
        if let Some(warning) = self.store.remote().and_then(Remote::warning) {
            warn(warning);
        }
    }

    /// Starts the stage that serves this one, if there is one.
    fn serve(&self, tell: &mut dyn FnMut(Said), cancelled: &dyn Fn() -> bool) -> Result<Option<Box<dyn Server>>, Said> {
        let Some(request) = &self.request.service else { return Ok(None) };
        let Some(kind) = self.kinds.get(&request.manifest.kind) else {
            return Err(Said::Failed(format!("this program has no stage kind `{}`", request.manifest.kind)));
        };
        let service = Action { store: self.store, kinds: self.kinds, kind, request, key: request.manifest.key() };
        let folders = service.folders(&BTreeMap::new())?;
        let mut report = |event| tell(Said::Event(event));
        let mut context = Context::new(folders, request.seed, request.device, &mut report, cancelled);
        caught(|| kind.serve(&request.params, &mut context)).map(Some)
    }

    fn run(
        &self,
        folders: Folders,
        server: Option<&dyn Server>,
        tell: &mut dyn FnMut(Said),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Said> {
        let mut report = |event| tell(Said::Event(event));
        let effects = Declared { store: self.store, traits: self.kind.traits() };
        let context = Context::new(folders, self.request.seed, self.request.device, &mut report, cancelled);
        let mut context = context.with_effects(&effects);
        context.pins = self.request.manifest.pins.clone();
        context.gpus.clone_from(&self.request.gpus);
        context.service = server.map(|server| server.url().to_string());
        caught(|| self.kind.run(&self.request.params, &mut context))
    }

    /// A stage that fails where nothing more can be written has failed of that, whatever it says itself: its outputs'
    /// folders lie in the store.
    fn blame_disk(&self, last: Said) -> Said {
        match (&last, self.write_something()) {
            (Said::Failed(_), Err(error @ StoreError::Full { .. })) => error.into(),
            _ => last,
        }
    }

    fn write_something(&self) -> Result<(), StoreError> {
        let scratch = self.store.scratch()?;
        fs::write(scratch.path().join("probe"), [0; 4096]).map_err(|error| StoreError::within(scratch.path(), error))
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

    fn put(
        &self,
        scratch: &BTreeMap<String, Scratch>,
        publication: &mut Publication<'_>,
    ) -> Result<BTreeMap<String, Output>, Said> {
        let mut outputs = BTreeMap::new();
        for wanted in &self.request.outputs {
            let Some(folder) = scratch.get(&wanted.name) else { continue };
            let failed = |error| Said::Failed(format!("cannot read the output `{}`: {error}", wanted.name));
            let content = content_digest(wanted.kind, folder.path()).map_err(failed)?;
            let artifact = publication.put_tree(folder.path(), &|_| content)?;
            let output = Output { artifact, kind: wanted.kind.name().into(), role: role_name(wanted.role).into() };
            outputs.insert(wanted.name.clone(), output);
        }
        Ok(outputs)
    }

    fn receipt(&self, outputs: BTreeMap<String, Output>, started: Instant, peak: &Peak) -> Receipt {
        Receipt {
            manifest: self.request.manifest.to_value(),
            outputs,
            seconds: started.elapsed().as_secs_f64(),
            finished: gazal_store::rfc3339(SystemTime::now()),
            host: process::host(),
            program: concat!("gazal-pipe ", env!("CARGO_PKG_VERSION")).into(),
            peak_bytes: peak.bytes(),
        }
    }
}

/// What a kind did, as last words where it did not do it.
fn caught<T>(act: impl FnOnce() -> Result<T, StageError>) -> Result<T, Said> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(StageError::Cancelled)) => Err(Said::Cancelled),
        Ok(Err(error)) => Err(Said::Failed(error.to_string())),
        Err(panic) => Err(Said::Failed(format!("panicked: {}", panic_text(panic.as_ref())))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
