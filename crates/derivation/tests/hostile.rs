//! Inputs made to waste time or memory.

use std::time::{Duration, Instant};

use derivation::{Derivation, ErrorKind, ModuloMemo, StoreDir, StorePath};

/// Far more than any of these takes, even unoptimised on a busy machine, and far less than anything that is not linear would.
const PATIENCE: Duration = Duration::from_secs(60);

fn parse(text: &[u8]) -> Result<Derivation<'_>, derivation::Error> {
    let start = Instant::now();
    let parsed = Derivation::parse(&StoreDir::NIX, text);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    parsed
}

#[test]
fn ten_mebibytes_of_opening_brackets() {
    for byte in *b"[(\"\\" {
        assert!(parse(&vec![byte; 10 << 20]).is_err());
        let text = [&b"Derive("[..], &vec![byte; 10 << 20]].concat();
        assert!(parse(&text).is_err());
        let dynamic = [&b"DrvWithVersion(\"xp-dyn-drv\",[],[(\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv\","[..], &vec![byte; 10 << 20]].concat();
        assert!(parse(&dynamic).is_err());
    }
}

#[test]
fn dynamic_inputs_without_end() {
    let mut text = b"DrvWithVersion(\"xp-dyn-drv\",[],[(\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv\",".to_vec();
    text.extend(b"([],[(\"out\",".repeat(100_000));
    assert_eq!(
        parse(&text).map_err(|error| error.kind),
        Err(ErrorKind::TooDeep)
    );
}

#[test]
fn a_million_outputs() {
    let mut text = b"Derive([".to_vec();
    for index in 0..1_000_000 {
        text.extend(
            format!(
                "{}(\"{index:07}\",\"\",\"\",\"\")",
                if index > 0 { "," } else { "" }
            )
            .bytes(),
        );
    }
    text.extend(b"],[],[],\"x\",\"y\",[],[])");
    let derivation = parse(&text).expect("it is well-formed");
    assert_eq!(derivation.outputs.len(), 1_000_000);
    assert_eq!(derivation.print(&StoreDir::NIX), text);
}

#[test]
fn ten_mebibytes_of_escapes() {
    let text = [
        &b"Derive([],[],[],\"x\",\""[..],
        &b"\\n".repeat(5 << 20),
        b"\",[],[])",
    ]
    .concat();
    assert_eq!(
        parse(&text).expect("it is well-formed").builder.len(),
        5 << 20
    );
}

/// A chain of derivations as deep as no stack is.
#[test]
fn a_chain_of_fifty_thousand() {
    let path = |index: usize| {
        let mut digest = [0; 20];
        digest[..8].copy_from_slice(&index.to_le_bytes());
        StorePath::from_parts(digest, "chain.drv").expect("a store path")
    };
    let text = |at: &StorePath| {
        let index = usize::from_le_bytes(at.digest()[..8].try_into().expect("eight bytes"));
        let input = if index == 0 {
            String::new()
        } else {
            format!("(\"{}\",[\"out\"])", StoreDir::NIX.print(&path(index - 1)))
        };
        let output = "/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-chain";
        format!("Derive([(\"out\",\"{output}\",\"\",\"\")],[{input}],[],\"x\",\"y\",[],[])")
            .into_bytes()
    };
    let start = Instant::now();
    ModuloMemo::new(StoreDir::NIX)
        .walk(&path(50_000), |path| Ok::<_, ()>(text(path)))
        .expect("all are well-formed");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
