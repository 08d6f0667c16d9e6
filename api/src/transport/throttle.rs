//! Rate limits, and limits on open sockets per user, or per address until the user is known.
//!
//! An operation with a valid token counts against its user, any other against the address it came from. So failures
//! behind a shared address never block a signed-in user there, and a user gains nothing by using many addresses. This
//! is not a middleware layer, because the user is known only after the token has been verified.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
};

use axum::http::{HeaderMap, header::FORWARDED};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use parking_lot::Mutex;

use crate::model::{actor::Actor, error::Error, ids::UserId, limits::Limits};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Size of a burst, in seconds of the rate.
const BURST_SECONDS: u32 = 10;
/// Cost of an invalid token, in operations.
const FAILURE_COST: u32 = 10;

/// The address that is charged for operations without a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

/// A refusal because of a rate limit.
pub struct TooOften {
    /// `RateLimited`, with the setting's name.
    pub error: Error,
}

/// Counts the use of each user and address.
pub struct Throttle {
    users: Option<RateLimit>,
    addresses: Option<RateLimit>,
    trusted_proxies: usize,
    max_user_sockets: usize,
    max_address_sockets: usize,
    sockets: Mutex<HashMap<Holder, usize>>,
}

/// The owner of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    User(UserId),
    /// The user is not known yet.
    Address(Address),
}

impl Throttle {
    /// A throttle without any use so far.
    pub fn new(limits: &Limits, trusted_proxies: usize) -> Self {
        Self {
            users: RateLimit::new(limits.max_user_rate, "--max-user-rate"),
            addresses: RateLimit::new(limits.max_address_rate, "--max-address-rate"),
            trusted_proxies,
            max_user_sockets: limits.max_user_sockets,
            max_address_sockets: limits.max_address_sockets,
            sockets: Mutex::default(),
        }
    }

    /// The client address of a connection from `peer`. With trusted proxies it is the address that the outermost one
    /// saw, from `X-Forwarded-For` or else from `Forwarded` (RFC 7239). Anything to the left of it was sent by the
    /// client and is ignored. Returns `None` for a loopback peer without a trusted proxy: it is the operator, or a
    /// proxy that is not configured, which would charge all clients as one.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Address> {
        let trusted = self.trusted_proxies.checked_sub(1);
        let hop = trusted.and_then(|skipped| forwarded_for(headers, skipped));
        // Otherwise a proxy that writes something other than an address would exempt its clients from the limits.
        let is_forwarded =
            trusted.is_some() && (headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED));
        let address = match hop.unwrap_or(peer).to_canonical() {
            // A household or a machine usually owns a whole /64.
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                if address.is_loopback() { address.into() } else { Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into() }
            }
            address => address,
        };
        (is_forwarded || !address.is_loopback()).then_some(Address(address))
    }

    /// Charges for operations before they run.
    ///
    /// # Errors
    /// If they exceed the rate; then nothing is charged.
    pub fn admit(&self, actor: Option<&Actor>, address: Option<Address>, operations: usize) -> Result<(), TooOften> {
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        match (actor, address) {
            (Some(actor), _) => charge(self.users.as_ref(), actor.user_id.0, operations),
            (None, Some(address)) => charge(self.addresses.as_ref(), address, operations),
            (None, None) => Ok(()),
        }
    }

    /// Charges for an invalid token.
    ///
    /// # Errors
    /// If there were too many; the caller returns this instead of the reason for this token.
    pub fn failed(&self, address: Option<Address>) -> Result<(), TooOften> {
        address.map_or(Ok(()), |address| charge(self.addresses.as_ref(), address, FAILURE_COST))
    }

    /// Counts a socket of the user until the returned value is dropped.
    ///
    /// # Errors
    /// `RateLimited` if the user has reached the limit.
    pub fn open_socket(self: &Arc<Self>, user: UserId) -> Result<OpenSocket, Error> {
        let limit = self.max_user_sockets;
        self.acquire(Holder::User(user), limit).ok_or_else(|| Error::RateLimited {
            message: format!("A user can have at most {limit} open WebSockets and event streams (--max-user-sockets)."),
            retry_after: None,
        })
    }

    /// Counts a socket whose user is not known yet against its address. `None` without an address to charge.
    ///
    /// # Errors
    /// `RateLimited` if the address has reached the limit.
    pub fn open_unknown_socket(self: &Arc<Self>, address: Option<Address>) -> Result<Option<OpenSocket>, Error> {
        let limit = self.max_address_sockets;
        let held = address.map(|address| self.acquire(Holder::Address(address), limit).ok_or(limit)).transpose();
        held.map_err(|limit| Error::RateLimited {
            message: format!(
                "An address can have at most {limit} open WebSockets without a known user (--max-address-sockets)."
            ),
            retry_after: None,
        })
    }

    fn acquire(self: &Arc<Self>, holder: Holder, limit: usize) -> Option<OpenSocket> {
        let mut sockets = self.sockets.lock();
        let count = sockets.get(&holder).copied().unwrap_or_default();
        (count < limit).then(|| {
            sockets.insert(holder, count + 1);
            OpenSocket { throttle: self.clone(), holder }
        })
    }
}

