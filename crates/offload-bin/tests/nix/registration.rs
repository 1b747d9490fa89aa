//! What a host's database says of a store path, read past its daemon: the layout is the same in Nix 2.3.7 to 2.34.8.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use testbed::Host;

/// All that is registered of a valid path, but for the time and the numbers of the rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registration {
    pub(crate) path: String,
    pub(crate) hash: String,
    pub(crate) deriver: Option<String>,
    pub(crate) nar_size: Option<i64>,
    pub(crate) ultimate: Option<i64>,
    pub(crate) signatures: Option<String>,
    pub(crate) content_address: Option<String>,
    /// Sorted.
    pub(crate) references: Vec<String>,
}

impl Registration {
    /// `None` if the path is not valid there.
    pub(crate) fn read(host: &Host, path: &str) -> Option<Self> {
        Self::read_in(host, Path::new("/nix/var/nix/db/db.sqlite"), path)
    }

    /// As [`read`](Self::read), of one database of the host's.
    pub(crate) fn read_in(host: &Host, database: &Path, path: &str) -> Option<Self> {
        let database = host.outside(database);
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("the database is there");
        let mut registration = connection
            .query_row("select * from ValidPaths where path = ?", [path], row)
            .optional()
            .expect("the row can be read")?;
        let mut query = connection
            .prepare(
                "select b.path from Refs join ValidPaths a on referrer = a.id \
                 join ValidPaths b on reference = b.id where a.path = ? order by b.path",
            )
            .expect("the tables are there");
        let references = query
            .query_map([path], |row| row.get(0))
            .expect("the query runs");
        registration.references = references.map(|path| path.expect("it is text")).collect();
        Some(registration)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Registration> {
    let time: i64 = row.get("registrationTime")?;
    // Seconds since 1970: after 2020, and not milliseconds.
    assert!(
        (1_577_836_800..100_000_000_000).contains(&time),
        "registered at {time}"
    );
    Ok(Registration {
        path: row.get("path")?,
        hash: row.get("hash")?,
        deriver: row.get("deriver")?,
        nar_size: row.get("narSize")?,
        ultimate: row.get("ultimate")?,
        signatures: row.get("sigs")?,
        content_address: row.get("ca")?,
        references: Vec::new(),
    })
}

/// Which output of a content-addressed derivation a path is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Realisation {
    /// `sha256:BASE16`: not a path, whatever the column is called.
    pub(crate) derivation_hash: String,
    pub(crate) output: String,
    pub(crate) signatures: String,
}

impl Realisation {
    /// All that `path` is.
    pub(crate) fn of(host: &Host, path: &str) -> Vec<Self> {
        let database = host.outside("/nix/var/nix/db/db.sqlite");
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("the database is there");
        let mut query = connection
            .prepare(
                "select drvPath, outputName, signatures from Realisations \
                 join ValidPaths on outputPath = ValidPaths.id where path = ?",
            )
            .expect("content-addressed derivations are on");
        let rows = query.query_map([path], |row| {
            Ok(Self {
                derivation_hash: row.get(0)?,
                output: row.get(1)?,
                signatures: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            })
        });
        rows.expect("the query runs")
            .map(|row| row.expect("it is text"))
            .collect()
    }
}
