//! What happens to machines and to the way there.

use rustix::process::Signal;

use crate::{Error, Host, Link, error::While, stage};

/// Something that happens to a builder behind a [`Link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All of its sshd's processes are killed.
    SshdIsKilled,
    /// All of its store daemon's processes are killed.
    DaemonIsKilled,
    /// Its power fails.
    BuilderIsKilled,
    /// Its sshd hangs: connections are taken and hear nothing, old ones hear nothing any more.
    SshdIsStopped,
    /// The cable is pulled out.
    LinkFallsSilent,
    /// Every connection breaks; new ones are as good as before.
    LinkBreaks,
}

impl Fault {
    /// Lets it happen. Whatever the link held is carried again, but behind a cable that was pulled out.
    ///
    /// # Errors
    /// If the machine refuses.
    pub fn strike(self, builder: &mut Host, link: &Link) -> Result<(), Error> {
        match self {
            Fault::SshdIsKilled => signal(builder, "sshd", Signal::KILL)?,
            Fault::DaemonIsKilled => signal(builder, builder.store_daemon(), Signal::KILL)?,
            Fault::BuilderIsKilled => builder.crash()?,
            Fault::SshdIsStopped => signal(builder, "sshd", Signal::STOP)?,
            Fault::LinkFallsSilent => {
                link.fall_silent();
                return Ok(());
            }
            Fault::LinkBreaks => {
                link.cut();
                return Ok(());
            }
        }
        link.reset();
        Ok(())
    }

    /// Makes builder and link as good as new, whatever has happened to them; what is stored stays as it is.
    ///
    /// # Errors
    /// If the machine refuses, or the builder does not come up again.
    pub fn repair(builder: &mut Host, link: &Link) -> Result<(), Error> {
        link.cut();
        builder.crash()?;
        stage::release(builder, link);
        builder.boot()
    }
}

/// Sends a signal to all processes of the host whose name begins so.
fn signal(host: &Host, name: &str, signal: Signal) -> Result<(), Error> {
    let processes = host.processes()?;
    let named = processes
        .iter()
        .filter(|process| process.name.starts_with(name));
    for process in named {
        process
            .signal(signal)
            .while_trying(|| format!("send a signal to {process} of {}", host.name()))?;
    }
    Ok(())
}

/// The table of faults, as tests: a module for each [`Fault`], in it one for each [`Stage`](crate::Stage). Each test calls
/// the given function with the two, and a name of its own, `sshd-is-killed-Upload`.
///
/// ```
/// fn survives(name: &str, fault: testbed::Fault, stage: testbed::Stage) {}
///
/// testbed::table_of_faults!(crate::survives);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! table_of_faults {
    ($survives:path) => {
        $crate::table_of_faults! { $survives;
            sshd_is_killed SshdIsKilled "sshd-is-killed";
            the_daemon_is_killed DaemonIsKilled "the-daemon-is-killed";
            the_builder_is_killed BuilderIsKilled "the-builder-is-killed";
            sshd_is_stopped SshdIsStopped "sshd-is-stopped";
            the_link_falls_silent LinkFallsSilent "the-link-falls-silent";
            the_link_breaks LinkBreaks "the-link-breaks";
        }
    };
    ($survives:path; $($module:ident $fault:ident $name:literal;)*) => {$(
        mod $module {
            use $crate::{Fault, Stage};

            fn survives(stage: Stage) {
                let name = format!("{}-{stage:?}", $name);
                $survives(&name, Fault::$fault, stage);
            }

            #[test]
            fn before_connecting() {
                survives(Stage::BeforeConnect);
            }

            #[test]
            fn after_the_accept() {
                survives(Stage::Accepted);
            }

            #[test]
            fn while_inputs_are_sent() {
                survives(Stage::Upload);
            }

            #[test]
            fn while_it_builds() {
                survives(Stage::Build);
            }

            #[test]
            fn while_outputs_are_received() {
                survives(Stage::Download);
            }
        }
    )*};
}
