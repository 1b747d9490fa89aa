//! Inputs made to waste time or memory. Memory is counted; time is not, but what is not linear here would not end today.

use allocation_counter::measure;
use derivation::{Derivation, ErrorKind, ModuloMemo, StoreDir, StorePath};

/// Parses, in memory that is at most `times` what the text takes.
fn parse(text: &[u8], times: u64) -> Result<Derivation<'_>, derivation::Error> {
    let mut parsed = None;
    let memory = measure(|| parsed = Some(Derivation::parse(&StoreDir::NIX, text)));
    let limit = times * text.len() as u64 + 1000;
    assert!(memory.bytes_max < limit, "{} of {limit}", memory.bytes_max);
    parsed.expect("it was parsed")
}

#[test]
fn ten_mebibytes_of_opening_brackets() {
    for byte in *b"[(\"\\" {
        assert!(parse(&vec![byte; 10 << 20], 0).is_err());
        let text = [&b"Derive("[..], &vec![byte; 10 << 20]].concat();
        assert!(parse(&text, 0).is_err());
        let dynamic = [&b"DrvWithVersion(\"xp-dyn-drv\",[],[(\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv\","[..], &vec![byte; 10 << 20]].concat();
        assert!(parse(&dynamic, 0).is_err());
    }
}

#[test]
fn dynamic_inputs_without_end() {
    let mut text = b"DrvWithVersion(\"xp-dyn-drv\",[],[(\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv\",".to_vec();
    text.extend(b"([],[(\"out\",".repeat(100_000));
    assert_eq!(
        parse(&text, 0).map_err(|error| error.kind),
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
    // 24 bytes of text become an entry of 128, in a list that doubles when it is full.
    let derivation = parse(&text, 20).expect("it is well-formed");
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
        parse(&text, 3).expect("it is well-formed").builder.len(),
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
    ModuloMemo::new(StoreDir::NIX)
        .walk(&path(50_000), |path| Ok::<_, ()>(text(path)))
        .expect("all are well-formed");
}
