//! Registering what was brought in.

use rusqlite::{Connection, OptionalExtension, params};
use store_path::{ContentAddress, HashFormat, StoreDir};
use worker_protocol::{Realisation, ValidPathInfo};

use super::{Database, DatabaseError};

impl Database {
    /// Registers `paths` as valid, and which outputs they realise: all or none. They may refer to
    /// each other, and to what is valid already. What is known already stays as it is.
    ///
    /// # Errors
    /// When a reference is not valid, or the database cannot be written; nothing is registered.
    pub fn register(
        &mut self,
        paths: &[ValidPathInfo],
        realisations: &[Realisation],
    ) -> Result<(), DatabaseError> {
        let place = self.place.clone();
        let store_dir = self.store_dir.clone();
        let failed = |source| DatabaseError::new("register outputs", &place, source);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        for info in paths {
            insert_path(&transaction, &store_dir, info).map_err(failed)?;
        }
        for info in paths {
            for reference in &info.info.references {
                let (referrer, reference) =
                    (store_dir.print(&info.path), store_dir.print(reference));
                let inserted =
                    insert_reference(&transaction, &referrer, &reference).map_err(failed)?;
                if !inserted {
                    return Err(DatabaseError::Reference {
                        referrer,
                        reference,
                    });
                }
            }
        }
        for realisation in realisations {
            insert_realisation(&transaction, &store_dir, realisation).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}

/// What is absent is NULL, as when stock Nix registers; `ultimate` too, as we built nothing here.
fn insert_path(
    connection: &Connection,
    store_dir: &StoreDir,
    valid: &ValidPathInfo,
) -> rusqlite::Result<()> {
    let info = &valid.info;
    let signatures: Vec<_> = info
        .signatures
        .iter()
        .map(|text| text.to_string_lossy())
        .collect();
    let mut insert = connection.prepare_cached(
        "INSERT INTO ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
         VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7) ON CONFLICT (path) DO NOTHING",
    )?;
    insert.execute(params![
        store_dir.print(&valid.path),
        info.nar_hash.hash().print(HashFormat::Base16),
        info.registration_time,
        info.deriver
            .as_ref()
            .map(|deriver| store_dir.print(deriver)),
        info.nar_size,
        (!signatures.is_empty()).then(|| signatures.join(" ")),
        info.content_address.as_ref().map(ContentAddress::to_string),
    ])?;
    Ok(())
}

/// Whether both paths are valid, so that the reference stands now.
fn insert_reference(
    connection: &Connection,
    referrer: &str,
    reference: &str,
) -> rusqlite::Result<bool> {
    let id = |path: &str| {
        connection
            .prepare_cached("SELECT id FROM ValidPaths WHERE path = ?1")?
            .query_row([path], |row| row.get::<_, i64>(0))
            .optional()
    };
    let (Some(referrer), Some(reference)) = (id(referrer)?, id(reference)?) else {
        return Ok(false);
    };
    connection
        .prepare_cached("INSERT OR IGNORE INTO Refs (referrer, reference) VALUES (?1, ?2)")?
        .execute([referrer, reference])?;
    Ok(true)
}

/// The derivation's hash, the output's name and path, and signatures.
pub(super) const INSERT_REALISATION: &str = "INSERT INTO Realisations (drvPath, outputName, outputPath, signatures) \
     SELECT ?1, ?2, id, ?4 FROM ValidPaths WHERE path = ?3 AND NOT EXISTS \
     (SELECT 1 FROM Realisations WHERE drvPath = ?1 AND outputName = ?2)";

/// The table is there where `ca-derivations` is on. `drvPath` holds the derivation's hash, not its
/// path (2.8.0, 2.26.3 and 2.34.8).
fn insert_realisation(
    connection: &Connection,
    store_dir: &StoreDir,
    realisation: &Realisation,
) -> rusqlite::Result<()> {
    let derivation = realisation.id.derivation_hash.print(HashFormat::Base16);
    let signatures: Vec<_> = realisation.signatures.iter().map(String::as_str).collect();
    let mut insert = connection.prepare_cached(INSERT_REALISATION)?;
    insert.execute(params![
        derivation,
        realisation.id.output,
        store_dir.print(&realisation.out_path),
        signatures.join(" "),
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use store_path::{HashAlgorithm, StorePath};
    use worker_protocol::{NarHash, PathInfo, wire::Text};

    use super::*;

    fn path(name: &str) -> StorePath {
        let digest = HashAlgorithm::Sha1.hash(name.as_bytes());
        StorePath::from_parts(digest.digest().try_into().unwrap(), name).unwrap()
    }

    fn valid(name: &str, references: &[&str]) -> ValidPathInfo {
        ValidPathInfo {
            path: path(name),
            info: PathInfo::new(NarHash::of(name.as_bytes()), 120)
                .with_deriver(path("some.drv"))
                .with_references(references.iter().map(|name| path(name)))
                .with_registration_time(1_700_000_000)
                .with_signatures(["key-1:AAAA", "key-2:BBBB"].into_iter().map(Text::from)),
        }
    }

    fn open() -> (tempfile::TempDir, Database) {
        let state = tempfile::tempdir().unwrap();
        crate::embedded::create_database(state.path()).unwrap();
        let database = Database::open(
            state.path(),
            StoreDir::NIX,
            std::time::Duration::from_secs(1),
        )
        .unwrap();
        (state, database)
    }

    #[test]
    fn what_is_registered_is_known_with_all_of_it() {
        let (_state, mut database) = open();
        // Two that refer to each other and to themselves, as the outputs of one build may.
        let mut out = valid("out", &["out", "dev"]);
        out.info.content_address = Some(
            "fixed:r:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
                .parse()
                .unwrap(),
        );
        let mut dev = valid("dev", &["out"]);
        (dev.info.deriver, dev.info.signatures) = (None, BTreeSet::new());
        database.register(&[out.clone(), dev.clone()], &[]).unwrap();
        assert_eq!(
            database.path_info(&out.path).unwrap(),
            Some(out.info.clone())
        );
        assert_eq!(database.path_info(&dev.path).unwrap(), Some(dev.info));
        assert_eq!(database.path_info(&path("none")).unwrap(), None);
        let asked = ["out", "none"].map(path).into();
        assert_eq!(database.valid(&asked).unwrap(), [path("out")].into());

        // One that is valid already stays as it is.
        let mut again = out.clone();
        again.info.nar_size += 1;
        database.register(&[again], &[]).unwrap();
        assert_eq!(database.path_info(&out.path).unwrap(), Some(out.info));
    }

    #[test]
    fn all_or_none() {
        let (_state, mut database) = open();
        let error = database
            .register(&[valid("a", &[]), valid("b", &["a", "missing"])], &[])
            .unwrap_err();
        assert!(matches!(error, DatabaseError::Reference { .. }), "{error}");
        assert_eq!(database.path_info(&path("a")).unwrap(), None);
        database.register(&[valid("a", &[])], &[]).unwrap();
    }
}
