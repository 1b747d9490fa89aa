//! How long a hook takes to say that it cannot take a build.

use std::{error::Error, time::Duration};

use crate::{
    bed::{Bed, Contender},
    table::Sample,
};

/// How often a hook is asked for one sample, which is the median.
const TIMES: usize = 11;

/// Asks the hook as a daemon does, and prints the microseconds from the moment before it is forked to its reply.
const ASK: &str = r##"
for _ in $(seq "$3"); do
    begun=${EPOCHREALTIME/./}
    while read -r line; do
        case $line in "# "*) ended=${EPOCHREALTIME/./}; break ;; esac
    done < <(exec env -u NIX_REMOTE "$1" 3 <"$2" 2>&1 4>/dev/null)
    echo "$line $((ended - begun))"
    wait
done"##;

/// The file of the request on the coordinator.
const REQUEST: &str = "/root/request";

pub(crate) fn measure(bed: &Bed, contender: &Contender) -> Result<Sample, Box<dyn Error>> {
    let drv = bed.instantiate("chain", None)?.concat();
    let builders = bed.line(contender, false).to_string();
    let coordinator = &bed.pair.coordinator;
    coordinator.write_file(REQUEST, request(&builders, &drv))?;
    let times = TIMES.to_string();
    let command = [
        "bash",
        "-c",
        ASK,
        "bash",
        bed.hook(contender),
        REQUEST,
        &times,
    ];
    let said = coordinator.run(&command)?;
    let mut all = Vec::new();
    for line in said.lines() {
        let time = line
            .strip_prefix("# decline")
            .map(|rest| rest.trim_start_matches("-permanently"));
        let time = time.ok_or_else(|| format!("{} replied {line:?}", contender.name))?;
        all.push(Duration::from_micros(time.trim().parse()?));
    }
    all.sort();
    Ok(Sample {
        wall: *all.get(all.len() / 2).ok_or("no reply at all")?,
        ..Sample::default()
    })
}

/// The daemon's settings, and its offer of a build for a system that no machine has.
fn request(builders: &str, drv: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, word: u64| bytes.extend(word.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    };
    for (name, value) in [("builders", builders), ("max-jobs", "0"), ("store", "auto")] {
        word(&mut bytes, 1);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    word(&mut bytes, 0);
    text(&mut bytes, "try");
    word(&mut bytes, 0);
    text(&mut bytes, "riscv64-linux");
    text(&mut bytes, drv);
    word(&mut bytes, 0);
    bytes
}
