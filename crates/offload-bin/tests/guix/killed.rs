//! The hook killed (SIGKILL) at moments of its builds that are drawn from a seed: nothing half-written is registered, no
//! slot stays held, and the next build of the same derivation succeeds.

use testbed::{Host, Kills, Link, Moment, Pair, Process, Signal, Stage};

use crate::{
    bed::{Build, build_on, require},
    stage::{LIMIT, Stages, stages},
};

/// How many moments are tried, unless the environment says otherwise.
const KILLS: u32 = 4;

/// Makes two outputs with many files, of an input of its own.
const SCRIPT: &str = "mkdir $out $dev; i=0; while [ $i -lt 20 ]; do head -c 20000 $sources >$out/$i; \
                      ln -s $dev/$i $out/to-$i; echo $i >$dev/$i; i=$((i+1)); done";

fn options(stages: &Stages, name: &str) -> [String; 2] {
    [stages.input(name), "outputs=out,dev".to_owned()]
}

fn build(coordinator: &Host, name: &str, options: &[String; 2]) -> Build {
    let output = build_on(
        coordinator,
        name,
        SCRIPT,
        &options.each_ref().map(String::as_str),
    );
    Build::parse(&output.unwrap_or_else(|error| panic!("{error}")))
}

/// The hook of a build that is under way: started by a script, as a program of the dynamic linker.
fn hook(coordinator: &Host) -> Option<Process> {
    let processes = coordinator.processes();
    let mut processes = processes.expect("processes can be listed").into_iter();
    processes.find(|process| process.command_line.contains("/opt/ours offload "))
}

#[test]
fn at_any_moment() {
    require!();
    for stages in stages().iter() {
        eprintln!("{}", stages.bed.version);
        stages.bed.use_machines(&[stages.first()]);
        Kills::from_environment(KILLS).try_all(
            &stages.link,
            |name| {
                let options = options(stages, name);
                build(&stages.bed.pair.coordinator, name, &options).out();
            },
            |name, moment| survives(stages, name, moment),
            || stages.assert_clean(),
        );
    }
}

/// The daemon that has called a hook is killed: the hook is no orphan that goes on with the build, and may write where
/// the next daemon builds.
#[test]
fn the_daemon_in_the_middle_of_a_build() {
    require!();
    for stages in stages().iter_mut() {
        let machines = [stages.first()];
        stages.bed.use_machines(&machines);
        let name = "orphaned";
        let input = stages.input(name);
        let Stages { bed, link } = stages;
        let Pair {
            coordinator,
            builder,
            ..
        } = &mut bed.pair;
        let client = || build_on(coordinator, name, &Stage::script("$sources"), &[&input]);
        let kill = |_: &mut Host, _: &Link| {
            assert!(hook(coordinator).is_some(), "it is at work");
            let processes = coordinator.processes().expect("they can be listed");
            let daemons = processes
                .iter()
                .filter(|process| process.name == "guix-daemon");
            for daemon in daemons {
                daemon.signal(Signal::KILL).expect("root may");
            }
        };
        let ended = Stage::Build.strike(builder, link, LIMIT, client, kill);
        let ended = ended.unwrap_or_else(|error| panic!("{error}"));
        assert!(!ended.stdout.contains("\nOUT "), "{ended:?}");
        // Also on the builder, where it is held up still.
        bed.assert_no_strays(&[&bed.pair.coordinator, &bed.pair.builder]);
        bed.pair.coordinator.crash().expect("it goes down");
        bed.pair.coordinator.boot().expect("it comes up");
        stages.repair();
        let again = stages.build(name, &machines, Stage::BeforeConnect, |_, _| {});
        assert!(again.was_remote(), "{}", again.said);
        again.out();
        stages.assert_clean();
    }
}

/// One build whose hook is killed at `moment`, and then the same derivation again. Whether there was one to kill.
fn survives(stages: &Stages, name: &str, moment: Moment) -> bool {
    let options = options(stages, name);
    let coordinator = &stages.bed.pair.coordinator;
    let client = || build(coordinator, name, &options);
    let (killed, first) = moment.kill(&stages.link, LIMIT, || hook(coordinator), client);
    let status = first.failure.as_ref().map(|(status, _)| *status);
    eprintln!("{name}: {moment:?}, killed: {killed}, failed: {status:?}");
    stages.assert_idle();
    // The daemon registers all outputs of a build at once.
    let registered = first.outputs.len();
    let expected = match status {
        Some(_) => 0,
        None => 2,
    };
    assert_eq!(registered, expected, "{moment:?}: {}", first.said);
    let again = build(coordinator, name, &options);
    assert_eq!(again.failure, None, "{}", again.said);
    let count = format!("ls {} | wc -l", again.out());
    assert_eq!(stages.bed.run(&["sh", "-c", &count]), "40");
    stages.assert_idle();
    killed
}
