//! Beds that tests take turns at.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Some beds, or whatever else tests share because it takes seconds to make: each test has one for itself, and leaves
/// it to the next.
///
/// As many are made as are taken at a time, up to a maximum; then tests wait. A test that fails leaves its bed too:
/// whoever takes one puts it in order first.
///
/// ```
/// use testbed::Pool;
///
/// static LISTS: Pool<Vec<u32>> = Pool::new(2, Vec::new);
/// LISTS.take().push(7);
/// let (first, second) = (LISTS.take(), LISTS.take());
/// assert_eq!((first.len(), second.len()), (1, 0));
/// ```
#[derive(Debug)]
pub struct Pool<T> {
    maximum: usize,
    make: fn() -> T,
    beds: Mutex<Beds<T>>,
    left: Condvar,
}

#[derive(Debug)]
struct Beds<T> {
    idle: Vec<T>,
    /// All that there are, and those that are being made.
    count: usize,
}

impl<T> Pool<T> {
    /// Of at most `maximum`, at least 1; nothing is made yet.
    #[must_use]
    pub const fn new(maximum: usize, make: fn() -> T) -> Self {
        assert!(maximum > 0, "nobody could take any");
        let beds = Beds {
            idle: Vec::new(),
            count: 0,
        };
        Pool {
            maximum,
            make,
            beds: Mutex::new(beds),
            left: Condvar::new(),
        }
    }

    /// The one that was left last; a new one if all are taken; else the next that is left, for which is waited
    /// without a bound: each test has bounds of its own.
    ///
    /// # Panics
    /// If making one does. The next one tries again.
    pub fn take(&self) -> Taken<'_, T> {
        let mut taken = Taken {
            pool: self,
            bed: self.wait(),
        };
        // It counts by now: without the lock, so that others are taken meanwhile.
        taken.bed.get_or_insert_with(self.make);
        taken
    }

    /// One that is idle, or none: one more may be made.
    fn wait(&self) -> Option<T> {
        let full = |beds: &mut Beds<T>| beds.idle.is_empty() && beds.count == self.maximum;
        let waited = self.left.wait_while(self.lock(), full);
        let mut beds = waited.unwrap_or_else(PoisonError::into_inner);
        let idle = beds.idle.pop();
        beds.count += usize::from(idle.is_none());
        idle
    }

    fn lock(&self) -> MutexGuard<'_, Beds<T>> {
        self.beds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A test's own for as long as it has this.
#[derive(Debug)]
pub struct Taken<'a, T> {
    pool: &'a Pool<T>,
    /// `None` only while it is made.
    bed: Option<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.bed.as_ref().expect("it was made")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.bed.as_mut().expect("it was made")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut beds = self.pool.lock();
        match self.bed.take() {
            Some(bed) => beds.idle.push(bed),
            None => beds.count -= 1,
        }
        drop(beds);
        self.pool.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::catch_unwind,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn no_more_are_made_than_there_may_be_and_nobody_shares_one() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        static POOL: Pool<usize> = Pool::new(3, || MADE.fetch_add(1, Ordering::SeqCst));
        static USED: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let bed = POOL.take();
                        assert_eq!(USED[*bed].fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        USED[*bed].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=3).contains(&MADE.load(Ordering::SeqCst)));
    }

    #[test]
    fn what_could_not_be_made_is_tried_again_and_a_failed_test_leaves_its_own() {
        static TRIES: AtomicUsize = AtomicUsize::new(0);
        static POOL: Pool<usize> = Pool::new(1, || match TRIES.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("not this time"),
            tries => tries,
        });
        catch_unwind(|| POOL.take()).unwrap_err();
        catch_unwind(|| {
            let mut bed = POOL.take();
            *bed += 10;
            panic!("a test that fails");
        })
        .unwrap_err();
        assert_eq!(*POOL.take(), 11);
    }
}
