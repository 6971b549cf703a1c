//! `Few`: a map that is a short list as long as it is short, for what most processes have none or one of.

use std::collections::HashMap;
use std::hash::Hash;

/// Entries that are looked through; with more there is a hash table.
const LISTED_MAX: usize = 8;

/// A map of few entries, almost always.
pub(crate) enum Few<K, V> {
    Listed(Vec<(K, V)>),
    #[expect(
        clippy::box_collection,
        reason = "no larger than the list, which is the rule"
    )]
    Hashed(Box<HashMap<K, V>>),
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Few<K, V> {
        Few::Listed(Vec::new())
    }
}

impl<K: Eq + Hash, V> Few<K, V> {
    /// Adds or replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self {
            Few::Hashed(entries) => drop(entries.insert(key, value)),
            Few::Listed(entries) => {
                if let Some((_, old)) = entries.iter_mut().find(|(known, _)| *known == key) {
                    *old = value;
                } else if entries.len() < LISTED_MAX {
                    entries.push((key, value));
                } else {
                    let mut hashed: HashMap<K, V> = std::mem::take(entries).into_iter().collect();
                    hashed.insert(key, value);
                    *self = Few::Hashed(Box::new(hashed));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Few::Hashed(entries) => entries.remove(key),
            Few::Listed(entries) => {
                let at = entries.iter().position(|(known, _)| known == key)?;
                Some(entries.swap_remove(at).1)
            }
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        match self {
            Few::Hashed(entries) => entries.contains_key(key),
            Few::Listed(entries) => entries.iter().any(|(known, _)| known == key),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Few::Hashed(entries) => entries.is_empty(),
            Few::Listed(entries) => entries.is_empty(),
        }
    }

    /// Shows every entry, in no order.
    pub(crate) fn each(&self, mut look: impl FnMut(&K, &V)) {
        match self {
            Few::Hashed(entries) => entries.iter().for_each(|(key, value)| look(key, value)),
            Few::Listed(entries) => entries.iter().for_each(|(key, value)| look(key, value)),
        }
    }

    /// Every entry, in no order.
    pub(crate) fn into_entries(self) -> Vec<(K, V)> {
        match self {
            Few::Hashed(entries) => entries.into_iter().collect(),
            Few::Listed(entries) => entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Few, LISTED_MAX};

    #[test]
    fn few_and_many_are_one_map() {
        for count in [1, LISTED_MAX, LISTED_MAX + 1, 100] {
            let mut map = Few::default();
            for key in 0..count {
                map.insert(key, 0);
                map.insert(key, key * 2);
            }
            let mut seen = 0;
            map.each(|_, _| seen += 1);
            assert_eq!(seen, count);
            assert!(map.contains(&0) && !map.contains(&count));
            assert_eq!(map.remove(&(count - 1)), Some((count - 1) * 2));
            assert_eq!(map.remove(&(count - 1)), None);
            let mut rest = map.into_entries();
            rest.sort_unstable();
            let expected: Vec<_> = (0..count - 1).map(|key| (key, key * 2)).collect();
            assert_eq!(rest, expected);
        }
    }
}
