//! The networks that terminals are reached on, and which of them reaches a terminal. Pure: the route is passed in.

use std::net::IpAddr;

use relay_user::Tags;

/// A network that terminals are reached on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name in logs and errors.
    pub name: String,
    /// The interface that leads to it.
    pub interface: String,
    /// Our media address on that interface.
    pub address: IpAddr,
    /// The address that terminals there are told instead, where a one-to-one NAT stands before us.
    pub advertise: Option<IpAddr>,
    /// Tags of frames towards it.
    pub vlan: Tags,
}

impl Network {
    /// The address that terminals of this network are told.
    #[must_use]
    pub fn told_address(&self) -> IpAddr {
        self.advertise.unwrap_or(self.address)
    }
}

/// No configured network reaches a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The route leaves by an interface that no network names.
    #[error(
        "the terminal {terminal} is reached through the interface {interface}, but the networks are {networks}: add a \
         [[network]] with interface = \"{interface}\", or correct the route"
    )]
    NoNetwork {
        /// The terminal.
        terminal: IpAddr,
        /// The interface of the route.
        interface: String,
        /// The configured networks.
        networks: String,
    },
    /// The networks on the interface are of another address family.
    #[error(
        "the terminal {terminal} is reached through the interface {interface}, but no network there has an \
         {family} address: the networks are {networks}"
    )]
    NoFamily {
        /// The terminal.
        terminal: IpAddr,
        /// The interface of the route.
        interface: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The configured networks.
        networks: String,
    },
}

/// The network that reaches a terminal whose route leaves by `interface` with `source` as our address. Of several
/// networks on the interface, the one with that source address is taken, else the first.
///
/// # Errors
/// [`NetworkError`] when no network is on the interface, or none of the terminal's address family.
pub fn choose<'a>(
    networks: &'a [Network],
    terminal: IpAddr,
    interface: &str,
    source: IpAddr,
) -> Result<&'a Network, NetworkError> {
    let mut there = networks.iter().filter(|network| network.interface == interface).peekable();
    if there.peek().is_none() {
        return Err(NetworkError::NoNetwork {
            terminal,
            interface: interface.to_owned(),
            networks: listed(networks),
        });
    }
    let same_family: Vec<&Network> =
        there.filter(|network| network.address.is_ipv4() == terminal.is_ipv4()).collect();
    let exact = same_family.iter().find(|network| network.address == source);
    exact.or(same_family.first()).copied().ok_or_else(|| NetworkError::NoFamily {
        terminal,
        interface: interface.to_owned(),
        family: if terminal.is_ipv4() { "IPv4" } else { "IPv6" },
        networks: listed(networks),
    })
}

fn listed(networks: &[Network]) -> String {
    if networks.is_empty() {
        return "none".to_owned();
    }
    let each = |network: &Network| format!("{} ({} on {})", network.name, network.address, network.interface);
    networks.iter().map(each).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Network, Tags, choose};

    fn network(name: &str, interface: &str, address: &str) -> Network {
        Network {
            name: name.into(),
            interface: interface.into(),
            address: address.parse().unwrap(),
            advertise: None,
            vlan: Tags::NONE,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_route_decides_and_its_source_address_among_several() {
        let networks = [
            network("a", "eth1", "10.0.0.1"),
            network("b", "eth2", "10.1.0.1"),
            network("c", "eth2", "10.2.0.1"),
        ];
        let chosen =
            |terminal, interface, source| choose(&networks, ip(terminal), interface, ip(source)).unwrap();
        assert_eq!(chosen("10.0.0.9", "eth1", "10.0.0.1").name, "a");
        assert_eq!(chosen("10.2.0.9", "eth2", "10.2.0.1").name, "c");
        assert_eq!(chosen("10.3.0.9", "eth2", "10.3.0.1").name, "b");
    }

    #[test]
    fn the_errors_name_the_terminal_the_interface_and_the_networks() {
        let networks = [network("operators", "eth1", "10.0.0.1")];
        let elsewhere = choose(&networks, ip("10.9.0.9"), "eth7", ip("10.9.0.1")).unwrap_err().to_string();
        assert_eq!(
            elsewhere,
            "the terminal 10.9.0.9 is reached through the interface eth7, but the networks are operators (10.0.0.1 on \
             eth1): add a [[network]] with interface = \"eth7\", or correct the route"
        );
        let family = choose(&networks, ip("2001:db8::9"), "eth1", ip("2001:db8::1")).unwrap_err().to_string();
        assert!(family.contains("no network there has an IPv6 address"), "{family}");
    }
}
