//! What the lines of all files mean for one host. Pure.

use std::collections::BTreeSet;

use super::keyword::{Keyword, is_secret};
use super::parse::{Criterion, Directive, Line, Place, Test};
use super::setting::Setting;
use super::{Options, Proxy, Warning};
use crate::link::pattern;

/// More identity files than this are not looked at, as in OpenSSH.
const MAX_IDENTITIES: usize = 100;

/// Whom the lines are read for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The host as it was asked for.
    pub(super) host: &'a str,
    /// The user who runs this.
    pub(super) local_user: &'a str,
}

/// Reads the lines of all files in their order; the first that sets something wins.
pub(super) fn resolve<'a>(
    files: impl Iterator<Item = &'a [Line]> + Clone,
    subject: Subject<'_>,
) -> Options {
    let mut reading = Reading {
        subject,
        options: Options::default(),
        told: BTreeSet::new(),
        seen: BTreeSet::new(),
        ignored: None,
        is_final: false,
        wants_final: false,
    };
    reading.read_all(files.clone());
    if reading.wants_final {
        let host = reading.host_so_far().to_ascii_lowercase();
        reading.options.host_name = Some(host.replace('%', "%%"));
        reading.is_final = true;
        reading.read_all(files);
    }
    reading.options
}

struct Reading<'a> {
    subject: Subject<'a>,
    options: Options,
    /// What was warned of, because everything may be read twice.
    told: BTreeSet<(Place, String)>,
    /// Keywords whose first value has been seen without being honoured.
    seen: BTreeSet<String>,
    ignored: Option<String>,
    is_final: bool,
    wants_final: bool,
}

