/// One step through an archive, in the archive's order.
///
/// ```text
/// node      = Directory { Entry node } DirectoryEnd
///           | File { Data } FileEnd
///           | Symlink
/// ```
///
/// The whole archive is one node. [`Decoder`](crate::Decoder) yields events,
/// [`Encoder`](crate::Encoder) takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A directory begins.
    Directory,
    /// The name of the node that comes next, inside the directory begun last. Any bytes but `/`
    /// and NUL; not `.` or `..`; strictly greater than the name before it.
    Entry(&'a [u8]),
    /// A regular file begins.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Bytes of data that follow, in however many [`Event::Data`].
        size: u64,
    },
    /// The next bytes of the file, never none.
    Data(&'a [u8]),
    /// All data of the file was seen.
    FileEnd,
    /// A symbolic link to this target: not empty, without NUL, otherwise any bytes.
    Symlink(&'a [u8]),
    /// All entries of the directory begun last were seen.
    DirectoryEnd,
}
