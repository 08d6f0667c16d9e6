//! Which addresses a server connects to on behalf of users. A user chooses the URL of a webhook, so by default only
//! addresses of the public internet are allowed: otherwise a user could reach what only the server can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR notation, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(a: u16, b: u16, prefix: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)), prefix }
    }

    /// Whether an address is in the network. An IPv4-mapped IPv6 address is not in an IPv4 network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or_default();
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or_default();
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address or a network such as 10.0.0.0/8");
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// IPv4 networks that are not the public internet (RFC 6890 and the registry of special-purpose addresses).
const SPECIAL_V4: [Network; 16] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    // Shared by the customers of a provider (RFC 6598).
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    // Link-local, with the metadata of cloud providers.
    Network::v4(169, 254, 0, 0, 16),
    // The platform of Azure, which only its virtual machines reach.
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    // Multicast, and the reserved rest.
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
];

/// The IPv6 addresses that are assigned for the public internet.
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 3);

/// IPv6 networks within [`GLOBAL_V6`] that are not the public internet, or that contain an IPv4 address.
const SPECIAL_V6: [Network; 4] = [
    // Teredo and other protocols.
    Network::v6(0x2001, 0, 23),
    Network::v6(0x2001, 0x0db8, 32),
    // 6to4.
    Network::v6(0x2002, 0, 16),
    Network::v6(0x3fff, 0, 20),
];

/// Whether an IPv6 address has the interface of an IPv4 address (ISATAP, RFC 5214), which any network can contain.
fn is_isatap(address: Ipv6Addr) -> bool {
    /// The bits "universal" and "group" of an interface.
    const FLAGS: u16 = 0x0300;
    let [_, _, _, _, start, end, _, _] = address.segments();
    start & !FLAGS == 0 && end == 0x5efe
}

/// Whether an address is one of the public internet. All IPv6 addresses that stand for an IPv4 address are refused: mapped,
/// compatible, NAT64, 6to4, Teredo and ISATAP.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !SPECIAL_V4.iter().any(|network| network.contains(address)),
        IpAddr::V6(v6) => {
            let is_special = SPECIAL_V6.iter().any(|network| network.contains(address)) || is_isatap(v6);
            GLOBAL_V6.contains(address) && !is_special
        }
    }
}

/// Whether a server may connect to an address: a public one, or one that the operator allows.
pub fn is_allowed(address: IpAddr, allowed: &[Network]) -> bool {
    is_public(address) || allowed.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let public = |text: &str| is_public(text.parse().unwrap());
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "169.253.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "126.0.0.1",
            "128.0.0.1",
            "11.0.0.1",
            "9.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2003::1",
            "3ffe::1",
            "2606:4700::5eff:7f00:1",
            "2606:4700::1:5efe:7f00:1",
            "2606:4700::5efe:0:7f00:1",
        ] {
            assert!(public(text), "{text}");
        }
        for text in [
            // Unspecified, "this network", private, loopback, link-local and metadata, shared, multicast, reserved.
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            // The same in IPv6, and everything that stands for an IPv4 address.
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:0:53aa:64c:0:7fff:5678:9abc",
            "5f00::1",
            "2606:4700::5efe:7f00:1",
            "2606:4700::5efe:127.0.0.1",
            "2606:4700::200:5efe:7f00:1",
            "2606:4700::100:5efe:10.0.0.1",
            "2606:4700:1:2:300:5efe:a9fe:a9fe",
            "2606:4700::5efe:808:808",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn the_operator_allows_networks_and_addresses() {
        let allowed = |networks: &str, address: &str| {
            let networks: Vec<Network> = networks.split(',').map(|text| text.parse().unwrap()).collect();
            is_allowed(address.parse().unwrap(), &networks)
        };
        assert!(allowed("10.1.0.0/16", "10.1.2.3") && !allowed("10.1.0.0/16", "10.2.2.3"));
        assert!(allowed("127.0.0.1", "127.0.0.1") && !allowed("127.0.0.1", "127.0.0.2"));
        assert!(allowed("fd00::/8, 192.168.1.7", "fd12::1") && allowed("fd00::/8, 192.168.1.7", "192.168.1.7"));
        assert!(allowed("0.0.0.0/0", "10.0.0.1") && !allowed("0.0.0.0/0", "::1") && allowed("::/0", "::1"));
        // A mapped address is another one.
        assert!(!allowed("127.0.0.0/8", "::ffff:127.0.0.1"));
        for text in
            ["", "10", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "localhost", "10.0.0.0/8/8", "10.0.0.256"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
