use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use store_path::StoreDir;
use worker_protocol::client::{Options, Progress, Session};
use worker_protocol::operation::{Operation, QueryPathInfo};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{Context, NarHash, PathInfo, Value, Version};

use crate::LAST;
use crate::daemon::path;

/// 20,000 path infos: as values, and as replies of a session that reads 64 KiB at a time.
pub(crate) fn bench(criterion: &mut Criterion) {
    const COUNT: u32 = 20_000;
    let context = Context::new(StoreDir::NIX, Version::nix(35));
    let (mut values, mut replies) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::new(&mut replies);
    encoder.word(0x6478_696f).word(context.version.to_word());
    encoder.text("2.19").word(1).word(LAST);
    for info in (0..COUNT).map(info) {
        info.encode(&mut Encoder::new(&mut values), &context);
        let mut encoder = Encoder::new(&mut replies);
        encoder.word(LAST);
        QueryPathInfo::encode_reply(&Some(info), &mut encoder, &context);
    }
    let mut group = criterion.benchmark_group("worker-protocol/decode");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            let mut decoder = Decoder::new(&values);
            for _ in 0..COUNT {
                let info = PathInfo::decode(&mut decoder, &context);
                black_box(info.expect("it was just encoded"));
            }
        });
    });
    group.bench_function("ours, as replies in a session", |bencher| {
        bencher.iter_batched(
            || queued_session(COUNT),
            |(session, tickets)| read_replies(session, tickets, &replies),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("ceiling: copy", |bencher| bencher.iter(|| values.clone()));
    group.finish();
}

type Tickets = Vec<worker_protocol::client::Ticket<QueryPathInfo>>;

fn queued_session(count: u32) -> (Session, Tickets) {
    let mut session = Session::new(Options {
        assume: Some(Version::nix(35)),
        ..Options::nix(StoreDir::NIX)
    });
    let asked = (0..count).map(|number| QueryPathInfo { path: path(number) });
    let tickets = asked
        .map(|ask| session.queue(&ask).expect("queued"))
        .collect();
    (session, tickets)
}

fn read_replies(mut session: Session, tickets: Tickets, mut bytes: &[u8]) -> Session {
    for ticket in tickets {
        loop {
            match session.poll_reply(ticket).expect("it follows the protocol") {
                Progress::Ready(info) => break drop(black_box(info)),
                Progress::NeedBytes(_) => {
                    let count = bytes.len().min(64 << 10);
                    session.receive(&bytes[..count]);
                    bytes = &bytes[count..];
                }
                other => panic!("no daemon said {other:?}"),
            }
        }
    }
    session
}

/// What a store of packages knows: five references, one signature.
fn info(number: u32) -> PathInfo {
    let signature = format!("cache.example.org-1:{}", "c2lnbmF0dXJl".repeat(7));
    PathInfo::new(NarHash::of(&number.to_le_bytes()), 123_456)
        .with_deriver(path(number + 1_000_000))
        .with_references((0..5).map(|step| path(number + step)))
        .with_registration_time(1_700_000_000 + u64::from(number))
        .with_signatures([signature.as_str()])
}
