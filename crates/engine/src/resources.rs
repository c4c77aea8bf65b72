//! What the machine has to give: CPU slots, memory, GPUs by index, and the places of named pools.

use std::collections::BTreeMap;

use gazal_spec::Stage;
use gazal_stage_api::{Backend, DeviceRequest};

use crate::Options;

/// What a stage takes while it runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demand {
    cpus: u32,
    memory: u64,
    gpus: Gpus,
    pool: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Gpus {
    Any(u32),
    Pinned(usize),
}

/// What a running stage holds, to be given back.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    cpus: u32,
    memory: u64,
    gpus: Vec<usize>,
    pool: Option<String>,
}

/// What is free.
#[derive(Debug)]
pub(crate) struct Resources {
    cpus: u32,
    memory: u64,
    gpus: Vec<usize>,
    pools: BTreeMap<String, u32>,
}

impl Demand {
    /// A stage's demand: as the file says, and at least what its device takes.
    pub fn of(stage: &Stage, device: DeviceRequest, options: &Options) -> Demand {
        let gpus = match device.backend {
            Backend::Cuda(Some(index)) => Gpus::Pinned(index),
            Backend::Cuda(None) => Gpus::Any(stage.needs.gpus.max(1)),
            _ => Gpus::Any(stage.needs.gpus),
        };
        let memory = stage.needs.memory.unwrap_or_default();
        Demand { cpus: options.cpus(stage), memory, gpus, pool: stage.policy.pool.clone() }
    }

    /// Why this machine can never meet it, and what to do.
    pub fn too_much(&self, options: &Options) -> Option<(&'static str, String)> {
        if self.memory > options.memory {
            let [wanted, there] = [self.memory, options.memory].map(|bytes| bytes >> 20);
            return Some(("needs.memory", format!("needs {wanted} MiB of memory, and this machine has {there} MiB")));
        }
        let missing = match self.gpus {
            Gpus::Any(count) => count as usize > options.gpus,
            Gpus::Pinned(index) => index >= options.gpus,
        };
        missing.then(|| ("needs.gpus", format!("needs more GPUs than this machine has ({})", options.gpus)))
    }
}

impl Claim {
    /// The GPUs that are held.
    pub fn gpus(&self) -> &[usize] {
        &self.gpus
    }

    /// The device to compute on: any GPU becomes the one that was claimed.
    pub fn device(&self, wanted: DeviceRequest) -> DeviceRequest {
        match (wanted.backend, self.gpus.first()) {
            (Backend::Cuda(None), Some(&index)) => DeviceRequest { backend: Backend::Cuda(Some(index)), ..wanted },
            _ => wanted,
        }
    }
}

impl Resources {
    pub fn of(options: &Options, pools: &BTreeMap<String, u32>) -> Resources {
        Resources {
            cpus: options.threads.max(1),
            memory: options.memory,
            gpus: (0..options.gpus).collect(),
            pools: pools.clone(),
        }
    }

    /// Takes all of a demand, or nothing.
    pub fn claim(&mut self, demand: &Demand) -> Option<Claim> {
        let in_pool = |name: &String| self.pools.get(name).is_some_and(|free| *free > 0);
        if demand.cpus > self.cpus || demand.memory > self.memory || !demand.pool.iter().all(in_pool) {
            return None;
        }
        let gpus: Vec<usize> = match demand.gpus {
            Gpus::Any(count) => self.gpus.iter().copied().take(count as usize).collect(),
            Gpus::Pinned(index) => self.gpus.iter().copied().filter(|free| *free == index).collect(),
        };
        let enough = match demand.gpus {
            Gpus::Any(count) => gpus.len() == count as usize,
            Gpus::Pinned(_) => gpus.len() == 1,
        };
        if !enough {
            return None;
        }
        self.cpus -= demand.cpus;
        self.memory -= demand.memory;
        self.gpus.retain(|index| !gpus.contains(index));
        self.move_pool(&demand.pool, -1);
        Some(Claim { cpus: demand.cpus, memory: demand.memory, gpus, pool: demand.pool.clone() })
    }

    pub fn release(&mut self, claim: Claim) {
        self.cpus += claim.cpus;
        self.memory += claim.memory;
        self.gpus.extend(claim.gpus);
        self.gpus.sort_unstable();
        self.move_pool(&claim.pool, 1);
    }

    fn move_pool(&mut self, name: &Option<String>, by: i32) {
        if let Some(free) = name.as_ref().and_then(|name| self.pools.get_mut(name)) {
            *free = free.saturating_add_signed(by);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gazal_stage_api::Precision;

    use super::*;

    fn resources() -> Resources {
        Resources { cpus: 4, memory: 100, gpus: vec![0, 1, 2], pools: BTreeMap::from([("licence".to_string(), 1)]) }
    }

    fn demand(cpus: u32, gpus: Gpus) -> Demand {
        Demand { cpus, memory: 0, gpus, pool: None }
    }

    #[test]
    fn gpus_are_given_by_index_and_given_back() {
        let mut free = resources();
        let pinned = free.claim(&demand(1, Gpus::Pinned(1))).unwrap();
        let any = free.claim(&demand(1, Gpus::Any(1))).unwrap();
        assert!(free.claim(&demand(1, Gpus::Any(2))).is_none());
        let last = free.claim(&demand(1, Gpus::Any(1))).unwrap();
        assert_eq!([&pinned, &any, &last].map(|claim| claim.gpus[0]), [1, 0, 2]);
        assert!(free.claim(&demand(1, Gpus::Pinned(1))).is_none());
        free.release(pinned);
        assert!(free.claim(&demand(1, Gpus::Pinned(1))).is_some());
        let cuda = |index| DeviceRequest { backend: Backend::Cuda(index), precision: Precision::F32 };
        assert_eq!(last.device(cuda(None)), cuda(Some(2)));
        assert_eq!(last.device(cuda(Some(5))), cuda(Some(5)));
    }

    #[test]
    fn a_refused_demand_takes_nothing() {
        let mut free = resources();
        let pooled = Demand { pool: Some("licence".into()), ..demand(3, Gpus::Any(0)) };
        let claim = free.claim(&pooled).unwrap();
        assert!(free.claim(&Demand { cpus: 1, ..pooled.clone() }).is_none(), "the pool is full");
        assert!(free.claim(&demand(2, Gpus::Any(0))).is_none(), "the CPUs are taken");
        assert!(free.claim(&Demand { memory: 101, ..demand(1, Gpus::Any(0)) }).is_none());
        assert!(free.claim(&demand(1, Gpus::Any(3))).is_some(), "nothing of the others was kept");
        free.release(claim);
        assert!(free.claim(&pooled).is_some());
    }
}
