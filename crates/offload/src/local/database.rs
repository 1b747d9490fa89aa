//! Nix's SQLite database: what is valid, and registering what was brought in.
//!
//! Direct access, because every way through a daemon waits for the output locks that the daemon
//! which called us holds. Schema version 10 is what nix 2.3.7, 2.8.0, 2.26.3 and 2.34.8 all have.
//!
//! Guix's database is an older one of the same kind, schema version 7 in guix 1.2.0 and 1.5.0: it
//! lacks the last three columns of ValidPaths. It is only read.

mod register;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use store_path::{Hash, StoreDir, StorePath};
use worker_protocol::{NarHash, PathInfo, wire::Text};

/// The schema version of Nix's that this file knows, as it stands in `STATE/db/schema`.
const SCHEMA: &str = "10";
/// That of Guix's.
const GUIX_SCHEMA: &str = "7";
/// What is known of realisations; the table is the same in nix 2.8.0, 2.26.3 and 2.34.8.
const CA_SCHEMA: &str = "one with a table Realisations";

/// Why the store's database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite failed.
    #[error("failed to {action} in {}: {source}", path.display())]
    Sqlite {
        /// What was being done.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Others write to it without a pause.
    #[error("failed to {action} in {} within {} s (bound database): another process has locked it", path.display(), patience.as_secs_f32())]
    Busy {
        /// What was being done.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The schema's version is not one that is known.
    #[error("database schema is version {found:?} and only {known} is known: {}", path.display())]
    Schema {
        /// The file that says so.
        path: PathBuf,
        /// What is known.
        known: &'static str,
        /// What it says; empty if it cannot be read.
        found: String,
    },
    /// A row holds something that is not valid.
    #[error("{column} of {store_path} in {} is not valid: {text:?}", path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// Which path's row.
        store_path: String,
        /// Which column.
        column: &'static str,
        /// What it holds.
        text: String,
    },
    /// Something to be registered refers to a path that is not valid here.
    #[error("failed to register {referrer}: it refers to {reference}, which is not valid here")]
    Reference {
        /// The path to be registered.
        referrer: String,
        /// What it refers to.
        reference: String,
    },
}

impl DatabaseError {
    fn new(action: &'static str, place: &Place, source: rusqlite::Error) -> Self {
        let Place { path, patience } = place.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => DatabaseError::Busy {
                action,
                path,
                patience,
            },
            _ => DatabaseError::Sqlite {
                action,
                path,
                source,
            },
        }
    }

    /// Whether there is a database, of a schema that is not known.
    #[must_use]
    pub fn is_of_another_schema(&self) -> bool {
        matches!(self, DatabaseError::Schema { found, .. } if !found.is_empty())
    }
}

/// Where a database is, and how long whoever writes to it is waited for.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    patience: Duration,
}

/// An open database. See the module's text.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    place: Place,
    store_dir: StoreDir,
    /// The select list of [`Database::read_row`].
    columns: &'static str,
}

