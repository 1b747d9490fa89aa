//! What stands in the coordinator's database after a build, beside what the distribution's own hook leaves there.

use std::collections::BTreeMap;

use rusqlite::{Connection, OpenFlags, types::Value};

use crate::bed::{Bed, STOCK_HOOK, bed, derivation, ours};

/// All columns of a row of `ValidPaths`, by name.
type Row = BTreeMap<String, Value>;

/// Of each valid path its row, without what differs between two equal builds, and what it refers to.
#[derive(Debug, PartialEq)]
struct Registered {
    rows: BTreeMap<String, Row>,
    references: Vec<(String, String)>,
    files: String,
}

fn registered(bed: &Bed, paths: &[String]) -> Registered {
    let coordinator = &bed.pair.coordinator;
    let database = coordinator.outside("/nix/var/nix/db/db.sqlite");
    let connection =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = BTreeMap::new();
    let mut references = Vec::new();
    for path in paths {
        let mut query = connection
            .prepare("select * from ValidPaths where path = ?")
            .unwrap();
        let columns: Vec<_> = query
            .column_names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let row = query.query_row([path], |row| {
            columns
                .iter()
                .enumerate()
                .map(|(index, name)| Ok((name.clone(), row.get(index)?)))
                .collect()
        });
        let mut row: Row = row.unwrap_or_else(|error| panic!("{path}: {error}"));
        for different in ["id", "registrationTime"] {
            assert!(
                matches!(row.remove(different), Some(Value::Integer(number)) if number > 0),
                "{different}"
            );
        }
        rows.insert(path.clone(), row);
        let mut query = connection
            .prepare(
                "select a.path, b.path from Refs join ValidPaths a on referrer = a.id \
                 join ValidPaths b on reference = b.id where a.path = ? order by b.path",
            )
            .unwrap();
        let found = query
            .query_map([path], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        references.extend(found.map(Result::unwrap));
    }
    let find = format!(
        "find {} -printf '%p|%y|%m|%s|%l|%T@|%U:%G\\n' | LC_ALL=C sort",
        paths.join(" ")
    );
    let files = coordinator.run(&["sh", "-c", &find]).unwrap();
    Registered {
        rows,
        references,
        files,
    }
}

fn delete(bed: &Bed, paths: &[String]) {
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    for host in bed.hosts() {
        host.run(&[&["nix-store", "--delete"], &paths[..]].concat())
            .unwrap();
    }
}

#[test]
fn rows_and_files_are_those_of_stock() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let several = derivation(
        "rows",
        "mkdir -p $out/bin; echo $src > $out/bin/x; chmod 700 $out/bin/x; ln -s $out $dev; echo $doc > $doc",
        "outputs = [ \"out\" \"dev\" \"doc\" ]; src = builtins.toFile \"rows-source\" \"\";",
    );
    let fixed = derivation(
        "rows-fixed",
        "printf fixed > $out",
        "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; outputHash = builtins.hashString \"sha256\" \"fixed\";",
    );
    let all =
        format!("let several = {several}; in [ several.out several.dev several.doc ({fixed}) ]");
    let stock = bed.build(&all, &["--option", "build-hook", STOCK_HOOK]);
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let by_stock = registered(&bed, &paths);
    assert_eq!(by_stock.rows.len(), 4);
    delete(&bed, &paths);
    assert_eq!(bed.built(&all), paths);
    let by_ours = registered(&bed, &paths);
    assert_eq!(by_ours, by_stock);
    bed.assert_clean();
}