impl Reading<'_> {
    /// Blocks end with the file that they are in.
    fn read_all<'l>(&mut self, files: impl Iterator<Item = &'l [Line]>) {
        for lines in files {
            let mut active = true;
            for line in lines {
                self.read(line, &mut active);
            }
        }
    }

    fn read(&mut self, line: &Line, active: &mut bool) {
        match &line.directive {
            Directive::Host(patterns) if patterns.is_empty() => {
                *active = false;
                self.warn(
                    &line.place,
                    "Host: not understood, so that its block is left out",
                );
            }
            Directive::Host(patterns) => {
                let patterns = patterns.iter().map(String::as_str);
                // The second time it is the real name that counts.
                *active = match self.is_final {
                    true => pattern::list_matches(patterns, &self.host_so_far()),
                    false => pattern::list_matches(patterns, self.subject.host),
                };
            }
            Directive::Match(criteria) if criteria.is_empty() => {
                *active = false;
                self.warn(
                    &line.place,
                    "Match: not understood, so that its block is left out",
                );
            }
            Directive::Match(criteria) => *active = self.fulfils(criteria, &line.place),
            _ if !*active => {}
            Directive::Include { files, .. } => self.read_all(files.iter().map(Vec::as_slice)),
            Directive::IgnoreUnknown(patterns) => {
                self.ignored.get_or_insert_with(|| patterns.clone());
            }
            Directive::Set(keyword, setting) => self.set(*keyword, setting, &line.place),
            Directive::NotHonoured {
                keyword,
                value,
                harmless,
            } => {
                let is_first = self.seen.insert(keyword.to_ascii_lowercase());
                if is_first && !harmless {
                    let value = match is_secret(keyword) {
                        true => String::new(),
                        false => format!(" {value}"),
                    };
                    self.warn(&line.place, &format!("{keyword}{value} is not honoured"));
                }
            }
            Directive::Unknown(keyword) => {
                let ignored = self.ignored.as_deref().unwrap_or_default();
                if !pattern::hosts_match(ignored, keyword) {
                    self.warn(&line.place, &format!("{keyword} is no option of OpenSSH's"));
                }
            }
            Directive::Broken(reason) => self.warn(&line.place, reason),
            Directive::Unreadable(reason) => self.warn(&line.place, reason),
        }
    }

    fn warn(&mut self, place: &Place, text: &str) {
        if self.told.insert((place.clone(), text.to_owned())) {
            self.options.warnings.push(Warning {
                place: place.clone(),
                text: text.to_owned(),
            });
        }
    }

    fn fulfils(&mut self, criteria: &[Criterion], place: &Place) -> bool {
        let host = self.host_so_far();
        let user = self.options.user.clone();
        let user = user.as_deref().unwrap_or(self.subject.local_user);
        let mut undecided = None;
        let mut all = true;
        for Criterion { negated, test } in criteria {
            let fulfilled = match test {
                Test::All => true,
                Test::Final => {
                    self.wants_final = true;
                    self.is_final
                }
                Test::Canonical => self.is_final,
                Test::Host(list) => pattern::hosts_match(list, &host),
                Test::OriginalHost(list) => pattern::hosts_match(list, self.subject.host),
                Test::User(list) => pattern::list_matches(list.split(','), user),
                Test::LocalUser(list) => {
                    pattern::list_matches(list.split(','), self.subject.local_user)
                }
                Test::Undecided(name) => {
                    undecided = Some(name);
                    continue;
                }
            };
            all &= fulfilled != *negated;
        }
        if let (true, Some(name)) = (all, undecided) {
            let text = format!("Match {name} is not honoured: its block is left out");
            self.warn(place, &text);
        }
        all && undecided.is_none()
    }

    /// The host's real name as far as it is known by now.
    fn host_so_far(&self) -> String {
        let host = self.subject.host;
        match &self.options.host_name {
            Some(name) => name
                .replace("%%", "\0")
                .replace("%h", host)
                .replace('\0', "%"),
            None => host.to_owned(),
        }
    }

    fn set(&mut self, keyword: Keyword, setting: &Setting, place: &Place) {
        let options = &mut self.options;
        match setting.clone() {
            Setting::AddressFamily(value) => first(&mut options.address_family, value),
            Setting::BindAddress(value) => first(&mut options.bind_address, value),
            Setting::CertificateFile(value) => add(&mut options.certificate_files, value),
            Setting::Compression(value) => first(&mut options.compression, value),
            Setting::ConnectTimeout(value) => first(&mut options.connect_timeout, value),
            Setting::GlobalKnownHostsFiles(value) => first(&mut options.global_known_hosts, value),
            Setting::HostKeyAlias(value) => first(&mut options.host_key_alias, value),
            Setting::HostName(value) => first(&mut options.host_name, value),
            Setting::IdentitiesOnly(value) => first(&mut options.identities_only, value),
            Setting::IdentityAgent(value) => first(&mut options.identity_agent, value),
            Setting::IdentityFile(value) => add(&mut options.identity_files, value),
            Setting::Nothing => {}
            Setting::Port(value) => first(&mut options.port, value),
            Setting::Proxy(Proxy::Command(_) | Proxy::None)
                if options.proxy == Some(Proxy::NoJump) =>
            {
                options.proxy = None;
                self.set(keyword, setting, place);
            }
            Setting::Proxy(value) => first(&mut options.proxy, value),
            Setting::RevokedHostKeys(value) => first(&mut options.revoked_host_keys, value),
            Setting::ServerAliveCountMax(value) => first(&mut options.alive_count_max, value),
            Setting::ServerAliveInterval(value) => first(&mut options.alive_interval, value),
            Setting::User(value) => first(&mut options.user, value),
            Setting::UserKnownHostsFiles(value) => first(&mut options.user_known_hosts, value),
            Setting::StrictHostKeyChecking { strict, value } => {
                if self.seen.insert(format!("{keyword:?}")) && !strict {
                    let text = format!(
                        "StrictHostKeyChecking {value} is not honoured: unknown host keys are always refused"
                    );
                    self.warn(place, &text);
                }
            }
        }
    }
}

fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn add(files: &mut Vec<String>, file: String) {
    if files.len() < MAX_IDENTITIES && !files.contains(&file) {
        files.push(file);
    }
}
