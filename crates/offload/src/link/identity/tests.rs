//! What entries and configurations make of a machine.

use super::*;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// A home directory with this configuration.
fn home(config: &str) -> (tempfile::TempDir, Identity) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    std::fs::write(home.join(".ssh/config"), config).unwrap();
    let uid = home.metadata().unwrap().uid();
    let identity = Identity {
        system: home.join("ssh"),
        ..Identity::new("root", uid, home)
    };
    (folder, identity)
}

fn plan(identity: &Identity, destination: &Destination) -> Result<SshTarget, ConfigError> {
    let settings = SshSettings::read(identity);
    let plan = settings.plan(destination, Timeouts::default())?;
    assert_eq!(plan.warnings, []);
    Ok(plan.target)
}

fn to(host: &str) -> Destination {
    Destination {
        host: host.to_owned(),
        ..Destination::default()
    }
}

#[test]
fn without_configuration_all_is_as_openssh_has_it() {
    let (folder, identity) = home("");
    let target = plan(&identity, &to("Farm1")).unwrap();
    let shown = format!("{target:#?}").replace(&folder.path().display().to_string(), "HOME");
    insta::assert_snapshot!(shown);
}

#[test]
fn the_variable_goes_before_the_machine_list_and_that_before_files() {
    let (_folder, mut identity) = home("User file\nPort 3\nCompression no\n");
    let mut entry = to("farm1");
    let said = |identity: &Identity, entry: &Destination| {
        let target = plan(identity, entry).unwrap();
        format!("{}:{} {}", target.user, target.port, target.compression)
    };
    assert_eq!(said(&identity, &entry), "file:3 false");
    entry.user = Some("list".to_owned());
    entry.port = Some(2);
    entry.compress = Some(true);
    assert_eq!(said(&identity, &entry), "list:2 true");
    let options = ("NIX_SSHOPTS".to_owned(), "-l variable -p 1".to_owned());
    identity.environment.extend([options]);
    assert_eq!(said(&identity, &entry), "variable:1 true");
    // Hosts on the way are none of the variable's business.
    identity
        .environment
        .insert("NIX_SSHOPTS".to_owned(), "-J gate -p 1".to_owned());
    let Route::Jump(gate) = plan(&identity, &entry).unwrap().route else {
        panic!("there is a jump host");
    };
    assert_eq!((gate.user.as_str(), gate.port), ("file", 3));
}

#[test]
fn bounds_are_the_configurations_unless_they_are_none() {
    let bounds = |config: &str| {
        let (_folder, identity) = home(config);
        plan(&identity, &to("farm1")).unwrap().timeouts
    };
    let defaults = Timeouts::default();
    let seconds = Duration::from_secs;
    let said = bounds("ConnectTimeout 3\nServerAliveInterval 1m\nServerAliveCountMax 2");
    assert_eq!((said.connect, said.key_exchange), (seconds(3), seconds(3)));
    assert_eq!(
        (said.keep_alive, said.silence()),
        (seconds(60), seconds(120))
    );
    assert_eq!(said.authentication, defaults.authentication);
    let none = "ConnectTimeout 0\nServerAliveInterval 0\nServerAliveCountMax 0";
    assert_eq!(bounds(none), defaults);
}

#[test]
fn each_host_on_the_way_has_its_own_configuration() {
    let (_folder, identity) = home(
        "Host a\nHostName a.example\nUser ua\nHost b\nPort 2\nHost c\nProxyJump x@a,b:22\nHost d\nProxyCommand nc -x %r@%h:%p",
    );
    let mut way = Vec::new();
    let mut target = plan(&identity, &to("c")).unwrap();
    loop {
        way.push(format!("{}@{}:{}", target.user, target.host, target.port));
        match target.route {
            Route::Jump(next) => target = *next,
            _ => break,
        }
    }
    assert_eq!(way, ["root@c:22", "root@b:22", "x@a.example:22"]);
    let command = Route::Command("nc -x root@d:22".to_owned());
    assert_eq!(plan(&identity, &to("d")).unwrap().route, command);
}

#[test]
fn agents_are_named_in_many_ways() {
    let agent = |config: &str| {
        let (folder, mut identity) = home(config);
        let variables = [("SSH_AUTH_SOCK", "/sock"), ("MINE", "/mine"), ("NONE", "")];
        identity.environment = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let agent = plan(&identity, &to("a")).unwrap().credentials.agent;
        let home = folder.path().display().to_string();
        agent.map(|agent| agent.display().to_string().replace(&home, "HOME"))
    };
    assert_eq!(agent("").as_deref(), Some("/sock"));
    assert_eq!(
        agent("IdentityAgent SSH_AUTH_SOCK").as_deref(),
        Some("/sock")
    );
    assert_eq!(agent("IdentityAgent $MINE").as_deref(), Some("/mine"));
    assert_eq!(
        agent("IdentityAgent ${MINE}/%h").as_deref(),
        Some("/mine/a")
    );
    assert_eq!(
        agent("IdentityAgent ~/agent").as_deref(),
        Some("HOME/agent")
    );
    assert_eq!(agent("IdentityAgent $NONE"), None);
    assert_eq!(agent("IdentityAgent None"), None);
}

#[test]
fn what_leads_nowhere_is_an_error() {
    for config in [
        "HostName %z",
        "IdentityFile ${NO}",
        "ProxyCommand %d",
        "ProxyJump a",
    ] {
        let (_folder, identity) = home(config);
        assert!(plan(&identity, &to("a")).is_err(), "{config}");
    }
}

#[test]
fn secrets_of_the_environment_are_not_shown() {
    let (_folder, mut identity) = home("");
    identity.environment = [("TOKEN".to_owned(), "hunter2".to_owned())].into();
    assert!(!format!("{identity:?}").contains("hunter2"));
}
