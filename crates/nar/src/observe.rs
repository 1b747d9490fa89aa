use std::io::{self, Read, Write};

/// Something that looks at bytes as they pass: a [`Digest`](crate::Digest), a search for
/// [`References`](crate::References), several of them (a tuple), or perhaps none (an `Option`).
pub trait Observe {
    /// Takes the next bytes into account.
    fn observe(&mut self, bytes: &[u8]);
}

impl<O: Observe + ?Sized> Observe for &mut O {
    fn observe(&mut self, bytes: &[u8]) {
        (**self).observe(bytes);
    }
}

impl<O: Observe> Observe for Option<O> {
    fn observe(&mut self, bytes: &[u8]) {
        if let Some(observer) = self {
            observer.observe(bytes);
        }
    }
}

impl Observe for () {
    fn observe(&mut self, _: &[u8]) {}
}

impl<A: Observe, B: Observe> Observe for (A, B) {
    fn observe(&mut self, bytes: &[u8]) {
        self.0.observe(bytes);
        self.1.observe(bytes);
    }
}

/// A reader or writer whose bytes an observer sees.
///
/// ```
/// use nar::{Digest, Observed};
///
/// # let directory = tempfile::tempdir()?;
/// let mut digest = Digest::new();
/// nar::dump(directory.path(), &mut Observed::new(std::io::sink(), &mut digest))?;
/// assert_eq!(digest.finish().size, 96);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Observed<T, O> {
    inner: T,
    observer: O,
}

impl<T, O: Observe> Observed<T, O> {
    /// Lets `observer` see what passes through `inner`.
    pub fn new(inner: T, observer: O) -> Self {
        Self { inner, observer }
    }

    /// Both parts again.
    pub fn into_parts(self) -> (T, O) {
        (self.inner, self.observer)
    }
}

impl<T: Read, O: Observe> Read for Observed<T, O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.observer.observe(&buffer[..length]);
        Ok(length)
    }
}

impl<T: Write, O: Observe> Write for Observed<T, O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.observer.observe(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
