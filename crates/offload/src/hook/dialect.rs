//! What the two dialects have in common.

/// A daemon's conversation with its hook, without I/O: bytes go in by [`handle`](Dialect::handle),
/// events come out of [`poll`](Dialect::poll).
///
/// ```
/// use offload::hook::Dialect;
///
/// /// How many events there are in what a daemon wrote.
/// fn count<D: Dialect>(bytes: &[u8]) -> Result<usize, D::Error> {
///     let (mut conversation, mut count) = (D::default(), 0);
///     conversation.handle(bytes);
///     while conversation.poll()?.is_some() {
///         count += 1;
///     }
///     conversation.handle_end()?;
///     Ok(count)
/// }
///
/// let requests = b"0 i686-linux /gnu/store/a.drv \n1 x86_64-linux /gnu/store/b.drv \n";
/// assert_eq!(count::<offload::hook::guix::Conversation>(requests)?, 2);
/// # Ok::<(), offload::hook::guix::Error>(())
/// ```
pub trait Dialect: Default {
    /// What a daemon says.
    type Event;
    /// Why its words make no sense.
    type Error;

    /// Takes bytes that the daemon wrote.
    fn handle(&mut self, bytes: &[u8]);

    /// The last build that was offered is accepted: its inputs follow.
    fn accepted(&mut self);

    /// The next event, or `None` while more bytes are needed.
    ///
    /// # Errors
    /// When the bytes make no sense. The conversation cannot go on then.
    fn poll(&mut self) -> Result<Option<Self::Event>, Self::Error>;

    /// The stream has ended.
    ///
    /// # Errors
    /// Unless it ended where it may: between offers, or behind all that belongs to an accepted one.
    fn handle_end(&self) -> Result<(), Self::Error>;
}
