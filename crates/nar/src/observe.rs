use std::io::{self, BufRead, Read, Write};

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
/// It reads or writes by whatever traits `T` has, those of tokio included with the feature `tokio`.
/// Over something that buffers it sees what is consumed: under a [`Reader`](crate::Reader) that is
/// the archive, and nothing behind it. So it goes around the buffer; inside of it, it would see
/// whatever was read ahead.
///
/// ```
/// use std::io::BufReader;
/// use nar::{Digest, Listing, Observed};
///
/// let archive = nar::example();
/// let input = [&archive[..], b"the next message"].concat();
/// let mut source = Observed::new(BufReader::new(&input[..]), Digest::new());
/// let listing = Listing::read(&mut source)?;
/// assert!(listing.find("greeting").is_some());
/// assert_eq!(source.observer().size(), archive.len() as u64);
/// # Ok::<(), nar::ReadError>(())
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

    /// What is read or written.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// What is read or written. The observer sees nothing of what passes by this way.
    pub fn inner_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Who has seen all that passed so far.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Who has seen all that passed so far.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Both parts again.
    pub fn into_parts(self) -> (T, O) {
        (self.inner, self.observer)
    }

    /// Both parts, to be used together.
    #[cfg(feature = "tokio")]
    pub(crate) fn parts(&mut self) -> (&mut T, &mut O) {
        (&mut self.inner, &mut self.observer)
    }
}

impl<T: Read, O: Observe> Read for Observed<T, O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.observer.observe(&buffer[..length]);
        Ok(length)
    }
}

impl<T: BufRead, O: Observe> BufRead for Observed<T, O> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if length > 0 {
            let buffer = self.inner.fill_buf();
            let buffer = buffer.expect("a buffer that is not empty is there without reading");
            self.observer.observe(&buffer[..length]);
        }
        self.inner.consume(length);
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
