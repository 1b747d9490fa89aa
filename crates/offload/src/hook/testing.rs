//! The oracles of the fuzz targets.

use std::fmt::Debug;

use super::{Dialect, guix, nix};

/// Whatever a guix-daemon writes, the same is understood of it in whichever pieces it comes, and
/// it ends in the same error. The first byte says how many requests are declined.
///
/// # Panics
/// If that does not hold for `data`.
pub fn guix_conversation(data: &[u8]) {
    use guix::Event;
    let is_request = |event: &Event| matches!(event, Event::Request(_));
    conversation::<guix::Conversation>(data, is_request, |event| match event {
        Event::Request(request) => request.derivation.len(),
        Event::Inputs(inputs) => length(&inputs.inputs) + length(&inputs.outputs),
    });
}

/// The same for a nix-daemon, and its offers.
///
/// # Panics
/// If that does not hold for `data`.
pub fn nix_conversation(data: &[u8]) {
    use nix::Event;
    let is_offer = |event: &Event| matches!(event, Event::Offer(_));
    conversation::<nix::Conversation>(data, is_offer, |event| match event {
        Event::Settings(settings) => settings
            .iter()
            // What is not UTF-8 in a value stands there as one sign, which is longer.
            .map(|(name, value)| name.len() + value.chars().count())
            .sum(),
        Event::Offer(offer) => offer.derivation.len() + length(&offer.required_features),
        Event::Inputs(inputs) => length(&inputs.inputs) + length(&inputs.wanted),
    });
}

fn length(words: &[String]) -> usize {
    words.iter().map(String::len).sum()
}

/// `length` is how many bytes of an event were in the stream.
fn conversation<D>(data: &[u8], is_offer: fn(&D::Event) -> bool, length: fn(&D::Event) -> usize)
where
    D: Dialect<Event: Debug + PartialEq, Error: Debug + PartialEq>,
{
    let Some((&declined, bytes)) = data.split_first() else {
        return;
    };
    let whole = events::<D>(bytes, bytes.len().max(1), declined, is_offer);
    for size in [1, 7] {
        let pieces = events::<D>(bytes, size, declined, is_offer);
        assert_eq!(pieces, whole, "pieces of {size}");
    }
    if let (seen, None) = &whole {
        assert!(seen.iter().map(length).sum::<usize>() <= bytes.len());
    }
}

/// What is understood of `bytes` in pieces of `size`, and how it ends.
fn events<D: Dialect>(
    bytes: &[u8],
    size: usize,
    declined: u8,
    is_offer: fn(&D::Event) -> bool,
) -> (Vec<D::Event>, Option<D::Error>) {
    let mut conversation = D::default();
    let (mut events, mut offers) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        conversation.handle(piece);
        loop {
            match conversation.poll() {
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
                Ok(Some(event)) => {
                    if is_offer(&event) {
                        if offers == u32::from(declined) {
                            conversation.accepted();
                        }
                        offers += 1;
                    }
                    events.push(event);
                }
            }
        }
    }
    let end = conversation.handle_end().err();
    (events, end)
}
