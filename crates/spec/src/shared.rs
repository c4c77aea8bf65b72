//! What stages that follow each other have in common, held once: a large pipeline is made of many that are alike.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Executor, Policy};

/// The last of each; one that is equal to it becomes the same.
#[derive(Default)]
pub(crate) struct Shared {
    pub params: Last<Map<String, Value>>,
    pub policy: Last<Policy>,
    pub executor: Last<Executor>,
    pub matrix: Last<Map<String, Value>>,
}

#[derive(Default)]
pub(crate) struct Last<T>(RefCell<Arc<T>>);

impl<T: PartialEq> Last<T> {
    pub fn or(&self, value: T) -> Arc<T> {
        let mut last = self.0.borrow_mut();
        if **last != value {
            *last = Arc::new(value);
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one() {
        let last = Last::default();
        let [a, b, c] = [1, 1, 2].map(|value| last.or(value));
        assert_eq!([*a, *b, *c], [1, 1, 2]);
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&b, &c));
    }
}
