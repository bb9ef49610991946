use std::collections::{BTreeMap, HashMap};

use nalgebra::DVector;

use crate::domain::ContentHash;

/// φ by content hash, of one model: the least recently used goes when there is no more room.
pub(super) struct FeatureCache {
    entries: HashMap<ContentHash, Entry>,
    /// Content hashes by when they were last used.
    by_age: BTreeMap<u64, ContentHash>,
    clock: u64,
    capacity: usize,
}

struct Entry {
    phi: DVector<f64>,
    used: u64,
}

impl FeatureCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), by_age: BTreeMap::new(), clock: 0, capacity }
    }

    pub(super) fn get(&mut self, key: &ContentHash) -> Option<DVector<f64>> {
        let entry = self.entries.get_mut(key)?;
        self.clock += 1;
        self.by_age.remove(&entry.used);
        self.by_age.insert(self.clock, *key);
        entry.used = self.clock;
        Some(entry.phi.clone())
    }

    /// φ of all `keys`, or nothing where one is not here.
    pub(super) fn get_all(&mut self, keys: &[ContentHash]) -> Option<Vec<DVector<f64>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub(super) fn insert(&mut self, key: ContentHash, phi: DVector<f64>) {
        if self.capacity == 0 {
            return;
        }
        self.clock += 1;
        if let Some(old) = self.entries.insert(key, Entry { phi, used: self.clock }) {
            self.by_age.remove(&old.used);
        }
        self.by_age.insert(self.clock, key);
        if self.entries.len() > self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let key = |name: &str| ContentHash::new("x", name);
        let phi = |value: f64| DVector::from_element(1, value);
        let mut cache = FeatureCache::new(2);
        cache.insert(key("a"), phi(1.0));
        cache.insert(key("b"), phi(2.0));
        assert_eq!(cache.get(&key("a")), Some(phi(1.0)));
        cache.insert(key("c"), phi(3.0));
        assert_eq!(cache.get(&key("b")), None);
        assert_eq!(cache.get_all(&[key("a"), key("c")]), Some(vec![phi(1.0), phi(3.0)]));
        assert_eq!(cache.get_all(&[key("a"), key("b")]), None);
        cache.insert(key("a"), phi(4.0));
        assert_eq!(cache.get(&key("a")), Some(phi(4.0)));
        assert_eq!(cache.entries.len(), cache.by_age.len());
    }
}