impl Database {
    /// Opens `STATE/db/db.sqlite` after checking the schema's version. Whoever else writes to it is waited for
    /// for `patience`, here and later.
    ///
    /// # Errors
    /// When it is missing, or of another version.
    pub fn open(
        state_dir: &Path,
        store_dir: StoreDir,
        patience: Duration,
    ) -> Result<Self, DatabaseError> {
        let directory = state_dir.join("db");
        check_schema(&directory, SCHEMA)?;
        let place = Place {
            path: directory.join("db.sqlite"),
            patience,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let columns = "id, hash, registrationTime, deriver, narSize, ultimate, sigs, ca";
        let database = Self::connect(place, flags, columns, store_dir)?;
        database.check_realisations(directory.join("ca-schema"))?;
        Ok(database)
    }

    /// Whether realisations can be registered, where the daemon has ever had them: they have a version of their own.
    fn check_realisations(&self, path: PathBuf) -> Result<(), DatabaseError> {
        let Ok(found) = std::fs::read_to_string(&path) else {
            return Ok(());
        };
        match self.connection.prepare_cached(register::INSERT_REALISATION) {
            Ok(_) => Ok(()),
            // No such table, or column.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                Err(DatabaseError::Schema {
                    path,
                    known: CA_SCHEMA,
                    found: found.trim().to_owned(),
                })
            }
            Err(error) => Err(self.failed("look for realisations", error)),
        }
    }

    /// Opens Guix's database in `directory` (`/var/guix/db`) for reading. `patience` as above.
    ///
    /// # Errors
    /// When it is missing, or of another version.
    pub fn open_guix(
        directory: &Path,
        store_dir: StoreDir,
        patience: Duration,
    ) -> Result<Self, DatabaseError> {
        check_schema(directory, GUIX_SCHEMA)?;
        let place = Place {
            path: directory.join("db.sqlite"),
            patience,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let columns = "id, hash, registrationTime, deriver, narSize, NULL, NULL, NULL";
        Self::connect(place, flags, columns, store_dir)
    }

    fn connect(
        place: Place,
        flags: OpenFlags,
        columns: &'static str,
        store_dir: StoreDir,
    ) -> Result<Self, DatabaseError> {
        let opened = Connection::open_with_flags(&place.path, flags).and_then(|connection| {
            connection.busy_timeout(place.patience)?;
            // As Nix sets it up: in WAL mode this loses no transaction but to a power cut.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Database {
                connection,
                place,
                store_dir,
                columns,
            }),
            Err(source) => Err(DatabaseError::new("open the database", &place, source)),
        }
    }

    /// What is known of `path`, or `None` if it is not valid.
    ///
    /// # Errors
    /// When the database cannot be read, or holds nonsense.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, DatabaseError> {
        let full = self.store_dir.print(path);
        let Some((id, row)) = self
            .read_row(&full)
            .map_err(|source| self.failed("look up a path", source))?
        else {
            return Ok(None);
        };
        let references = self
            .read_references(id)
            .map_err(|source| self.failed("look up references", source))?;
        let wrong = |column, text: &str| DatabaseError::Row {
            path: self.place.path.clone(),
            store_path: full.clone(),
            column,
            text: text.to_owned(),
        };
        let parse = |column, text: &str| self.parse_column(&full, column, text);
        let nar_hash = Hash::parse(&row.hash, None)
            .ok()
            .and_then(NarHash::from_hash)
            .ok_or_else(|| wrong("hash", &row.hash))?;
        let mut info = PathInfo::new(nar_hash, row.nar_size)
            .with_registration_time(row.registration_time)
            .with_ultimate(row.ultimate)
            .with_signatures(row.signatures.split_whitespace().map(Text::from));
        info.deriver = match row.deriver.as_deref() {
            None | Some("") => None,
            Some(text) => Some(parse("deriver", text)?),
        };
        info.references = references
            .iter()
            .map(|text| parse("reference", text))
            .collect::<Result<_, _>>()?;
        info.content_address = match row.content_address.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong("ca", text))?),
        };
        Ok(Some(info))
    }

    fn read_row(&self, full: &str) -> rusqlite::Result<Option<(i64, Row)>> {
        let columns = self.columns;
        let select = format!("SELECT {columns} FROM ValidPaths WHERE path = ?1");
        self.connection
            .prepare_cached(&select)?
            .query_row([full], |row| {
                let read = Row {
                    hash: row.get(1)?,
                    registration_time: row.get(2)?,
                    deriver: row.get(3)?,
                    nar_size: row.get::<_, Option<u64>>(4)?.unwrap_or(0),
                    ultimate: row.get::<_, Option<i64>>(5)? == Some(1),
                    signatures: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
                    content_address: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
                };
                Ok((row.get(0)?, read))
            })
            .optional()
    }

    fn read_references(&self, id: i64) -> rusqlite::Result<Vec<String>> {
        let mut select = self.connection.prepare_cached(
            "SELECT path FROM Refs JOIN ValidPaths ON reference = id WHERE referrer = ?1",
        )?;
        select.query_map([id], |row| row.get(0))?.collect()
    }

    /// Those of `paths` that are valid.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn valid(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let mut valid = BTreeSet::new();
        for path in paths {
            let row = self
                .read_row(&self.store_dir.print(path))
                .map_err(|source| self.failed("look up a path", source))?;
            if row.is_some() {
                valid.insert(path.clone());
            }
        }
        Ok(valid)
    }

    /// What `path` refers to: nothing if it is not valid.
    ///
    /// # Errors
    /// When the database cannot be read, or holds nonsense.
    pub fn references(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let full = self.store_dir.print(path);
        let references = self
            .read_references_of(&full)
            .map_err(|source| self.failed("look up references", source))?;
        let parse = |text: &String| self.parse_column(&full, "reference", text);
        references.iter().map(parse).collect()
    }

    /// The outputs of the derivation at `path` whose paths are known, by name. None where the
    /// derivation is not valid here.
    ///
    /// # Errors
    /// When the database cannot be read, or holds nonsense.
    pub fn outputs(&self, path: &StorePath) -> Result<BTreeMap<String, StorePath>, DatabaseError> {
        let full = self.store_dir.print(path);
        let rows = self
            .read_outputs(&full)
            .map_err(|source| self.failed("look up outputs", source))?;
        let outputs = rows.into_iter().map(|(name, text)| {
            let path = self.parse_column(&full, "output", &text)?;
            Ok((name, path))
        });
        outputs.collect()
    }

    fn read_outputs(&self, full: &str) -> rusqlite::Result<Vec<(String, String)>> {
        let mut select = self.connection.prepare_cached(
            "SELECT outputs.id, outputs.path FROM DerivationOutputs AS outputs \
             JOIN ValidPaths ON drv = ValidPaths.id WHERE ValidPaths.path = ?1",
        )?;
        let rows = select.query_map([full], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    fn read_references_of(&self, full: &str) -> rusqlite::Result<Vec<String>> {
        let mut select = self.connection.prepare_cached(
            "SELECT target.path FROM ValidPaths AS source \
             JOIN Refs ON referrer = source.id JOIN ValidPaths AS target ON reference = target.id \
             WHERE source.path = ?1",
        )?;
        select.query_map([full], |row| row.get(0))?.collect()
    }

    fn parse_column(
        &self,
        full: &str,
        column: &'static str,
        text: &str,
    ) -> Result<StorePath, DatabaseError> {
        self.store_dir.parse(text).map_err(|_| DatabaseError::Row {
            path: self.place.path.clone(),
            store_path: full.to_owned(),
            column,
            text: text.to_owned(),
        })
    }

    fn failed(&self, action: &'static str, source: rusqlite::Error) -> DatabaseError {
        DatabaseError::new(action, &self.place, source)
    }
}

fn check_schema(directory: &Path, known: &'static str) -> Result<(), DatabaseError> {
    let path = directory.join("schema");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found.trim() == known {
        return Ok(());
    }
    Err(DatabaseError::Schema {
        path,
        known,
        found: found.trim().to_owned(),
    })
}

/// The columns of one row of ValidPaths.
struct Row {
    hash: String,
    registration_time: u64,
    deriver: Option<String>,
    nar_size: u64,
    ultimate: bool,
    signatures: String,
    content_address: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::create_database;

    fn open(state: &Path) -> Result<Database, DatabaseError> {
        Database::open(state, StoreDir::NIX, Duration::from_secs(1))
    }

    #[test]
    fn realisations_of_another_kind_are_left_to_nix() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        create_database(state).unwrap();
        std::fs::write(state.join("db/ca-schema"), "4").unwrap();
        let tables = rusqlite::Connection::open(state.join("db/db.sqlite")).unwrap();
        let known = "CREATE TABLE Realisations (drvPath, outputName, outputPath, signatures)";
        tables.execute_batch(known).unwrap();
        open(state).unwrap();
        let renamed = "ALTER TABLE Realisations RENAME TO BuildTrace";
        tables.execute_batch(renamed).unwrap();
        let error = open(state).unwrap_err();
        assert!(error.is_of_another_schema());
        insta::assert_snapshot!(
            error.to_string().replace(&state.display().to_string(), "STATE"),
            @r#"database schema is version "4" and only one with a table Realisations is known: STATE/db/ca-schema"#
        );
        // Where nobody has ever had any, none will come.
        std::fs::remove_file(state.join("db/ca-schema")).unwrap();
        open(state).unwrap();
    }

    #[test]
    fn whoever_waits_for_another_writer_says_so() {
        let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let place = Place {
            path: "db.sqlite".into(),
            patience: Duration::from_millis(2500),
        };
        let told = |code| DatabaseError::new("register outputs", &place, error(code));
        let texts = [rusqlite::ffi::SQLITE_BUSY, rusqlite::ffi::SQLITE_FULL].map(told);
        insta::assert_snapshot!(texts.map(|error| error.to_string()).join("\n"), @r"
        failed to register outputs in db.sqlite within 2.5 s (bound database): another process has locked it
        failed to register outputs in db.sqlite: Error code 13: database or disk is full
        ");
    }
}
