//! The text of every error, and of every difference.

use std::fmt::{Display, Write};

use derivation::json::read_show;
use derivation::{
    Derivation, DerivationFile, ModuloMemo, StoreDir, StorePath, WalkError, output_placeholder,
};

const PLAIN: &str = r#"Derive([("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","","")],[("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv",["dev","out"])],["/nix/store/1asahbnypkdyrp73xdk4yvbr4y02y8ym-notes.txt"],"x86_64-linux","/bin/sh",["-c","echo > $out"],[("builder","/bin/sh"),("name","plain")])"#;

/// One line for each wrong text: what is said about it.
fn table<T, E: Display>(rows: impl IntoIterator<Item = Result<T, E>>) -> String {
    let mut table = String::new();
    for row in rows {
        let Err(error) = row else {
            panic!("a row is right, after:\n{table}")
        };
        writeln!(table, "failed to parse: {error}").expect("writing to a string succeeds");
    }
    table
}

fn parse(text: &str) -> Result<Derivation<'_>, derivation::Error> {
    Derivation::parse(&StoreDir::NIX, text.as_bytes())
}

/// `PLAIN` with something else in the place of something.
fn altered(alterations: &[(&str, &str)]) -> String {
    table(alterations.iter().map(|(from, to)| {
        assert_eq!(PLAIN.matches(from).count(), 1, "{from}");
        parse(&PLAIN.replace(from, to)).map(Derivation::into_owned)
    }))
}

#[test]
fn structure() {
    insta::assert_snapshot!(altered(&[
        ("Derive(", ""),
        ("Derive(", "Derive"),
        ("Derive(", "DrvWithVersion(\"xp-dyn-drv\","),
        ("Derive(", "DrvWithVersion(\"xp-new\","),
        ("([(\"out\"", "((\"out\""),
        ("[(\"out\"", "[[\"out\""),
        ("(\"out\",", "(out,"),
        ("(\"out\",", "(\"out\";"),
        ("\"\")]", "\"\"]]"),
        ("\"\")]", "\"\")"),
        ("[\"dev\",\"out\"]", "([\"out\"],[(\"out\",[\"out\"])])"),
        ("\"plain\")])", "\"plain\")]"),
        ("\"plain\")])", "\"plain\")])\n"),
        ("\"plain\")])", "\"plain"),
        ("\"x86_64-linux\"", "\"\u{7f}\\x\""),
        ("echo > $out", "echo\n"),
        ("echo > $out", "\\e"),
    ]));
    insta::assert_snapshot!("empty", table([parse("")]));
    insta::assert_snapshot!(
        "not_utf8",
        table([Derivation::parse(
            &StoreDir::NIX,
            b"Derive([],[],[],\"\xff\",\"\",[],[])"
        )])
    );
    insta::assert_snapshot!(
        "other_store",
        table([Derivation::parse(&StoreDir::GUIX, PLAIN.as_bytes())])
    );
}

