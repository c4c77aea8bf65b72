//! What the engine asks of the operating system about processes, so that nothing outlives its runner.
//!
//! A worker leads a process group of its own, in which its children stay; the group is ended as a whole. It
//! adopts what its children leave behind (subreaper), so even a process that left the group is found again. When it is
//! killed itself, its guard does the same (`guard.rs`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};

/// Ends the worker when the runner dies, for kinds that start no processes: those end by the closed stdin, which
/// lets them take their children along.
pub(crate) fn die_with_parent() {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
}

/// Adopts descendants whose parents have died.
pub(crate) fn adopt_orphans() {
    let _ = prctl::set_child_subreaper(true);
}

/// From now on the signals USR1 and TERM set `flag` instead of ending this process. They are held back in all threads
/// that are started later, and a thread of their own takes them; children are not affected.
pub(crate) fn heed_signals(flag: &Arc<AtomicBool>) -> std::io::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGTERM]);
    signals.thread_block()?;
    let flag = Arc::clone(flag);
    thread::spawn(move || {
        while signals.wait().is_ok() {
            flag.store(true, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// Ends a process group. Harmless where it is gone.
pub(crate) fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Asks every descendant of this process to end, or ends it.
pub(crate) fn signal_descendants(force: bool) {
    let signal = if force { Signal::SIGKILL } else { Signal::SIGTERM };
    for pid in descendants(getpid().as_raw()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Ends every descendant, those that left the process group included.
pub(crate) fn end_descendants() {
    for _ in 0..10 {
        if descendants(getpid().as_raw()).is_empty() {
            break;
        }
        signal_descendants(true);
    }
}

/// The same, then ends this process with its group.
pub(crate) fn end_with_descendants() {
    end_descendants();
    let _ = killpg(getpgrp(), Signal::SIGKILL);
}

/// Living processes below `root`, from `/proc`.
fn descendants(root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = processes();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|&&(_, of)| of == parent).map(|&(pid, _)| pid));
        next += 1;
    }
    found.split_off(1)
}

/// Process and parent of everything that lives; zombies left out.
fn processes() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(Path::new("/proc").join(format!("{pid}/stat"))).ok()?;
            let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            let state = rest.next()?;
            let parent = rest.next()?.parse().ok()?;
            (state != "Z").then_some((pid, parent))
        })
        .collect()
}

/// Watches the resident memory of this process and its children through one action.
pub(crate) struct Peak {
    /// Of children that ended before.
    children: Option<u64>,
}

impl Peak {
    /// Forgets the peak of earlier actions; where the kernel does not let it, the peak is that of the process so far.
    pub fn begin() -> Peak {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Peak { children: children_peak() }
    }

    /// The largest resident memory since then, in bytes, of this process or of a child larger than all before.
    pub fn bytes(&self) -> Option<u64> {
        let larger = children_peak().filter(|peak| Some(*peak) > self.children);
        own_peak().into_iter().chain(larger).max()
    }
}

fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn children_peak() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    u64::try_from(usage.max_rss()).ok().map(|kilobytes| kilobytes * 1024)
}

pub(crate) fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_a_descendant_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants(getpid().as_raw()).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(getpid().as_raw()).contains(&pid));
    }

    #[test]
    fn memory_is_known() {
        let peak = Peak::begin();
        assert!(peak.bytes().unwrap() > 1 << 20);
    }
}
