//! The table of ratios after a run: what criterion measured, ours against each peer.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Prints, for every criterion group whose name begins with `prefix`, the median time of each
/// function and how many times `ours` takes it is. Above 1: the peer is slower.
///
/// `results` is criterion's directory, usually `target/criterion`.
///
/// # Errors
/// The directory cannot be read.
pub fn print(results: &Path, prefix: &str, ours: &str) -> io::Result<()> {
    let mut groups = BTreeMap::<String, BTreeMap<String, f64>>::new();
    for group in fs::read_dir(results)? {
        let group = group?;
        let name = group.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) || !group.file_type()?.is_dir() {
            continue;
        }
        for function in fs::read_dir(group.path())? {
            let function = function?;
            let estimates = function.path().join("new/estimates.json");
            if let Some(median) = fs::read_to_string(estimates)
                .ok()
                .and_then(|json| median(&json))
            {
                let function = function.file_name().to_string_lossy().into_owned();
                groups
                    .entry(name.clone())
                    .or_default()
                    .insert(function, median);
            }
        }
    }
    println!(
        "\n{:<24} {:<16} {:>12} {:>8}",
        "group", "function", "median", "ratio"
    );
    for (group, functions) in groups {
        let Some(&base) = functions.get(ours) else {
            continue;
        };
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (function, nanoseconds) in functions {
            let ratio = nanoseconds / base;
            println!(
                "{group:<24} {function:<16} {:>9.2} ms {ratio:>8.2}",
                nanoseconds / 1e6
            );
        }
    }
    Ok(())
}

/// The median's point estimate, in nanoseconds, out of criterion's `estimates.json`.
fn median(json: &str) -> Option<f64> {
    let median = &json[json.find("\"median\"")?..];
    let estimate = &median[median.find("\"point_estimate\":")? + "\"point_estimate\":".len()..];
    estimate[..estimate.find([',', '}'])?].trim().parse().ok()
}