#[test]
fn dynamic_structure() {
    let dynamic = |wanted: &str| {
        let head = r#"DrvWithVersion("xp-dyn-drv",[],[("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv","#;
        format!(r#"{head}{wanted})],[],"x","y",[],[])"#)
    };
    let deep = format!("{}[]{}", "([],[(\"out\",".repeat(65), ")])".repeat(65));
    let texts = ["\"out\"", "([],[])", "[]", &deep].map(dynamic);
    insta::assert_snapshot!(table(texts.iter().map(|text| parse(text))));
}

#[test]
fn contents() {
    insta::assert_snapshot!(altered(&[
        (
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain",
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp"
        ),
        (
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain",
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-pl/ain"
        ),
        (
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain",
            "eb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain"
        ),
        ("(\"out\",", "(\"ou t\","),
        ("\"\",\"\")", "\"sha257\",\"\")"),
        ("\"\",\"\")", "\"sha256\",\"\")"),
        ("\"\",\"\")", "\"\",\"e3b0\")"),
        ("\"\",\"\")", "\"r:sha256\",\"e3b0\")"),
        (
            "\"\",\"\")",
            "\"text:md5\",\"d41d8cd98f00b204e9800998ecf8427e\")"
        ),
        (
            "\"/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain\",\"\",\"\"",
            "\"\",\"md5\",\"d41d8cd98f00b204e9800998ecf8427e\""
        ),
        ("[\"dev\",\"out\"]", "[\"out\",\"dev\"]"),
        ("[\"dev\",\"out\"]", "[\"out\",\"out\"]"),
        ("(\"builder\"", "(\"name\",\"\"),(\"builder\""),
        ("(\"builder\"", "(\"builder\",\"\"),(\"builder\""),
        ("[(\"out\"", "[(\"out\",\"\",\"\",\"\"),(\"out\""),
    ]));
}

#[test]
fn kinds_and_attributes() {
    let requirements = |outputs: &str, json: &str| {
        let json = json.replace('"', "\\\"");
        let text = format!(r#"Derive([{outputs}],[],[],"x","y",[],[("__json","{json}")])"#);
        let derivation = parse(&text).expect("well-formed");
        derivation.requirements()
    };
    let fixed = r#"("lib","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","md5","d41d8cd98f00b204e9800998ecf8427e")"#;
    let deferred = r#"("out","","","")"#;
    insta::assert_snapshot!(table([
        requirements("", "{}"),
        requirements(fixed, "{}"),
        requirements(&format!("{fixed},{deferred}"), "{}"),
        requirements(deferred, "[]"),
        requirements(deferred, "{"),
        requirements(deferred, r#"{"requiredSystemFeatures":"kvm"}"#),
        requirements(deferred, r#"{"preferLocalBuild":1}"#),
    ]));
    let text =
        b"Derive([(\"out\",\"\",\"\",\"\")],[],[],\"x\",\"y\",[],[(\"passAsFile\",\"\xff\")])";
    let derivation = Derivation::parse(&StoreDir::NIX, text).expect("well-formed");
    insta::assert_snapshot!("not_utf8_attribute", table([derivation.requirements()]));
    let string = requirements_string();
    insta::assert_snapshot!("not_a_string", table([string]));
}

fn requirements_string() -> Result<Option<String>, derivation::AttributeError> {
    let derivation =
        parse(r#"Derive([],[],[],"x","y",[],[("__json","{\"a\":1}")])"#).expect("well-formed");
    derivation
        .structured_attributes()
        .expect("JSON")
        .expect("there are some")
        .string("a")
}

#[test]
fn hashes_and_paths() {
    let file = DerivationFile::parse(&StoreDir::NIX, PLAIN.as_bytes()).expect("well-formed");
    let mut memo = ModuloMemo::new(StoreDir::NIX);
    let path: StorePath = "8zd0ck4kmdaf3hzbmvkmvrvpbi100dqg-plain.drv"
        .parse()
        .expect("a base name");
    let unknown = file
        .output_paths("plain", &memo)
        .expect_err("the input is not known");
    let name = DerivationFile::parse(&StoreDir::NIX, PLAIN.as_bytes())
        .expect("well-formed")
        .store_path(&StoreDir::NIX, "pl ain")
        .expect_err("no name");
    insta::assert_snapshot!(format!(
        "failed to compute: {unknown}\nfailed to compute: {name}"
    ));

    let input = r#"Derive([("out","/nix/store/1q82x5ah029adc0r5p06p3ivlzzh3hss-b","sha256","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],[],[],"x","y",[],[])"#;
    let itself = PLAIN.replace("4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv", path.base_name());
    let mixed = PLAIN.replace("[(\"out\"", "[(\"dev\",\"\",\"\",\"\"),(\"out\"");
    let walks: [Result<_, WalkError<String>>; 5] = [
        memo.walk(&path, |path| Err(format!("no such file: {path}"))),
        memo.walk(&path, |_| Ok(b"Derive".to_vec())),
        memo.walk(&path, |_| Ok(itself.clone().into_bytes())),
        memo.walk(&path, |_| Ok(mixed.clone().into_bytes())),
        memo.walk(&path, |at| {
            Ok(if at == &path { PLAIN } else { input }.as_bytes().to_vec())
        }),
    ];
    insta::assert_snapshot!("walks", table(walks));
}

#[test]
fn wrong_outputs() {
    let memo = ModuloMemo::new(StoreDir::NIX);
    let of = |outputs: &str, environment: &str| {
        let text = format!(
            r#"Derive([{outputs}],[],[],"x86_64-linux","/bin/sh",["-c","echo > $out"],[{environment}])"#
        );
        let file = DerivationFile::parse(&StoreDir::NIX, text.as_bytes()).expect("well-formed");
        let found = file
            .check_outputs("plain", &memo)
            .expect("there are no inputs");
        found
            .iter()
            .map(|mismatch| format!("{mismatch}\n"))
            .collect::<String>()
    };
    insta::assert_snapshot!(
        of(
            r#"("out","/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-plain","","")"#,
            r#"("out","/x")"#
        ) + &of(r#"("out","","","")"#, "")
    );
    let unknowable = r#"Derive([("out","/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-x","","")],[("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv",["out"])],[],"x","y",[],[])"#;
    let file = DerivationFile::parse(&StoreDir::NIX, unknowable.as_bytes()).expect("well-formed");
    let mut memo = ModuloMemo::new(StoreDir::NIX);
    memo.insert(
        "4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv"
            .parse()
            .expect("a base name"),
        derivation::HashModulo::Deferred,
    );
    insta::assert_snapshot!(
        "unknowable",
        file.check_outputs("x", &memo).expect("the input is known")[0].to_string()
    );
}

#[test]
fn json() {
    let one = |members: &str| {
        Derivation::from_json(
            &StoreDir::NIX,
            None,
            &format!(r#"{{"args":[],"builder":"b","system":"s",{members}}}"#),
        )
    };
    let outputs = |outputs: &str| one(&format!(r#""env":{{}},"outputs":{{"out":{outputs}}}"#));
    insta::assert_snapshot!(table([
        one(r#""env":{}"#),
        one(r#""env":{},"outputs":{},"more":1"#),
        one(r#""env":{},"outputs":{},"version":5"#),
        one(r#""env":{},"outputs":{},"inputSrcs":["/nix/store/x"]"#),
        one(r#""env":{"__json":"{}"},"outputs":{},"structuredAttrs":{}"#),
        one(r#""env":{"__json":"[]"},"outputs":{}"#),
        outputs(r#"{"method":"zip","hashAlgo":"sha256"}"#),
        outputs(r#"{"method":"nar","hashAlgo":"sha257"}"#),
        outputs(r#"{"method":"nar","hash":"sha256-xyz"}"#),
        outputs(r#"{"method":"nar","hash":"md5-1B2M2Y8AsgTpgAmY7PhCfg=="}"#),
        outputs(r#"{"impure":true}"#),
        outputs(
            r#"{"path":"/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","hashAlgo":"sha256"}"#
        ),
    ]));
    insta::assert_snapshot!(
        "shows",
        table([
            read_show(&StoreDir::NIX, "[]"),
            read_show(&StoreDir::NIX, r#"{"derivations":{},"version":9}"#)
        ])
    );
}

#[test]
fn differences() {
    let first = parse(PLAIN).expect("well-formed");
    let second = PLAIN
        .replace(
            "mb3qwppfv3dqqhk2qvirzzzind3dqmhp",
            "00000000000000000000000000000000",
        )
        .replace(
            "4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv",
            "4az4k8yz16sqj4xjsw8xk7v1s2wz0y3b-b.drv",
        )
        .replace(
            "1asahbnypkdyrp73xdk4yvbr4y02y8ym-notes.txt",
            "1asahbnypkdyrp73xdk4yvbr4y02y8ym-other.txt",
        )
        .replace("x86_64-linux", "i686-linux")
        .replace(
            "[\"-c\",\"echo > $out\"]",
            "[\"-c\",\"echo hello, dear readers of this long line > $out\",\"x\"]",
        )
        .replace(
            "(\"builder\",\"/bin/sh\")",
            "(\"at\",\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3b-b/x\")",
        );
    let second = parse(&second).expect("well-formed");
    let third = PLAIN
        .replace("[\"dev\",\"out\"]", "[\"out\"]")
        .replace("\"/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain\",\"\",\"\")", "\"\",\"r:sha256\",\"\")")
        .replace("(\"builder\",\"/bin/sh\")", "(\"__json\",\"{\\\"a\\\":1,\\\"b\\\":[]}\"),(\"at\",\"/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3c-b/x\")");
    let third = parse(&third).expect("well-formed");
    let fourth = third.print(&StoreDir::NIX);
    let fourth = String::from_utf8(fourth)
        .expect("UTF-8")
        .replace("\\\"a\\\":1", "\\\"a\\\":2.50")
        .replace("r:sha256", "sha1");
    let fourth = parse(&fourth).expect("well-formed");
    let fifth = String::from_utf8(third.print(&StoreDir::NIX))
        .expect("UTF-8")
        .replace(
            "4az4k8yz16sqj4xjsw8xk7v1s2wz0y3c-b/x",
            "00000000000000000000000000000000-b-1.0/x",
        );
    let fifth = parse(&fifth).expect("well-formed");
    let mut text = String::new();
    for (a, b) in [
        (&first, &second),
        (&first, &third),
        (&second, &third),
        (&third, &fourth),
        (&third, &fifth),
    ] {
        for difference in a.differences(b) {
            writeln!(
                text,
                "{}{difference}",
                if difference.is_consequence() {
                    "so "
                } else {
                    ""
                }
            )
            .expect("writing to a string succeeds");
        }
        text.push('\n');
    }
    insta::assert_snapshot!(text);
    assert!(first.differences(&first).is_empty());
}

#[test]
fn resolving() {
    let derivation = parse(PLAIN).expect("well-formed");
    let dynamic = parse(
        r#"DrvWithVersion("xp-dyn-drv",[("out","","","")],[("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv",([],[("out",["bin"])]))],[],"x","y",[],[])"#,
    );
    let dynamic = dynamic.expect("well-formed");
    let path = |name: &str| {
        format!("4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-{name}")
            .parse()
            .ok()
    };
    insta::assert_snapshot!(table([
        derivation.resolve_placeholders(&StoreDir::NIX, "plain", |_, _| None),
        dynamic.resolve_placeholders(&StoreDir::NIX, "plain", |_, _| path("b")),
        dynamic.resolve_placeholders(&StoreDir::NIX, "plain", |_, output| (output == "out")
            .then(|| path("c.drv"))?),
    ]));
    assert_eq!(output_placeholder("out").len(), 53);
}
