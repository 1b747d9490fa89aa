//! The oracle of the fuzz target.

use super::guix::{Conversation, Error, Event};

/// Whatever a guix-daemon writes, the same is understood of it in whichever pieces it comes, and
/// it ends in the same error. The first byte says how many requests are declined.
///
/// # Panics
/// If that does not hold for `data`.
pub fn guix_conversation(data: &[u8]) {
    let Some((&declined, bytes)) = data.split_first() else {
        return;
    };
    let whole = events(bytes, bytes.len().max(1), declined);
    for size in [1, 7] {
        assert_eq!(events(bytes, size, declined), whole, "pieces of {size}");
    }
    if let (seen, None) = &whole {
        let words = seen.iter().map(|event| match event {
            Event::Request(request) => request.derivation.len(),
            Event::Inputs(inputs) => inputs.inputs.len() + inputs.outputs.len(),
        });
        assert!(words.sum::<usize>() <= bytes.len());
    }
}

/// What is understood of `bytes` in pieces of `size`, and how it ends.
fn events(bytes: &[u8], size: usize, declined: u8) -> (Vec<Event>, Option<Error>) {
    let mut conversation = Conversation::new();
    let (mut events, mut requests) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        conversation.handle(piece);
        loop {
            match conversation.poll() {
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
                Ok(Some(event)) => {
                    if let Event::Request(_) = event {
                        if requests == u32::from(declined) {
                            conversation.accepted();
                        }
                        requests += 1;
                    }
                    events.push(event);
                }
            }
        }
    }
    let end = conversation.handle_end().err();
    (events, end)
}
