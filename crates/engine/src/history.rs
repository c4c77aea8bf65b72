//! What the store remembers, loaded only when something must run.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;

use gazal_store::{Digest, Store};

use crate::prepare::Draft;
use crate::{Manifest, record};

/// Past runs to look back for a stage's last key.
const RUNS: usize = 50;

pub(crate) struct History<'a> {
    pub store: &'a Store,
    file: &'a Path,
    receipts: OnceCell<Vec<(Digest, Manifest)>>,
    last: OnceCell<HashMap<String, Digest>>,
}

impl<'a> History<'a> {
    pub fn new(store: &'a Store, file: &'a Path) -> History<'a> {
        History { store, file, receipts: OnceCell::new(), last: OnceCell::new() }
    }

    /// Whether some receipt could be a hit once the unknown inputs are known.
    pub fn may_hit(&self, draft: &Draft) -> bool {
        self.receipts().iter().any(|(_, past)| draft.allows(past))
    }

    /// The past manifest to compare with: the stage's last one in this pipeline, else that of the same kind with
    /// the most equal fields.
    pub fn nearest(&self, stage: &str, draft: &Draft) -> Option<&Manifest> {
        let last = self.last().get(stage);
        let remembered = self.receipts().iter().find(|(key, _)| Some(key) == last);
        remembered.or_else(|| self.most_equal(draft)).map(|(_, manifest)| manifest)
    }

    fn most_equal(&self, draft: &Draft) -> Option<&(Digest, Manifest)> {
        let fields = draft.manifest.fields();
        let equal =
            |past: &Manifest| past.fields().iter().filter(|(name, value)| fields.get(*name) == Some(value)).count();
        let same_kind = self.receipts().iter().filter(|(_, past)| past.kind == draft.manifest.kind);
        same_kind.max_by_key(|(_, past)| equal(past))
    }

    fn receipts(&self) -> &[(Digest, Manifest)] {
        self.receipts.get_or_init(|| {
            let readable = self.store.receipts().filter_map(Result::ok);
            readable.filter_map(|(key, receipt)| Some((key, Manifest::from_value(&receipt.manifest)?))).collect()
        })
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
