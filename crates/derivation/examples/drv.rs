//! `drv`: look at derivations.
//!
//! ```text
//! drv show FILE                 what it says, as JSON (nix derivation show, version 4)
//! drv check FILE...             whether it is well-formed, where it should lie, and whether it names the right outputs
//! drv diff FIRST SECOND         why two of them differ, down to the inputs that are at hand
//! drv requirements FILE         what it demands of a machine
//! ```
//! A FILE is `DIR/HASH-NAME.drv`; inputs are looked for beside it. The store's directory is that of the environment's `NIX_STORE_DIR`, else
//! `/gnu/store` if FILE is there, else `/nix/store`. Exits with 0, with 1 if something is wrong or differs, with 2 if it cannot tell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use derivation::json::write_show;
use derivation::{
    Derivation, DerivationFile, Difference, HashModulo, JsonForm, Kind, ModuloMemo, Part, StoreDir,
    StorePath, derivation_name,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["show", file] => show(file),
        ["check", ref files @ ..] if !files.is_empty() => check_all(files),
        ["diff", first, second] => diff(first, second),
        ["requirements", file] => requirements(file),
        _ => {
            eprintln!(
                "usage: drv show FILE | check FILE... | diff FIRST SECOND | requirements FILE"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drv: failed to {error}");
            ExitCode::from(2)
        }
    }
}

/// A derivation's file and what its name says.
struct Opened {
    dir: StoreDir,
    folder: PathBuf,
    path: StorePath,
    text: Vec<u8>,
}

impl Opened {
    fn open(file: &str) -> Result<Self, Failure> {
        let name = Path::new(file)
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or(format!("see a name in {file}"))?;
        let folder = Path::new(file)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let dir = match std::env::var("NIX_STORE_DIR") {
            Ok(dir) => StoreDir::new(dir)?,
            Err(_) if folder == Path::new(StoreDir::GUIX.as_str()) => StoreDir::GUIX,
            Err(_) => StoreDir::NIX,
        };
        let path = name
            .parse()
            .map_err(|error| format!("read the name of {file}: {error}"))?;
        let text = std::fs::read(file).map_err(|error| format!("read {file}: {error}"))?;
        Ok(Self {
            dir,
            folder,
            path,
            text,
        })
    }

    /// One of its inputs.
    fn input(&self, path: &StorePath) -> Result<Self, Failure> {
        Self::open(&self.folder.join(path.base_name()).to_string_lossy())
    }

    fn parse(&self) -> Result<DerivationFile<'_>, Failure> {
        DerivationFile::parse(&self.dir, &self.text)
            .map_err(|error| format!("parse {}: {error}", self.path).into())
    }

    fn name(&self) -> Result<&str, Failure> {
        derivation_name(self.path.as_path_ref())
            .ok_or_else(|| format!("see a derivation in {}", self.path).into())
    }
}

fn show(file: &str) -> Result<bool, Failure> {
    let opened = Opened::open(file)?;
    let parsed = opened.parse()?;
    println!(
        "{}",
        write_show(
            JsonForm::Version4,
            &opened.dir,
            [(&opened.path, parsed.derivation())]
        )?
    );
    Ok(true)
}

fn check_all(files: &[&str]) -> Result<bool, Failure> {
    let mut right = true;
    for file in files {
        let found = check(&Opened::open(file)?)?;
        for wrong in &found {
            println!("{file}: {wrong}");
        }
        right &= found.is_empty();
    }
    Ok(right)
}

/// What is wrong with a file.
fn check(opened: &Opened) -> Result<Vec<String>, Failure> {
    let file = match opened.parse() {
        Ok(file) => file,
        Err(error) => return Ok(vec![format!("failed to {error}")]),
    };
    let mut wrong = Vec::new();
    let expected = file.store_path(&opened.dir, opened.name()?)?;
    if expected != opened.path {
        wrong.push(format!("file should be called {expected}"));
    }
    let mut memo = ModuloMemo::new(opened.dir.clone());
    if file.derivation().kind()? == Kind::InputAddressed {
        for input in file.derivation().input_derivations.keys() {
            let walked = memo.walk(&input.as_path_ref().to_store_path(), |path| {
                opened.input(path).map(|input| input.text)
            });
            if let Err(error) = walked {
                // Without its hash nothing can be said of the outputs.
                wrong.push(format!("outputs are not checked: {error}"));
                return Ok(wrong);
            }
        }
    } else {
        let inputs = file
            .derivation()
            .input_derivations
            .keys()
            .map(|path| path.as_path_ref().to_store_path());
        inputs.for_each(|path| memo.insert(path, HashModulo::Deferred));
    }
    wrong.extend(
        file.check_outputs(opened.name()?, &memo)?
            .iter()
            .map(ToString::to_string),
    );
    Ok(wrong)
}

fn diff(first: &str, second: &str) -> Result<bool, Failure> {
    let (first, second) = (Opened::open(first)?, Opened::open(second)?);
    explain(&first, &second, 0, &mut BTreeSet::new())
}

/// Prints the differences, and below each input that is another one, those of that input. Each pair is explained once.
fn explain(
    first: &Opened,
    second: &Opened,
    depth: usize,
    explained: &mut BTreeSet<(StorePath, StorePath)>,
) -> Result<bool, Failure> {
    let (a, b) = (first.parse()?, second.parse()?);
    let differences = a.derivation().differences(b.derivation());
    let indent = "  ".repeat(depth);
    let causes: Vec<_> = differences
        .iter()
        .filter(|difference| !difference.is_consequence())
        .collect();
    let shown = if causes.is_empty() {
        differences.iter().collect()
    } else {
        causes
    };
    for difference in shown {
        println!("{indent}{difference}");
        if let Difference::Input {
            part: Part::InputDerivation,
            first: x,
            second: y,
        } = difference
            && explained.insert((x.clone(), y.clone()))
        {
            match (first.input(x), second.input(y)) {
                (Ok(x), Ok(y)) => drop(explain(&x, &y, depth + 1, explained)?),
                _ => println!("{indent}  (not both at hand)"),
            }
        }
    }
    Ok(differences.is_empty())
}

fn requirements(file: &str) -> Result<bool, Failure> {
    let opened = Opened::open(file)?;
    let parsed = opened.parse()?;
    let derivation: &Derivation<'_> = parsed.derivation();
    let requirements = derivation
        .requirements()
        .map_err(|error| format!("judge {}: {error}", opened.path))?;
    let features: Vec<_> = requirements.features.iter().map(String::as_str).collect();
    println!("system: {}", requirements.system);
    println!(
        "features: {}",
        if features.is_empty() {
            "none".to_owned()
        } else {
            features.join(", ")
        }
    );
    println!("outputs: {:?}", requirements.kind);
    println!("built by the daemon itself: {}", requirements.builtin);
    println!(
        "prefers to be built locally: {}",
        requirements.prefer_local_build
    );
    println!("may be substituted: {}", requirements.allow_substitutes);
    println!("may use the network: {}", requirements.may_use_network());
    Ok(true)
}