/// The address in the forwarding headers, `skipped` hops from the right.
fn forwarded_for(headers: &HeaderMap, skipped: usize) -> Option<IpAddr> {
    let all = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let hops = all(FORWARDED_FOR);
    if !hops.is_empty() {
        return parse_hop(hops.iter().flat_map(|value| value.split(',')).rev().nth(skipped)?);
    }
    let hops = all(FORWARDED.as_str());
    let hop = hops.iter().flat_map(|value| unquoted(value, ',')).rev().nth(skipped)?;
    let pairs = unquoted(hop, ';');
    let said =
        pairs.iter().filter_map(|pair| pair.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    parse_hop(said?.1)
}

/// Splits a header value at separators outside of quotes.
fn unquoted(value: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let ends = move |character: char| {
        is_quoted ^= character == '"';
        !is_quoted && character == separator
    };
    value.split(ends).collect()
}

/// Parses the address of a hop: with or without quotes and port; IPv6 with or without brackets and zone.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    let address = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        // An IPv4 address with a port has one colon, an IPv6 address has more.
        None => text.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(text, |(address, _)| address),
    };
    address.split('%').next()?.parse().ok()
}

/// A counted socket.
pub struct OpenSocket {
    throttle: Arc<Throttle>,
    holder: Holder,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let mut sockets = self.throttle.sockets.lock();
        if let Some(count) = sockets.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                sockets.remove(&self.holder);
            }
        }
    }
}

/// A rate limit with a counter per user or address. The key is 16 bits of a hash with a secret seed, which bounds the
/// memory. Two users with the same key (one pair in 65,536) share a counter.
struct RateLimit {
    limiter: DefaultKeyedRateLimiter<u16>,
    hasher: RandomState,
    burst: NonZeroU32,
    rate: u32,
    setting: &'static str,
}

impl RateLimit {
    /// `None` if the rate is 0, which means no limit.
    fn new(rate: u32, setting: &'static str) -> Option<Self> {
        let per_second = NonZeroU32::new(rate)?;
        let burst = per_second.saturating_mul(NonZeroU32::new(BURST_SECONDS)?);
        let limiter = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Some(Self { limiter, hasher: RandomState::new(), burst, rate, setting })
    }
}

