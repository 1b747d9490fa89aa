//! A coordinator and its builders.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use data_encoding::BASE64;

use crate::{
    Error, Host, HostOptions, Link, MachineLine, PairOptions, error::While, keys, network::Network,
};

/// A coordinator and its builders, in a network of their own. Root of the coordinator has a key that lets it in as root
/// on each builder; it knows no host key but by the machine lines.
#[derive(Debug)]
pub struct Pair {
    /// The host whose daemon wants things built.
    pub coordinator: Host,
    /// The first builder, at 127.0.0.1.
    pub builder: Host,
    /// The other builders, at 127.0.0.2 and up.
    pub extra_builders: Vec<Host>,
    host_keys: Vec<String>,
    link: Option<Link>,
    network: Network,
}

impl Pair {
    /// Starts the hosts and waits until their services take connections.
    ///
    /// # Errors
    /// If the machine refuses something or a service does not come up; what was started has ended by then.
    ///
    /// # Panics
    /// If there are more than [`PairOptions::EXTRA_BUILDERS_MAX`] extra builders.
    pub fn start(options: PairOptions) -> Result<Self, Error> {
        assert!(
            options.extra_builders.len() <= PairOptions::EXTRA_BUILDERS_MAX,
            "too many builders"
        );
        let network = Network::create()?;
        let mut key = String::new();
        let coordinator = Host::start(
            "coordinator",
            &options.coordinator,
            None,
            &network,
            |root| {
                key = keys::generate(&root.join("root/.ssh/id_ed25519"), "coordinator")?;
                Ok(())
            },
        )?;
        let (mut builders, mut host_keys) = (Vec::new(), Vec::new());
        for (host_options, number) in std::iter::once(&options.builder)
            .chain(&options.extra_builders)
            .zip(1..)
        {
            let (host, host_key) = start_builder(number, host_options, &key, &network)?;
            builders.push(host);
            host_keys.push(host_key);
        }
        let extra_builders = builders.split_off(1);
        let builder = builders.pop().expect("the first one was not split off");
        let mut pair = Self {
            coordinator,
            builder,
            extra_builders,
            host_keys,
            link: None,
            network,
        };
        if !options.round_trip.is_zero() {
            pair.link = Some(pair.open_link(options.round_trip)?);
        }
        Ok(pair)
    }

    /// The first builder and then the others.
    pub fn builders(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.builder).chain(&self.extra_builders)
    }

    /// The line of `/etc/nix/machines` for the first builder: `ssh-ng`, root's key, the host key pinned, through the
    /// link if there is one.
    pub fn machine_line(&self) -> MachineLine {
        let address = self.link.as_ref().map_or(builder_address(1), Link::address);
        self.line(0, address)
    }

    /// As [`machine_line`](Pair::machine_line) for the extra builder of that index, without a link.
    ///
    /// # Panics
    /// If there is none of that index.
    pub fn extra_machine_line(&self, index: usize) -> MachineLine {
        let host = &self.extra_builders[index];
        self.line(
            index + 1,
            host.address().expect("every builder has an sshd"),
        )
    }

    fn line(&self, builder: usize, address: Ipv4Addr) -> MachineLine {
        let host_key = self.host_keys[builder].clone();
        MachineLine {
            host_key,
            ..MachineLine::new(format!("ssh-ng://root@{address}"))
        }
    }

    /// The link that [`PairOptions::round_trip`] asked for.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Another way to the first builder, over which a byte and its answer take `round_trip`.
    ///
    /// # Errors
    /// If a link of this pair is there already.
    pub fn open_link(&self, round_trip: Duration) -> Result<Link, Error> {
        Link::start(
            &self.network,
            Ipv4Addr::new(127, 0, 1, 1),
            builder_address(1),
            round_trip,
        )
    }
}

/// The builder's host, and the base64 of its host key as a machine line has it.
fn start_builder(
    number: u8,
    options: &HostOptions,
    authorized: &str,
    network: &Network,
) -> Result<(Host, String), Error> {
    let name = if number == 1 {
        "builder".to_owned()
    } else {
        format!("builder{number}")
    };
    let mut host_key = String::new();
    let host = Host::start(
        &name,
        options,
        Some(builder_address(number)),
        network,
        |root| {
            host_key = BASE64.encode(
                keys::generate(&root.join("etc/ssh/ssh_host_ed25519_key"), &name)?.as_bytes(),
            );
            authorize(root, authorized)
        },
    )?;
    Ok((host, host_key))
}

fn authorize(root: &Path, key: &str) -> Result<(), Error> {
    fs::write(root.join("root/.ssh/authorized_keys"), format!("{key}\n"))
        .while_trying(|| "let the coordinator's key in".into())
}

fn builder_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}
