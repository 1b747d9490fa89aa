//! Sets in order.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::Disorder;

/// A set in order. One item, which is what most derivations want of most inputs, takes no memory of its own.
#[derive(Clone)]
pub struct SortedSet<T>(Items<T>);

#[derive(Clone)]
enum Items<T> {
    One(T),
    /// None, or several, or one.
    Many(Vec<T>),
}

impl<T> SortedSet<T> {
    /// A set of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Items::Many(Vec::new()))
    }

    /// All of them in order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match &self.0 {
            Items::One(item) => std::slice::from_ref(item),
            Items::Many(items) => items,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All of them in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.as_slice().iter()
    }

    /// Puts something where it belongs.
    fn insert_at(&mut self, index: usize, item: T) {
        match std::mem::take(self).0 {
            Items::Many(items) if items.is_empty() => self.0 = Items::One(item),
            Items::Many(mut items) => {
                items.insert(index, item);
                self.0 = Items::Many(items);
            }
            Items::One(first) => {
                let mut items = vec![first];
                items.insert(index, item);
                self.0 = Items::Many(items);
            }
        }
    }
}

impl<T: Ord> SortedSet<T> {
    /// Whether something is in it.
    pub fn contains<Q: Ord + ?Sized>(&self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.as_slice()
            .binary_search_by(|entry| entry.borrow().cmp(item))
            .is_ok()
    }

    /// Puts something in; `false` if it was there.
    pub fn insert(&mut self, item: T) -> bool {
        match self.as_slice().binary_search(&item) {
            Ok(_) => false,
            Err(index) => {
                self.insert_at(index, item);
                true
            }
        }
    }

    /// Puts something behind all others, if that is where it belongs.
    #[inline]
    pub(crate) fn push(&mut self, item: T) -> Result<(), Disorder> {
        match &mut self.0 {
            Items::Many(items) if items.is_empty() => self.0 = Items::One(item),
            Items::Many(items) => {
                Disorder::check(&items[items.len() - 1], &item)?;
                items.push(item);
            }
            Items::One(first) => {
                Disorder::check(first, &item)?;
                self.insert_at(1, item);
            }
        }
        Ok(())
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: PartialEq> PartialEq for SortedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq> Eq for SortedSet<T> {}

impl<T: Hash> Hash for SortedSet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.as_slice()).finish()
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort();
        items.dedup();
        Self(Items::Many(items))
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Items::One(item) => vec![item].into_iter(),
            Items::Many(items) => items.into_iter(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_however_it_came_about() {
        let mut inserted = SortedSet::new();
        let mut pushed = SortedSet::new();
        for (index, item) in [2, 3, 1].into_iter().enumerate() {
            assert!(inserted.insert(item) && !inserted.insert(item));
            assert_eq!(pushed.push(index + 1), Ok(()));
            assert_eq!(pushed.push(index + 1), Err(Disorder::Duplicate));
            assert_eq!(pushed.push(0), Err(Disorder::Unsorted));
        }
        assert_eq!(inserted, pushed);
        assert_eq!(inserted, [3, 1, 1, 2].into_iter().collect());
        assert_eq!(
            SortedSet::from_iter([1]).into_iter().collect::<Vec<_>>(),
            [1]
        );
        let mut one = SortedSet::new();
        one.insert(1);
        assert_eq!(one, SortedSet::from_iter([1]));
        assert_eq!(
            (one.len(), one.contains(&1), one.contains(&2)),
            (1, true, false)
        );
    }
}