fn charge(share: Option<&RateLimit>, who: impl Hash, operations: u32) -> Result<(), TooOften> {
    let (Some(share), Some(operations)) = (share, NonZeroU32::new(operations)) else { return Ok(()) };
    let [low, high, ..] = share.hasher.hash_one(who).to_le_bytes();
    // A request above the burst size is charged as a full burst; otherwise it could never succeed.
    let charged = share.limiter.check_key_n(&u16::from_le_bytes([low, high]), operations.min(share.burst));
    let Ok(Err(not_yet)) = charged else { return Ok(()) };
    let wait = not_yet.wait_time_from(share.limiter.clock().now());
    let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let retry_after = retry_after.max(1);
    let (rate, burst, setting) = (share.rate, share.burst, share.setting);
    let message =
        format!("The limit is {rate} per second and {burst} at once ({setting}). Try again in {retry_after} s.");
    let error = Error::RateLimited { message, retry_after: Some(retry_after) };
    Err(TooOften { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(user_rate: u32, address_rate: u32, trusted_proxies: usize) -> Throttle {
        let settings = crate::config::Cli::try_parse_from(["antiphon"]).unwrap().settings;
        let rates = Limits { max_user_rate: user_rate, max_address_rate: address_rate, ..settings.limits };
        Throttle::new(&rates, trusted_proxies)
    }

    #[test]
    fn the_address_is_the_one_that_the_outermost_trusted_proxy_saw() {
        let seen = |trusted: usize, peer: &str, forwarded: &[&str]| {
            let forwarded = forwarded.iter().map(|value| ("x-forwarded-for".parse().unwrap(), value.parse().unwrap()));
            let address = throttle(1, 1, trusted).address(peer.parse().unwrap(), &forwarded.collect());
            address.map_or("nobody".to_owned(), |address| address.0.to_string())
        };
        assert_eq!(seen(0, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen(1, "192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen(1, "192.0.2.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen(2, "192.0.2.1", &["203.0.113.9", "203.0.113.8 , 198.51.100.7"]), "203.0.113.8");
        for nothing in [&[][..], &["unknown"], &[""], &["203.0.113.9,"]] {
            assert_eq!(seen(1, "192.0.2.1", nothing), "192.0.2.1", "{nothing:?}");
        }
        assert_eq!(seen(2, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        for (said, address) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("\"198.51.100.7:4711\"", "198.51.100.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::"),
            ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::"),
            ("\"[2001:db8:1:2::7]:443\"", "2001:db8:1:2::"),
            ("fe80::1%eth0", "fe80::"),
            ("[fe80::1%25eth0]:443", "fe80::"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
            ("_hidden", "192.0.2.1"),
            ("[", "192.0.2.1"),
            (":", "192.0.2.1"),
        ] {
            assert_eq!(seen(1, "192.0.2.1", &["203.0.113.9", said]), address, "{said}");
        }
        assert_eq!(seen(0, "::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(seen(0, "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(seen(0, loopback, &["198.51.100.7"]), "nobody");
            assert_eq!(seen(1, loopback, &[]), "nobody");
            assert_eq!(seen(1, loopback, &["127.0.0.1"]), "127.0.0.1");
            // A value that is not an address must not bypass the limits.
            assert_ne!(seen(1, loopback, &["unknown"]), "nobody");
        }
    }

    #[test]
    fn the_address_can_come_from_the_forwarded_header() {
        let seen = |trusted: usize, forwarded: &[(&str, &str)]| {
            let forwarded = forwarded.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let address = throttle(1, 1, trusted).address("192.0.2.1".parse().unwrap(), &forwarded.collect());
            address.map_or("nobody".to_owned(), |address| address.0.to_string())
        };
        for (said, address) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("For=\"198.51.100.7:4711\";proto=https;by=203.0.113.43", "198.51.100.7"),
            ("proto=http; for=\"[2001:db8:1:2::7]:443\"", "2001:db8:1:2::"),
            ("for=203.0.113.9, for=198.51.100.7", "198.51.100.7"),
            ("for=203.0.113.9,for=\"198.51.100.7\";host=\"a,for=192.0.2.43;b\"", "198.51.100.7"),
            ("for=unknown", "192.0.2.1"),
            ("for=203.0.113.9, proto=https", "192.0.2.1"),
            ("for=\"_gazonk\"", "192.0.2.1"),
            ("for=\"", "192.0.2.1"),
        ] {
            assert_eq!(seen(1, &[("forwarded", said)]), address, "{said}");
            assert_eq!(seen(0, &[("forwarded", said)]), "192.0.2.1", "{said}");
        }
        assert_eq!(seen(2, &[("forwarded", "for=203.0.113.9"), ("forwarded", "for=198.51.100.7")]), "203.0.113.9");
        // A proxy that writes one header can pass on the client's value of the other.
        assert_eq!(seen(1, &[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
    }

    #[test]
    fn each_user_and_each_address_has_its_own_limit() {
        let throttle = throttle(1, 1, 0);
        let actor = |id: u128| Actor {
            user_id: UserId(uuid::Uuid::from_u128(id)),
            expires_at: None,
            verified_email: None,
            claims: Arc::default(),
            is_machine: false,
        };
        let address = |last: u8| throttle.address(IpAddr::from([192, 0, 2, last]), &HeaderMap::new());
        // A user has a burst of ten from any address; the use of the address does not count against it.
        assert!(throttle.failed(address(1)).is_ok());
        assert!(throttle.failed(address(1)).is_err());
        assert!(throttle.admit(None, address(1), 1).is_err());
        for _ in 0..10 {
            assert!(throttle.admit(Some(&actor(1)), address(1), 1).is_ok());
        }
        let refused = throttle.admit(Some(&actor(1)), address(2), 1).unwrap_err();
        assert!(matches!(refused.error, Error::RateLimited { retry_after: Some(1..=2), .. }));
        assert!(refused.error.message().contains("--max-user-rate"));
        // A batch is charged as a whole or not at all.
        assert!(throttle.admit(None, address(2), 6).is_ok());
        assert!(throttle.admit(None, address(2), 6).is_err());
        assert!(throttle.admit(None, address(2), 4).is_ok());
        assert!(throttle.admit(None, address(3), 10_000).is_ok());
        assert!(throttle.admit(None, None, 1).is_ok());
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_0_means_no_limit() {
        let throttle = throttle(0, 1, 0);
        for number in 0_u32..200_000 {
            let peer = IpAddr::from(number.wrapping_mul(2_654_435_761).to_be_bytes());
            let _ = throttle.admit(None, throttle.address(peer, &HeaderMap::new()), 1);
        }
        assert!(throttle.addresses.unwrap().limiter.len() <= 65_536);
        let actor = Actor {
            user_id: UserId(uuid::Uuid::from_u128(1)),
            expires_at: None,
            verified_email: None,
            claims: Arc::default(),
            is_machine: false,
        };
        for _ in 0..1_000 {
            assert!(charge(throttle.users.as_ref(), actor.user_id.0, 1_000).is_ok());
        }
    }

    #[test]
    fn sockets_per_user_and_per_address_are_limited_and_closing_one_frees_a_place() {
        let throttle = throttle(1, 1, 0);
        let throttle = Arc::new(Throttle { max_user_sockets: 2, max_address_sockets: 1, ..throttle });
        let [ada, bob] = [1, 2].map(|id| UserId(uuid::Uuid::from_u128(id)));
        let first = throttle.open_socket(ada).ok();
        let _second = throttle.open_socket(ada).ok().unwrap();
        let refused = throttle.open_socket(ada).err().unwrap();
        assert!(refused.message().contains("--max-user-sockets"));
        drop(throttle.open_socket(bob).ok().unwrap());
        drop(first);
        assert!(throttle.open_socket(ada).is_ok());

        // Until its user is known, a socket counts against its address.
        let [here, there] = [1, 2].map(|last| throttle.address(IpAddr::from([192, 0, 2, last]), &HeaderMap::new()));
        let first = throttle.open_unknown_socket(here).ok().unwrap();
        let refused = throttle.open_unknown_socket(here).err().unwrap();
        assert!(refused.message().contains("--max-address-sockets"));
        drop(throttle.open_unknown_socket(there).ok().unwrap());
        drop(first);
        drop(throttle.open_unknown_socket(here).ok().unwrap());
        assert!(throttle.open_unknown_socket(None).ok().unwrap().is_none());
        assert_eq!(throttle.sockets.lock().len(), 1);
    }
}
