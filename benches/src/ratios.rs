//! The table of ratios after a run: what criterion measured, ours against each peer.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde_json::Value;

/// What was measured of one function, in nanoseconds for each iteration.
#[derive(Clone, Copy, Debug)]
struct Measured {
    median: f64,
    /// The fastest sample: on a machine that others use, what depends on them least.
    best: f64,
}

/// Prints, for every criterion group whose name begins with `prefix`, the median and the best time
/// of each function and how many times those of `ours` they are. Above 1: the peer is slower.
///
/// `results` is criterion's directory, usually `target/criterion`.
///
/// # Errors
/// The directory cannot be read.
pub fn print(results: &Path, prefix: &str, ours: &str) -> io::Result<()> {
    println!(
        "\n{:<28} {:<14} {:>13} {:>7} {:>13} {:>7}",
        "group", "function", "median", "ratio", "best", "ratio"
    );
    for (group, functions) in groups(results, prefix)? {
        let Some(&base) = functions.get(ours) else {
            continue;
        };
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by(|a, b| a.1.best.total_cmp(&b.1.best));
        for (function, Measured { median, best }) in functions {
            println!(
                "{group:<28} {function:<14} {:>10.2} ms {:>7.2} {:>10.2} ms {:>7.2}",
                median / 1e6,
                median / base.median,
                best / 1e6,
                best / base.best
            );
        }
    }
    Ok(())
}

fn groups(
    results: &Path,
    prefix: &str,
) -> io::Result<BTreeMap<String, BTreeMap<String, Measured>>> {
    let mut groups = BTreeMap::<String, BTreeMap<_, _>>::new();
    for group in fs::read_dir(results)? {
        let group = group?;
        let name = group.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) || !group.file_type()?.is_dir() {
            continue;
        }
        for function in fs::read_dir(group.path())? {
            let function = function?;
            if let Some(measured) = measured(&function.path().join("new")) {
                let function = function.file_name().to_string_lossy().into_owned();
                groups
                    .entry(name.clone())
                    .or_default()
                    .insert(function, measured);
            }
        }
    }
    Ok(groups)
}

/// What criterion left in the directory of one function's newest run.
fn measured(newest: &Path) -> Option<Measured> {
    let read =
        |file| -> Option<Value> { serde_json::from_slice(&fs::read(newest.join(file)).ok()?).ok() };
    let median = read("estimates.json")?["median"]["point_estimate"].as_f64()?;
    let sample = read("sample.json")?;
    let numbers = |key: &str| {
        let numbers = sample[key].as_array().cloned().unwrap_or_default();
        numbers.into_iter().filter_map(|number| number.as_f64())
    };
    let each = numbers("times")
        .zip(numbers("iters"))
        .map(|(time, iterations)| time / iterations);
    Some(Measured {
        median,
        best: each.fold(median, f64::min),
    })
}
