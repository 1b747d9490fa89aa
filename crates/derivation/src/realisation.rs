//! By what the outputs of a floating derivation are known, beside their paths.

use store_path::{Hash, StoreDir};

use crate::modulo::sha256;
use crate::{Bytes, Derivation};

impl Derivation<'_> {
    /// The hash by which stores (Nix from 2.4 on) know the outputs of a floating derivation whose inputs are resolved: with an output's name
    /// behind it, it is the key of a realisation, `sha256:HEX!out`. It is that of the text with the variables empty that are named like outputs.
    ///
    /// `None` as long as there are input derivations: a daemon [resolves](Self::resolve_placeholders) them before it builds, and what results
    /// has the same realisations.
    ///
    /// ```
    /// use derivation::{Derivation, StoreDir};
    /// use store_path::HashFormat;
    ///
    /// let text = br#"Derive([("dev","","r:sha256",""),("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",["-c","echo floating > $out; echo dev > $dev"],[("PATH","/usr/bin:/bin"),("builder","/bin/sh"),("dev","/02qcpld1y6xhs5gz9bchpxaw0xdhmsp5dv88lh25r2ss44kh8dxz"),("name","floating"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"),("outputHashAlgo","sha256"),("outputHashMode","recursive"),("outputs","out dev"),("system","x86_64-linux")])"#;
    /// let floating = Derivation::parse(&StoreDir::NIX, text)?;
    /// let hash = floating.realisation_hash(&StoreDir::NIX).expect("it has no inputs");
    /// // As nix 2.8.0 has it in its table of realisations.
    /// assert_eq!(hash.print(HashFormat::Base16), "sha256:6884c71c3742fc5997b1f24dfa27b087ef011ddc020d4669ed1abd0f016c11de");
    /// # Ok::<(), derivation::Error>(())
    /// ```
    #[must_use]
    pub fn realisation_hash(&self, dir: &StoreDir) -> Option<Hash> {
        if !self.input_derivations.is_empty() {
            return None;
        }
        let is_output = |name: &Bytes<'_>| {
            let name = std::str::from_utf8(name);
            name.is_ok_and(|name| self.outputs.contains_key(name))
        };
        let environment = self.environment.iter().map(|(name, value)| {
            let value = if is_output(name) {
                Bytes::default()
            } else {
                value.clone()
            };
            (name.clone(), value)
        });
        let masked = Derivation {
            environment: environment.collect(),
            ..self.clone()
        };
        Some(Hash::sha256(sha256(&[&masked.print(dir)])))
    }
}
