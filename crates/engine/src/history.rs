//! What the store remembers, loaded only when something must run.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use gazal_store::{Digest, Receipt, Store};

use crate::prepare::Draft;
use crate::{Manifest, record};

/// Past runs to look back for a stage's last key.
const RUNS: usize = 50;
/// Past actions of one kind to compare with: the latest.
const ALIKE: usize = 200;

pub(crate) struct History<'a> {
    pub store: &'a Store,
    file: &'a Path,
    past: OnceCell<Past>,
    last: OnceCell<HashMap<String, Digest>>,
}

/// An action of the past.
pub(crate) struct Deed {
    pub manifest: Manifest,
    pub receipt: Receipt,
}

#[derive(Default)]
struct Past {
    deeds: HashMap<Digest, Deed>,
    /// The keys of each kind's actions, latest first.
    of_kind: HashMap<String, Vec<Digest>>,
    /// Keys by the manifest without what it reads.
    bare: HashMap<Digest, Vec<Digest>>,
}

impl Past {
    fn read(store: &Store) -> Past {
        let mut past = Past::default();
        for (key, receipt) in store.receipts().filter_map(Result::ok) {
            let Some(manifest) = Manifest::from_value(&receipt.manifest) else { continue };
            past.of_kind.entry(manifest.kind.clone()).or_default().push(key);
            past.bare.entry(bare(&manifest)).or_default().push(key);
            past.deeds.insert(key, Deed { manifest, receipt });
        }
        for keys in past.of_kind.values_mut() {
            keys.sort_by(|a, b| past.deeds[b].receipt.finished.cmp(&past.deeds[a].receipt.finished).then(a.cmp(b)));
        }
        past
    }
}

/// What two manifests share that may differ in what they read only.
fn bare(manifest: &Manifest) -> Digest {
    let inputs = manifest.inputs.keys().map(|port| (port.clone(), Vec::new())).collect();
    Manifest { inputs, pins: BTreeMap::new(), service: None, ..manifest.clone() }.key()
}

impl<'a> History<'a> {
    pub fn new(store: &'a Store, file: &'a Path) -> History<'a> {
        History { store, file, past: OnceCell::new(), last: OnceCell::new() }
    }

    /// Whether some receipt could be a hit once the unknown inputs are known.
    pub fn may_hit(&self, draft: &Draft) -> bool {
        let mut whole = draft.manifest.clone();
        let ports = draft.unknown.iter().filter_map(|field| field.strip_prefix("inputs."));
        whole.inputs.extend(ports.map(|port| (port.to_string(), Vec::new())));
        let past = self.past();
        let alike = past.bare.get(&bare(&whole)).into_iter().flatten();
        let fits = |key: &&Digest| draft.likened(&past.deeds[*key].manifest) == draft.manifest;
        alike.filter(fits).any(|key| matches!(self.store.made(key), Ok(Some(_))))
    }

    /// The past action to compare with: the stage's last one in this pipeline, else that of the same kind with the
    /// most equal fields.
    pub fn nearest(&self, stage: &str, draft: &Draft) -> Option<&Deed> {
        let last = self.last().get(stage).and_then(|key| self.past().deeds.get(key));
        last.or_else(|| self.most_equal(draft))
    }

    fn most_equal(&self, draft: &Draft) -> Option<&Deed> {
        let fields = draft.manifest.fields();
        let equal =
            |past: &Manifest| past.fields().iter().filter(|(name, value)| fields.get(*name) == Some(value)).count();
        let past = self.past();
        let same_kind = past.of_kind.get(&draft.manifest.kind).into_iter().flatten().take(ALIKE);
        let mut nearest: Option<(usize, &Deed)> = None;
        for deed in same_kind.map(|key| &past.deeds[key]) {
            let equal = equal(&deed.manifest);
            if nearest.is_none_or(|(most, _)| equal > most) {
                nearest = Some((equal, deed));
            }
        }
        nearest.map(|(_, deed)| deed)
    }

    fn past(&self) -> &Past {
        self.past.get_or_init(|| Past::read(self.store))
    }

    /// Stage name to its key in the latest run of this pipeline that had it.
    fn last(&self) -> &HashMap<String, Digest> {
        self.last.get_or_init(|| {
            let mut last = HashMap::new();
            for run in self.store.runs().unwrap_or_default().iter().rev().take(RUNS) {
                for (stage, key) in record::keys_of(run, self.file) {
                    last.entry(stage).or_insert(key);
                }
            }
            last
        })
    }
}
