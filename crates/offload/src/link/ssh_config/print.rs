//! Options as lines, in the words and the order of `ssh -G`: what tests compare.

use std::fmt::Write;

use super::{AddressFamily, JumpHost, Options, Proxy};

/// What a printed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As `ssh -G` prints it.
    #[cfg(test)]
    Shown,
    /// As a line of a file has it, with quotes.
    Line,
}

impl Options {
    /// All that is set, one line each.
    pub(super) fn print(&self, form: Form) -> String {
        let mut text = String::new();
        let mut line = |keyword: &str, words: &[&str]| {
            text.push_str(keyword);
            for word in words {
                match form {
                    #[cfg(test)]
                    Form::Shown => write!(text, " {word}"),
                    Form::Line => write!(text, " {}", quote(word)),
                }
                .expect("a string takes everything");
            }
            text.push('\n');
        };
        let one = [
            ("hostname", self.host_name.clone()),
            ("user", self.user.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("addressfamily", self.address_family.map(family)),
            ("bindaddress", self.bind_address.clone()),
            ("compression", self.compression.map(yes_or_no)),
            ("connecttimeout", self.connect_timeout.map(seconds)),
            ("hostkeyalias", self.host_key_alias.clone()),
            ("identitiesonly", self.identities_only.map(yes_or_no)),
            ("identityagent", self.identity_agent.clone()),
            ("revokedhostkeys", self.revoked_host_keys.clone()),
            (
                "serveralivecountmax",
                self.alive_count_max.map(|count| count.to_string()),
            ),
            ("serveraliveinterval", self.alive_interval.map(seconds)),
        ];
        for (keyword, value) in &one {
            if let Some(value) = value {
                line(keyword, &[value]);
            }
        }
        for (keyword, files) in [
            ("certificatefile", &self.certificate_files),
            ("identityfile", &self.identity_files),
        ] {
            for file in files {
                line(keyword, &[file]);
            }
        }
        for (keyword, files) in [
            ("globalknownhostsfile", &self.global_known_hosts),
            ("userknownhostsfile", &self.user_known_hosts),
        ] {
            if let Some(files) = files {
                line(
                    keyword,
                    &files.iter().map(String::as_str).collect::<Vec<_>>(),
                );
            }
        }
        match &self.proxy {
            Some(Proxy::Jump(hosts)) => {
                let hosts: Vec<_> = hosts.iter().map(jump_host).collect();
                line("proxyjump", &[&hosts.join(",")]);
            }
            Some(Proxy::NoJump) => line("proxyjump", &["none"]),
            Some(Proxy::None) | None | Some(Proxy::Command(_)) => {}
        }
        if self.proxy == Some(Proxy::None) {
            text.push_str("proxycommand none\n");
        }
        if let Some(Proxy::Command(command)) = &self.proxy {
            let equals = if form == Form::Line { "= " } else { "" };
            writeln!(text, "proxycommand {equals}{command}").expect("a string takes everything");
        }
        text
    }
}

fn family(family: AddressFamily) -> String {
    match family {
        AddressFamily::Any => "any",
        AddressFamily::V4 => "inet",
        AddressFamily::V6 => "inet6",
    }
    .to_owned()
}

fn yes_or_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn seconds(time: Option<std::time::Duration>) -> String {
    time.map_or(0, |time| time.as_secs()).to_string()
}

fn jump_host(host: &JumpHost) -> String {
    let mut text = String::new();
    if let Some(user) = &host.user {
        text += &format!("{user}@");
    }
    text += &match host.host.contains(':') {
        true => format!("[{}]", host.host),
        false => host.host.clone(),
    };
    if let Some(port) = host.port {
        text += &format!(":{port}");
    }
    text
}

/// A word that reads back as itself.
fn quote(word: &str) -> String {
    let escaped = word.replace('\\', r"\\").replace('"', r#"\""#);
    // Outside of double quotes only a single one needs more than a backslash.
    format!("\"{escaped}\"")
}
