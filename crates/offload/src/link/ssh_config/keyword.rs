//! Every keyword that OpenSSH's client knows (9.2, and what came since), and what becomes of it.

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `Host`, `Match`, `Include`, `IgnoreUnknown`: they decide which lines count.
    Structure(Structure),
    /// Honoured.
    Honoured(Keyword),
    /// Changes nothing that matters to a program that nobody sits at.
    Harmless,
    /// Not honoured, so that people are told; but for these values, which ask for nothing.
    NotHonoured(&'static [&'static str]),
    /// OpenSSH does not know it either.
    Unknown,
}

/// Keywords that decide which lines count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Structure {
    Host,
    Match,
    Include,
    IgnoreUnknown,
}

/// Keywords that are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Keyword {
    AddressFamily,
    BindAddress,
    CertificateFile,
    Compression,
    ConnectTimeout,
    GlobalKnownHostsFile,
    HostKeyAlias,
    HostName,
    IdentitiesOnly,
    IdentityAgent,
    IdentityFile,
    Port,
    ProxyCommand,
    ProxyJump,
    RevokedHostKeys,
    ServerAliveCountMax,
    ServerAliveInterval,
    StrictHostKeyChecking,
    User,
    UserKnownHostsFile,
}

const HONOURED: &[(&str, Keyword)] = &[
    ("addressfamily", Keyword::AddressFamily),
    ("bindaddress", Keyword::BindAddress),
    ("certificatefile", Keyword::CertificateFile),
    ("compression", Keyword::Compression),
    ("connecttimeout", Keyword::ConnectTimeout),
    ("globalknownhostsfile", Keyword::GlobalKnownHostsFile),
    ("hostkeyalias", Keyword::HostKeyAlias),
    ("hostname", Keyword::HostName),
    ("identitiesonly", Keyword::IdentitiesOnly),
    ("identityagent", Keyword::IdentityAgent),
    ("identityfile", Keyword::IdentityFile),
    // IdentityFile's name of old.
    ("identityfile2", Keyword::IdentityFile),
    ("port", Keyword::Port),
    ("proxycommand", Keyword::ProxyCommand),
    ("proxyjump", Keyword::ProxyJump),
    ("revokedhostkeys", Keyword::RevokedHostKeys),
    ("serveralivecountmax", Keyword::ServerAliveCountMax),
    ("serveraliveinterval", Keyword::ServerAliveInterval),
    ("stricthostkeychecking", Keyword::StrictHostKeyChecking),
    ("user", Keyword::User),
    ("userknownhostsfile", Keyword::UserKnownHostsFile),
];

/// About terminals, forwarding, sharing of connections, passwords and messages; what makes
/// checking host keys laxer than it is here; and what OpenSSH itself ignores by now.
const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "canonicaldomains",
    "canonicalizefallbacklocal",
    "canonicalizemaxdots",
    "canonicalizepermittedcnames",
    "challengeresponseauthentication",
    "channeltimeout",
    "checkhostip",
    "clearallforwardings",
    "compressionlevel",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "exitonforwardfailure",
    "fallbacktorsh",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapiclientidentity",
    "gssapidelegatecredentials",
    "gssapikexalgorithms",
    "gssapikeyexchange",
    "gssapirenewalforcesrekey",
    "gssapiserveridentity",
    "gssapitrustdns",
    "hashknownhosts",
    "hostbasedacceptedalgorithms",
    "hostbasedauthentication",
    "hostbasedkeytypes",
    "ipqos",
    "kbdinteractiveauthentication",
    "kbdinteractivedevices",
    "keepalive",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "nohostauthenticationforlocalhost",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "passwordauthentication",
    "permitlocalcommand",
    "permitremoteopen",
    "protocol",
    "refuseconnection",
    "rekeylimit",
    "remoteforward",
    "requesttty",
    "rhostsauthentication",
    "rhostsrsaauthentication",
    "rsaauthentication",
    "securitykeyprovider",
    "sendenv",
    "sessiontype",
    "setupcommand",
    "skeyauthentication",
    "smartcarddevice",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tag",
    "tcpkeepalive",
    "tisauthentication",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "usekeychain",
    "useprivilegedport",
    "useroaming",
    "usersh",
    "verifyhostkeydns",
    "versionaddendum",
    "visualhostkey",
    "warnweakcrypto",
    "xauthlocation",
    "afstokenpassing",
    "kerberosauthentication",
    "kerberostgtpassing",
];

/// Not honoured, each with the values that ask for nothing.
const NOT_HONOURED: &[(&str, &[&str])] = &[
    ("bindinterface", &[]),
    ("canonicalizehostname", &["no", "false", "none"]),
    ("casignaturealgorithms", &[]),
    ("cipher", &[]),
    ("ciphers", &[]),
    ("hostkeyalgorithms", &[]),
    ("identityprovider", &[]),
    ("kexalgorithms", &[]),
    ("knownhostscommand", &["none"]),
    ("macs", &[]),
    ("pkcs11provider", &["none"]),
    ("preferredauthentications", &[]),
    ("proxyusefdpass", &["no", "false"]),
    ("pubkeyacceptedalgorithms", &[]),
    ("pubkeyacceptedkeytypes", &[]),
    (
        "pubkeyauthentication",
        &["yes", "true", "unbound", "host-bound"],
    ),
    ("dsaauthentication", &["yes", "true"]),
    ("remotecommand", &["none"]),
    ("requiredrsasize", &[]),
    ("setenv", &[]),
];

/// Options in whose values passwords are found. Warnings are told to clients.
const SECRET: &[&str] = &["knownhostscommand", "remotecommand", "setenv"];

/// Whether an option's value is told to nobody.
pub(super) fn is_secret(keyword: &str) -> bool {
    SECRET.iter().any(|name| name.eq_ignore_ascii_case(keyword))
}

/// Looks a keyword up; its letters' case is nothing.
pub(super) fn meaning(keyword: &str) -> Meaning {
    let keyword = keyword.to_ascii_lowercase();
    let structure = match keyword.as_str() {
        "host" => Some(Structure::Host),
        "match" => Some(Structure::Match),
        "include" => Some(Structure::Include),
        "ignoreunknown" => Some(Structure::IgnoreUnknown),
        _ => None,
    };
    if let Some(structure) = structure {
        return Meaning::Structure(structure);
    }
    if let Some((_, honoured)) = HONOURED.iter().find(|(name, _)| *name == keyword) {
        return Meaning::Honoured(*honoured);
    }
    if let Some((_, nothing)) = NOT_HONOURED.iter().find(|(name, _)| *name == keyword) {
        return Meaning::NotHonoured(nothing);
    }
    if HARMLESS.contains(&keyword.as_str()) {
        return Meaning::Harmless;
    }
    Meaning::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OpenSSH knows and says of itself: `ssh -G` prints its options, `man ssh_config` too.
    #[test]
    fn no_keyword_stands_twice() {
        let mut all: Vec<&str> = HARMLESS.to_vec();
        all.extend(HONOURED.iter().map(|(name, _)| *name));
        all.extend(NOT_HONOURED.iter().map(|(name, _)| *name));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|name| *name == name.to_ascii_lowercase()));
    }
}
