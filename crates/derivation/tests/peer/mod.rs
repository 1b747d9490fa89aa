//! A folder of derivations as a real `nix` left it, and everything that can be known of them.

use std::collections::BTreeMap;
use std::path::Path;

use derivation::json::{read_show, write_show};
use derivation::{
    Derivation, DerivationFile, JsonForm, ModuloMemo, StoreDir, StorePath, derivation_name,
};

/// The bytes of derivations by their store paths.
pub(crate) struct Files(pub(crate) BTreeMap<StorePath, Vec<u8>>);

impl Files {
    /// All `.drv` files of a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in folder
            .read_dir()
            .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
        {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            if name.ends_with(".drv") {
                let text = std::fs::read(entry.path()).expect("a file");
                files.insert(name.parse().expect("a base name"), text);
            }
        }
        assert!(!files.is_empty(), "no derivation in {}", folder.display());
        Self(files)
    }

    /// Each file reads, prints the same, lies where it should, and names the right outputs.
    pub(crate) fn check(&self, dir: &StoreDir) {
        let mut memo = ModuloMemo::new(dir.clone());
        for (path, text) in &self.0 {
            let file = DerivationFile::parse(dir, text)
                .unwrap_or_else(|error| panic!("failed to parse {path}: {error}"));
            assert_eq!(file.derivation().print(dir), *text, "{path}");
            let name = derivation_name(path.as_path_ref()).expect("a derivation");
            assert_eq!(file.store_path(dir, name).as_ref(), Ok(path));
            assert_eq!(file.derivation().store_path(dir, name).as_ref(), Ok(path));
            for input in file.derivation().input_derivations.keys() {
                self.walk(&mut memo, &input.as_path_ref().to_store_path());
            }
            assert_eq!(file.check_outputs(name, &memo), Ok(vec![]), "{path}");
            file.derivation()
                .requirements()
                .unwrap_or_else(|error| panic!("failed to judge {path}: {error}"));
        }
    }

    fn walk(&self, memo: &mut ModuloMemo, path: &StorePath) {
        memo.walk(path, |path| self.0.get(path).cloned().ok_or("no such file"))
            .unwrap_or_else(|error| panic!("failed to hash: {error}"));
    }

    /// What the peer shows as JSON is what we show, and reads back as the files.
    pub(crate) fn check_json(&self, form: JsonForm, dir: &StoreDir, shown: &str) {
        let read = read_show(dir, shown).unwrap_or_else(|error| panic!("failed to read: {error}"));
        for (path, derivation) in &read {
            let text = String::from_utf8_lossy(&self.0[path]);
            assert_eq!(
                String::from_utf8_lossy(&derivation.print(dir)),
                text,
                "{path}"
            );
        }
        let parsed: Vec<_> = self
            .0
            .iter()
            .map(|(path, text)| {
                (
                    path,
                    Derivation::parse(dir, text).expect("it was parsed before"),
                )
            })
            .collect();
        let written = write_show(
            form,
            dir,
            parsed.iter().map(|(path, derivation)| (*path, derivation)),
        )
        .expect("UTF-8 throughout");
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        assert_eq!(value(&written), value(shown));
        assert_eq!(read.len(), self.0.len());
    }
}
