//! `offload demo`: one build to a machine and back, for whoever sees this for the first time.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use offload::embedded::{Coordinator, Heard, Machine, Source};
use offload::hook;
use serde_json::Value;
use store_path::HashFormat;

/// What the build does: it needs its input, prints to its log, and writes its output.
const SCRIPT: &str = r#"
echo "reading $input"
while read -r line; do echo "> $line"; done < "$input"
echo "writing $out"
read -r line < "$input"
echo "$line And back, from a builder that ran as process $$." > "$out"
"#;

/// The input.
const LETTER: &str = "Hello from the coordinator.\n";

/// Runs the demonstration.
pub(crate) fn run(keep: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = match runtime {
        Ok(runtime) => runtime.block_on(show(keep)),
        Err(error) => Err(error.into()),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offload: the demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error>;

async fn show(keep: bool) -> Result<(), AnyError> {
    let mut steps = Steps {
        start: Instant::now(),
    };
    let mut folder = tempfile::Builder::new().prefix("offload-demo-").tempdir()?;
    folder.disable_cleanup(keep);
    let machine = Machine::start(&folder.path().join("machine"), None).await?;
    let store_dir = machine.store().store_dir().clone();
    steps.say(
        "machine",
        &format!("{} (sshd and store daemon in this process)", machine.uri()),
    );
    steps.say("", &format!("its store is {}", store_dir.as_str()));

    let home = folder.path().join("coordinator");
    let mut coordinator = Coordinator::create(&home, store_dir.clone())?;
    let input = Source {
        name: "letter",
        content: LETTER,
    };
    let build = coordinator.add_build("answer", input, SCRIPT)?;
    steps.say(
        "coordinator",
        &format!("its store is in {}", home.display()),
    );
    steps.say(
        "",
        &format!("offers {}", store_dir.print(&build.derivation)),
    );

    let line = machine.line("x86_64-linux");
    let code = coordinator
        .offer(&build, &line, |heard| steps.hear(&heard))
        .await?;
    steps.say("hook", &format!("exits with {}", code as u8));
    if code != hook::ExitCode::Done {
        return Err("the hook did not build".into());
    }

    let output = build.output.as_ref();
    let output = output.ok_or("where the output lies is not known")?;
    let info = coordinator.path_info(output)?;
    let info = info.ok_or("the output is not registered")?;
    let content = std::fs::read_to_string(coordinator.file(output))?;
    steps.say("output", &store_dir.print(output));
    steps.say(
        "",
        &format!(
            "{}, {} bytes as an archive",
            info.nar_hash.hash().print(HashFormat::Sri),
            info.nar_size
        ),
    );
    steps.say("", content.trim_end());
    finish(folder.path(), keep);
    Ok(())
}

fn finish(folder: &Path, keep: bool) {
    if keep {
        println!("\nBoth stores are kept in {}.", folder.display());
    } else {
        println!("\nBoth stores are removed again; --keep leaves them.");
    }
}

/// Prints what happens, each line with the time since the start.
struct Steps {
    start: Instant,
}

impl Steps {
    /// One line; a step without a name belongs to the one before.
    fn say(&mut self, who: &str, what: &str) {
        let time = self.start.elapsed().as_secs_f64();
        let line = format!("{time:7.3} s  {who:<12} {what}\n");
        // A reader that has gone away must not stop the build half-way.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }

    fn hear(&mut self, heard: &Heard) {
        match heard {
            Heard::Log(line) => self.say("build log", line),
            Heard::Reply(line) => match line.strip_prefix("@nix ") {
                Some(record) => self.record(record),
                None => self.say("hook", line),
            },
        }
    }

    /// Messages and the beginnings of activities are for people; the rest moves progress bars.
    fn record(&mut self, record: &str) {
        let Ok(record) = serde_json::from_str::<Value>(record) else {
            return self.say("hook", record);
        };
        let text = match record["action"].as_str() {
            Some("msg") => record["msg"].as_str(),
            Some("start") => record["text"].as_str(),
            _ => None,
        };
        if let Some(text) = text {
            self.say("hook", text.trim_start_matches("offload: "));
        }
    }
}
