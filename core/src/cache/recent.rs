//! A map that is bounded in bytes and forgets what was used least recently.

use std::collections::{BTreeMap, HashMap};
use std::prelude::v1::*;

/// Values by name. Each operation takes time logarithmic in their number.
#[derive(Debug)]
pub(super) struct Recent<V> {
    entries: HashMap<String, Entry<V>>,
    /// Names by the time of their last use.
    order: BTreeMap<u64, String>,
    clock: u64,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<V> Recent<V> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, max_bytes }
    }

    /// Bytes of all values.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A value, which counts as used.
    pub(super) fn get(&mut self, name: &str) -> Option<&V> {
        let entry = self.entries.get_mut(name)?;
        if let Some(name) = self.order.remove(&entry.used) {
            self.clock += 1;
            entry.used = self.clock;
            self.order.insert(self.clock, name);
        }
        Some(&entry.value)
    }

    /// Puts a value of so many bytes in, in the place of one of the same name. One larger than the bound is not taken.
    pub(super) fn put(&mut self, name: String, value: V, bytes: usize) {
        self.remove(&name);
        if bytes > self.max_bytes {
            return;
        }
        while self.bytes > self.max_bytes - bytes
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.order.insert(self.clock, name.clone());
        self.entries.insert(name, Entry { value, bytes, used: self.clock });
    }

    fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a list that is searched from end to end.
        #[test]
        fn the_least_recently_used_goes_first(steps in prop::collection::vec((0..6u8, 0..5usize, any::<bool>()), 0..80)) {
            let mut recent = Recent::new(9);
            let mut list: Vec<(String, usize, usize)> = Vec::new();
            for (i, (name, bytes, put)) in steps.into_iter().enumerate() {
                // 12 is more than all of it.
                let (name, bytes) = (name.to_string(), bytes * 3);
                let found = list.iter().position(|(n, ..)| *n == name).map(|at| list.remove(at));
                if put {
                    recent.put(name.clone(), i, bytes);
                    while list.iter().map(|(.., b)| b).sum::<usize>() + bytes > 9 && bytes <= 9 {
                        list.remove(0);
                    }
                    list.extend((bytes <= 9).then_some((name, i, bytes)));
                } else {
                    prop_assert_eq!(recent.get(&name).copied(), found.as_ref().map(|(_, value, _)| *value));
                    list.extend(found);
                }
                prop_assert_eq!(recent.bytes(), list.iter().map(|(.., b)| b).sum::<usize>());
                prop_assert_eq!((recent.len(), recent.order.len()), (list.len(), list.len()));
                let order: Vec<&String> = recent.order.values().collect();
                prop_assert_eq!(order, list.iter().map(|(n, ..)| n).collect::<Vec<_>>());
            }
        }
    }
}
