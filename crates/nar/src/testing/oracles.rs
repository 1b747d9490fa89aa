#[cfg(target_os = "linux")]
mod restored;

#[cfg(target_os = "linux")]
pub use self::restored::restore_stays_inside;
use super::{in_pieces, in_slice};
use crate::{Encoder, Events};

/// Whatever is accepted is the only spelling of what it says: encoding its events gives the very
/// bytes. And it is accepted or refused alike, however it is cut.
pub fn identity(data: &[u8]) {
    let mut archive = Vec::with_capacity(data.len());
    let mut encoder = Encoder::new();
    let mut refused = None;
    for event in Events::new(data) {
        match event {
            Ok(event) => encoder
                .encode(event, &mut archive)
                .expect("what is decoded is in order"),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        None => {
            encoder.finish().expect("what is accepted is complete");
            assert!(archive == data, "accepted, but not the only spelling");
        }
        // Whatever was said before the error was spelt in the only way too.
        Some(_) => assert!(
            data.starts_with(&archive),
            "not the only spelling before an error"
        ),
    }

    let whole = in_slice(data);
    assert_eq!(in_pieces(data.chunks(1)), whole);
    let (head, tail) = data.split_at(data.len() / 2);
    assert_eq!(in_pieces([head, &[], tail]), whole);
}

/// A listing that is read from JSON is written and read the same, is no deeper than an archive, and
/// finds each of its nodes.
#[cfg(feature = "testing")]
pub fn listing(data: &[u8]) {
    let read = |json: &[u8]| {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        deserializer.disable_recursion_limit();
        <crate::Listing as serde::Deserialize>::deserialize(&mut deserializer)
    };
    let Ok(listing) = read(data) else {
        return;
    };
    let written = serde_json::to_vec(&listing).expect("what was text is text");
    assert_eq!(read(&written).expect("what was written"), listing);

    let mut nodes = vec![(Vec::new(), &listing.root)];
    while let Some((path, node)) = nodes.pop() {
        assert_eq!(listing.find(path.join(&b'/')), Some(node));
        assert!(path.len() < crate::Limits::NIX.depth);
        if let crate::Node::Directory(entries) = node {
            nodes.extend(entries.iter().map(|(name, node)| {
                let path = [&path[..], &[name.as_slice()]].concat();
                (path, node)
            }));
        }
    }
}

/// The readers over std's and over tokio's traits yield what a slice does, with buffers of any
/// size, save that they leave bytes behind the archive alone. The first byte chooses the size.
#[cfg(feature = "tokio")]
pub fn readers_agree(data: &[u8]) {
    use super::through_reader;
    use crate::Kind;

    let Some((&capacity, data)) = data.split_first() else {
        return;
    };
    let capacity = usize::from(capacity) + 1;
    let (seen, error) = in_slice(data);
    let expected = (seen, error.filter(|error| error.kind != Kind::Trailing));
    assert_eq!(through_reader(data, capacity), expected);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let source = tokio::io::BufReader::with_capacity(capacity, data);
    let found = runtime.block_on(async {
        let mut seen = Vec::new();
        let mut reader = crate::tokio::Reader::new(source);
        loop {
            match reader.next().await {
                Ok(Some(event)) => super::Seen::record(&mut seen, event),
                Ok(None) => return (seen, None),
                Err(crate::ReadError::Archive(error)) => return (seen, Some(error)),
                Err(error) => unreachable!("a slice does not fail: {error}"),
            }
        }
    });
    assert_eq!(found, expected);
}
