//! The table of ratios after a run: what criterion measured, ours against each peer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde_json::Value;

/// What was measured of one function.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Nanoseconds for each iteration.
    median: f64,
    /// The fastest sample: on a machine that others use, what depends on them least.
    best: f64,
    work: Option<Work>,
}

/// What one iteration works through.
#[derive(Clone, Copy, Debug)]
enum Work {
    Bytes(f64),
    Elements(f64),
}

/// Prints, for every criterion group whose name begins with `prefix` and that was measured since
/// `start`, the median and the best time of each function, its speed at the median, and how many
/// times our median and best they are, `ours` being the function that is ours. Above 1: slower.
///
/// # Errors
/// Criterion's directory cannot be read.
pub fn print(prefix: &str, ours: &str, start: SystemTime) -> io::Result<()> {
    println!(
        "\n{:<28} {:<15} {:>13} {:>7} {:>13} {:>7} {:>16}",
        "group", "function", "median", "ratio", "best", "ratio", "speed"
    );
    for (group, functions) in groups(&results(), prefix, start)? {
        let Some(&base) = functions.get(ours) else {
            continue;
        };
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
        for (function, measured) in functions {
            let Measured { median, best, .. } = measured;
            println!(
                "{group:<28} {function:<15} {:>10.2} ms {:>7.2} {:>10.2} ms {:>7.2} {:>16}",
                median / 1e6,
                median / base.median,
                best / 1e6,
                best / base.best,
                measured.speed()
            );
        }
    }
    Ok(())
}

impl Measured {
    fn speed(&self) -> String {
        match self.work {
            Some(Work::Bytes(bytes)) => {
                format!(
                    "{:.0} MiB/s",
                    bytes / f64::from(1 << 20) / self.median * 1e9
                )
            }
            Some(Work::Elements(elements)) => format!("{:.1} ns each", self.median / elements),
            None => String::new(),
        }
    }
}

/// Criterion's own directory: in the target directory that holds the running program.
fn results() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // target/release/deps/PROGRAM
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    target.join("criterion")
}

type Functions = BTreeMap<String, Measured>;

fn groups(
    results: &Path,
    prefix: &str,
    start: SystemTime,
) -> io::Result<BTreeMap<String, Functions>> {
    let mut groups = BTreeMap::<String, Functions>::new();
    for group in fs::read_dir(results)? {
        let group = group?;
        let name = group.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) || !group.file_type()?.is_dir() {
            continue;
        }
        for function in fs::read_dir(group.path())? {
            let function = function?;
            if let Some(measured) = measured(&function.path().join("new"), start) {
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

/// What criterion left in the directory of one function's newest run, if that is newer than
/// `start`.
fn measured(newest: &Path, start: SystemTime) -> Option<Measured> {
    let modified = fs::metadata(newest.join("estimates.json")).and_then(|file| file.modified());
    if modified.ok()? < start {
        return None;
    }
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
    let throughput = &read("benchmark.json")?["throughput"];
    let bytes = throughput["Bytes"].as_f64().map(Work::Bytes);
    let elements = throughput["Elements"].as_f64().map(Work::Elements);
    Some(Measured {
        median,
        best: each.fold(median, f64::min),
        work: bytes.or(elements),
    })
}
