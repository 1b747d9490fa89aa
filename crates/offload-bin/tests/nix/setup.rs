//! The commands of `docs/from-stock.md`, done as they stand there by somebody who has stock's hook so far.

use testbed::Output;

use crate::bed::{Bed, Difference, OUR_HOOK, derivation, ours};

const PAGE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/from-stock.md"
));

/// Where the page has the program.
const PROGRAM: &str = "/usr/local/bin/offload";

/// The nth block of commands below a heading.
fn block(heading: &str, nth: usize) -> &'static str {
    let (_, below) = PAGE
        .split_once(&format!("# {heading}\n"))
        .unwrap_or_else(|| panic!("the page has a heading {heading:?}"));
    let mut blocks = below.split("```console\n").skip(1);
    let text = blocks.nth(nth).expect("there are so many");
    text.split_once("```").expect("it ends").0
}

/// Does what a block says. Lines without a prompt are what is typed into the command's editor.
fn follow(bed: &mut Bed, block: &str) {
    let mut lines = block.lines().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("# ").expect("a root's prompt");
        let mut typed = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("# ")) {
            typed.push(line);
        }
        match command {
            "systemctl restart nix-daemon" => reboot(bed),
            "systemctl edit nix-daemon" => override_unit(bed, &typed),
            "systemctl revert nix-daemon" => set_arguments(bed, &[]),
            _ => {
                let here = command.replace(PROGRAM, OUR_HOOK);
                let script = format!("offload() {{ {OUR_HOOK} \"$@\"; }}\n{here}");
                bed.run(&["sh", "-ec", &script]);
            }
        }
    }
}

/// The hosts have no systemd: a daemon is started with its host.
fn reboot(bed: &mut Bed) {
    // The program may be run by another one, which it then takes itself for.
    let own = format!("s#remote-program=[^ ]*#remote-program={OUR_HOOK}#");
    bed.run(&["sed", "-i", &own, "/etc/nix/nix.conf"]);
    let coordinator = &mut bed.pair.coordinator;
    coordinator.crash().expect("it goes down");
    coordinator.boot().expect("it comes up");
}

/// `ExecStart=@PATH NAME ARGUMENT...`
fn override_unit(bed: &Bed, typed: &[&str]) {
    let started = typed
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("ExecStart=@"));
    let words: Vec<_> = started.expect("a command").split(' ').collect();
    assert!(
        words[0].ends_with("/nix-daemon") && words[1] == "nix-daemon",
        "{words:?}"
    );
    set_arguments(bed, &words[2..]);
}

fn set_arguments(bed: &Bed, words: &[&str]) {
    let lines: String = words.iter().map(|word| format!("{word}\n")).collect();
    let lines = lines.replace(PROGRAM, OUR_HOOK);
    let file = "/run/store-daemon.arguments";
    bed.pair
        .coordinator
        .write_file(file, lines)
        .expect("it is written");
}

/// A host with stock's hook, a machine list and known host keys, which needs nothing else.
fn bed() -> Bed {
    let bed = Bed::start_with(&Difference {
        without_hook: true,
        ..Difference::default()
    });
    bed.know_builder();
    bed
}

fn build(bed: &Bed, name: &str) -> Output {
    let output = bed.build(&derivation(name, "echo > $out", ""), &["-vv"]);
    assert!(output.status.success(), "{}", output.stderr);
    output
}

fn is_ours(output: &Output) -> bool {
    output.stderr.contains("offload: building /nix/store/")
}

/// Whether the coordinator's Nix overwrites the setting: 2.25 to 2.33.
fn forgets(bed: &Bed) -> bool {
    let version = bed.run(&["nix-store", "--version"]);
    let version = version.rsplit(' ').next().expect("a version");
    let numbers: Vec<u32> = version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    numbers[0] == 2 && (25..34).contains(&numbers[1])
}

#[test]
fn by_nix_conf_and_back() {
    testbed::require!();
    testbed::require!(ours());
    let mut bed = bed();
    assert!(!is_ours(&build(&bed, "before")));
    follow(&mut bed, block("Nix 2.3 to 2.24, and 2.34 and later", 0));
    let after = build(&bed, "after");
    assert_eq!(is_ours(&after), !forgets(&bed), "{}", after.stderr);
    follow(&mut bed, block("Back", 0));
    assert!(!is_ours(&build(&bed, "back")));
    bed.assert_clean();
}

/// Written for some versions; it works with all.
#[test]
fn by_the_daemons_command_line_and_back() {
    testbed::require!();
    testbed::require!(ours());
    let mut bed = bed();
    follow(&mut bed, block("Nix 2.25 to 2.33", 0));
    let after = build(&bed, "after");
    assert!(is_ours(&after), "{}", after.stderr);
    follow(&mut bed, block("Back", 0));
    assert!(!is_ours(&build(&bed, "back")));
    bed.assert_clean();
}

#[test]
fn by_the_endpoint_and_back() {
    testbed::require!();
    testbed::require!(ours());
    let mut bed = bed();
    testbed::require!(known crate::endpoint::known(&bed));
    follow(&mut bed, block("Nix 2.25 to 2.33", 1));
    let after = build(&bed, "after");
    let front = format!("on 'ssh-ng://localhost?remote-program={OUR_HOOK}'");
    let machine = "on 'ssh-ng://root@127.0.0.1'";
    for words in [&*front, machine] {
        assert!(after.stderr.contains(words), "{words}: {}", after.stderr);
    }
    follow(&mut bed, block("Back", 1));
    let back = build(&bed, "back");
    assert!(
        !back.stderr.contains("localhost") && back.stderr.contains(machine),
        "{}",
        back.stderr
    );
    bed.assert_clean();
}

/// A client that opens its store by itself starts the hook itself, and is told of it like the daemon.
#[test]
fn by_a_clients_own_command_line() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let store = ["--store", "local?root=/mnt", "-vv"];
    let expression = derivation("by-client", "echo > $out", "");
    let stock = bed.build(&expression, &store);
    assert!(
        stock.status.success() && !is_ours(&stock),
        "{}",
        stock.stderr
    );
    let expression = derivation("by-client-too", "echo > $out", "");
    let option = ["--option", "build-hook", OUR_HOOK];
    let ours = bed.build(&expression, &[&store[..], &option].concat());
    assert!(ours.status.success() && is_ours(&ours), "{}", ours.stderr);
    bed.assert_clean();
}

/// What is to be looked at first finds nothing amiss.
#[test]
fn before() {
    testbed::require!();
    testbed::require!(ours());
    let mut bed = bed();
    follow(&mut bed, block("Before", 0));
    bed.assert_clean();
}
