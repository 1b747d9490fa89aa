//! Maps and sets in the order a derivation prints them in.

mod set;

pub use set::SortedSet;

use std::borrow::Borrow;
use std::cmp::Ordering;

/// A map whose keys rise strictly, in one piece of memory. Reading a file pushes each entry behind the last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SortedMap<K, V>(Vec<(K, V)>);

/// Whether a key that does not rise stood there before, or belongs further up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disorder {
    /// The key equals the last one.
    Duplicate,
    /// The key is less than the last one.
    Unsorted,
}

impl Disorder {
    #[inline]
    fn check<T: Ord>(last: &T, next: &T) -> Result<(), Self> {
        match last.cmp(next) {
            Ordering::Less => Ok(()),
            Ordering::Equal => Err(Self::Duplicate),
            Ordering::Greater => Err(Self::Unsorted),
        }
    }
}

impl<K, V> SortedMap<K, V> {
    /// A map without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> + DoubleEndedIterator + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The entries, whose values may be changed.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> + DoubleEndedIterator + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + DoubleEndedIterator + Clone {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|index| &self.0[index].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|index| &mut self.0[index].1)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Puts an entry where it belongs; gives the value that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                self.0.insert(index, (key, value));
                None
            }
        }
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|index| self.0.remove(index).1)
    }

    /// Puts an entry behind all others, if that is where it belongs.
    #[inline]
    pub(crate) fn push(&mut self, key: K, value: V) -> Result<(), Disorder> {
        if let Some((last, _)) = self.0.last() {
            Disorder::check(last, &key)?;
        }
        self.0.push((key, value));
        Ok(())
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0
            .binary_search_by(|(entry, _)| entry.borrow().cmp(key))
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Of entries with equal keys the last one stays.
impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // Stable, so that the last of equal keys is last; then turned around, because `dedup_by` keeps the first.
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        entries.reverse();
        entries.dedup_by(|(a, _), (b, _)| a == b);
        Self(entries)
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_stays() {
        let map: SortedMap<_, _> = [("b", 1), ("a", 2), ("b", 3), ("a", 4)]
            .into_iter()
            .collect();
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [("a", 4), ("b", 3)]);
    }

    #[test]
    fn entries_are_inserted_where_they_belong() {
        let mut map = SortedMap::new();
        for key in [3, 1, 2] {
            assert_eq!(map.insert(key, key), None);
        }
        assert_eq!(map.insert(2, 5), Some(2));
        assert_eq!(
            map.iter().collect::<Vec<_>>(),
            [(&1, &1), (&2, &5), (&3, &3)]
        );
        assert_eq!(map.push(3, 0), Err(Disorder::Duplicate));
        assert_eq!(map.push(2, 0), Err(Disorder::Unsorted));
        assert_eq!((map.remove(&1), map.remove(&1)), (Some(1), None));
    }
}
