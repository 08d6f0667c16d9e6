//! How often who may ask, and how many sockets a user may have, or an address as long as nobody has said who they are.
//!
//! An operation counts against its user where its token holds, and else against the address it came from. So the failures of
//! one behind a shared address never shut out another who is signed in there, and a user gains nothing by many addresses.
//! This is no layer around the doors: who is to be charged is known only once the token has been looked at.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, header::FORWARDED};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};

use crate::model::{actor::Actor, error::Error, ids::UserId, limits::Limits};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// How many seconds' worth may come at once.
const BURST: u32 = 10;
/// What a token that does not hold counts as, in operations.
const FAILURE: u32 = 10;

/// Who is charged for an operation that comes without a valid token; none where it cannot be told apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

/// A refusal, and when to come again.
pub struct TooOften {
    /// `RateLimited`, with the setting's name.
    pub error: Error,
    /// In whole seconds, at least one.
    pub retry_after: u64,
}

/// What everyone has used up of their share.
pub struct Throttle {
    users: Option<Share>,
    addresses: Option<Share>,
    trusted_proxies: usize,
    max_user_sockets: usize,
    max_address_sockets: usize,
    sockets: Mutex<HashMap<Holder, usize>>,
}

/// Whose a socket is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    User(UserId),
    /// It has not been said yet.
    Address(Address),
}

impl Throttle {
    /// Nobody has used up anything.
    pub fn new(limits: &Limits, trusted_proxies: usize) -> Self {
        Self {
            users: Share::new(limits.max_user_rate, "--max-user-rate"),
            addresses: Share::new(limits.max_address_rate, "--max-address-rate"),
            trusted_proxies,
            max_user_sockets: limits.max_user_sockets,
            max_address_sockets: limits.max_address_sockets,
            sockets: Mutex::default(),
        }
    }

    /// The address behind a connection from `peer`. Where proxies are trusted, it is what the outermost of them saw, by
    /// `X-Forwarded-For` or, without that, by `Forwarded` (RFC 7239); what a client writes into the header itself stands left of
    /// that, and is not looked at. A loopback peer without a trusted proxy
    /// is a proxy that nobody has spoken of, or the operator: it is everyone, and so it is no one to charge.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Address> {
        let trusted = self.trusted_proxies.checked_sub(1);
        let hop = trusted.and_then(|skipped| forwarded_for(headers, skipped));
        // A proxy that has written something else than an address is one for all that it says so of.
        let is_forwarded =
            trusted.is_some() && (headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED));
        let address = match hop.unwrap_or(peer).to_canonical() {
            // A household or a machine has all of a /64.
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                if address.is_loopback() { address.into() } else { Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into() }
            }
            address => address,
        };
        (is_forwarded || !address.is_loopback()).then_some(Address(address))
    }

    /// Charges for operations that are about to run.
    ///
    /// # Errors
    /// Where that would be too many in too short a time; then nothing is charged.
    pub fn admit(&self, actor: Option<&Actor>, address: Option<Address>, operations: usize) -> Result<(), TooOften> {
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        match (actor, address) {
            (Some(actor), _) => charge(self.users.as_ref(), actor.user_id.0, operations),
            (None, Some(address)) => charge(self.addresses.as_ref(), address, operations),
            (None, None) => Ok(()),
        }
    }

    /// Charges for a token that does not hold.
    ///
    /// # Errors
    /// Where there were too many of them; then that is the answer, and not what is wrong with this one.
    pub fn failed(&self, address: Option<Address>) -> Result<(), TooOften> {
        address.map_or(Ok(()), |address| charge(self.addresses.as_ref(), address, FAILURE))
    }

    /// Counts a socket of the user's, until what is returned is dropped.
    ///
    /// # Errors
    /// `RateLimited`, where the user has as many as there may be.
    pub fn open_socket(self: &Arc<Self>, user: UserId) -> Result<OpenSocket, Error> {
        let limit = self.max_user_sockets;
        self.hold(Holder::User(user), limit).ok_or_else(|| Error::RateLimited {
            message: format!("A user may have {limit} WebSockets and event streams open (--max-user-sockets)."),
            retry_after: None,
        })
    }

    /// Counts a socket of nobody's yet against its address, likewise; none where that cannot be told apart from others.
    ///
    /// # Errors
    /// `RateLimited`, where the address has as many as there may be.
    pub fn open_unknown_socket(self: &Arc<Self>, address: Option<Address>) -> Result<Option<OpenSocket>, Error> {
        let limit = self.max_address_sockets;
        let held = address.map(|address| self.hold(Holder::Address(address), limit).ok_or(limit)).transpose();
        held.map_err(|limit| Error::RateLimited {
            message: format!(
                "An address may have {limit} WebSockets open whose user is not known (--max-address-sockets)."
            ),
            retry_after: None,
        })
    }

    fn hold(self: &Arc<Self>, holder: Holder, limit: usize) -> Option<OpenSocket> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sockets.get(&holder).copied().unwrap_or_default();
        (count < limit).then(|| {
            sockets.insert(holder, count + 1);
            OpenSocket { throttle: self.clone(), holder }
        })
    }
}

/// The address in the last but `skipped` hop of the headers that proxies append to.
fn forwarded_for(headers: &HeaderMap, skipped: usize) -> Option<IpAddr> {
    let all = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let hops = all(FORWARDED_FOR);
    if !hops.is_empty() {
        return node(hops.iter().flat_map(|value| value.split(',')).rev().nth(skipped)?);
    }
    let hops = all(FORWARDED.as_str());
    let hop = hops.iter().flat_map(|value| unquoted(value, ',')).rev().nth(skipped)?;
    let pairs = unquoted(hop, ';');
    let said =
        pairs.iter().filter_map(|pair| pair.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    node(said?.1)
}

/// The parts of a header's value, which a separator within quotes does not end.
fn unquoted(value: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let ends = move |character: char| {
        is_quoted ^= character == '"';
        !is_quoted && character == separator
    };
    value.split(ends).collect()
}

/// The address of a hop: quoted or not, with or without a port, and IPv6 in brackets or not, with or without a zone.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    let address = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        // An IPv4 address with a port has one colon, an IPv6 address more.
        None => text.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(text, |(address, _)| address),
    };
    address.split('%').next()?.parse().ok()
}

/// A socket that is counted.
pub struct OpenSocket {
    throttle: Arc<Throttle>,
    holder: Holder,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let mut sockets = self.throttle.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sockets.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                sockets.remove(&self.holder);
            }
        }
    }
}

/// What each of many may use. They are told apart by 16 bits of a hash that nobody outside can know, so that its memory has a
/// bound however many come; two that fall together, one pair in 65,536, have one share between them.
struct Share {
    limiter: DefaultKeyedRateLimiter<u16>,
    hasher: RandomState,
    burst: NonZeroU32,
    rate: u32,
    setting: &'static str,
}

impl Share {
    /// None where the rate is 0: no limit.
    fn new(rate: u32, setting: &'static str) -> Option<Self> {
        let per_second = NonZeroU32::new(rate)?;
        let burst = per_second.saturating_mul(NonZeroU32::new(BURST)?);
        let limiter = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Some(Self { limiter, hasher: RandomState::new(), burst, rate, setting })
    }
}

fn charge(share: Option<&Share>, who: impl Hash, operations: u32) -> Result<(), TooOften> {
    let (Some(share), Some(operations)) = (share, NonZeroU32::new(operations)) else { return Ok(()) };
    let [low, high, ..] = share.hasher.hash_one(who).to_le_bytes();
    // What is more than a burst can ever be is charged as one.
    let charged = share.limiter.check_key_n(&u16::from_le_bytes([low, high]), operations.min(share.burst));
    let Ok(Err(not_yet)) = charged else { return Ok(()) };
    let wait = not_yet.wait_time_from(share.limiter.clock().now());
    let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let retry_after = retry_after.max(1);
    let (rate, burst, setting) = (share.rate, share.burst, share.setting);
    let message =
        format!("There may be {rate} a second, and {burst} at once ({setting}): try again in {retry_after} s.");
    let error = Error::RateLimited { message, retry_after: Some(retry_after) };
    Err(TooOften { error, retry_after })
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
    fn an_address_is_what_the_outermost_trusted_proxy_saw() {
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
            // What is no address is no way around the limits.
            assert_ne!(seen(1, loopback, &["unknown"]), "nobody");
        }
    }

    #[test]
    fn an_address_may_come_by_the_standard_header() {
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
        // A proxy that writes the one may pass on whatever its client wrote into the other.
        assert_eq!(seen(1, &[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
    }

    #[test]
    fn each_user_and_each_address_has_a_share_of_its_own() {
        let throttle = throttle(1, 1, 0);
        let actor = |id: u128| Actor {
            user_id: UserId(uuid::Uuid::from_u128(id)),
            expires_at: 0,
            verified_email: None,
            claims: Arc::default(),
        };
        let address = |last: u8| throttle.address(IpAddr::from([192, 0, 2, last]), &HeaderMap::new());
        // A user's share is ten at once, by whatever address, and what an address has used up is nothing to it.
        assert!(throttle.failed(address(1)).is_ok());
        assert!(throttle.failed(address(1)).is_err());
        assert!(throttle.admit(None, address(1), 1).is_err());
        for _ in 0..10 {
            assert!(throttle.admit(Some(&actor(1)), address(1), 1).is_ok());
        }
        let refused = throttle.admit(Some(&actor(1)), address(2), 1).unwrap_err();
        assert!((1..=2).contains(&refused.retry_after));
        assert!(refused.error.message().contains("--max-user-rate"));
        // A batch is charged as a whole or not at all.
        assert!(throttle.admit(None, address(2), 6).is_ok());
        assert!(throttle.admit(None, address(2), 6).is_err());
        assert!(throttle.admit(None, address(2), 4).is_ok());
        assert!(throttle.admit(None, address(3), 10_000).is_ok());
        assert!(throttle.admit(None, None, 1).is_ok());
    }

    #[test]
    fn many_who_ask_once_cost_a_bounded_memory_and_nothing_is_limited_by_0() {
        let throttle = throttle(0, 1, 0);
        for number in 0_u32..200_000 {
            let peer = IpAddr::from(number.wrapping_mul(2_654_435_761).to_be_bytes());
            let _ = throttle.admit(None, throttle.address(peer, &HeaderMap::new()), 1);
        }
        assert!(throttle.addresses.unwrap().limiter.len() <= 65_536);
        let actor = Actor {
            user_id: UserId(uuid::Uuid::from_u128(1)),
            expires_at: 0,
            verified_email: None,
            claims: Arc::default(),
        };
        for _ in 0..1_000 {
            assert!(charge(throttle.users.as_ref(), actor.user_id.0, 1_000).is_ok());
        }
    }

    #[test]
    fn a_user_or_an_address_has_only_so_many_sockets_and_a_closed_one_makes_room() {
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

        // Until its user is known, it is its address's.
        let [here, there] = [1, 2].map(|last| throttle.address(IpAddr::from([192, 0, 2, last]), &HeaderMap::new()));
        let first = throttle.open_unknown_socket(here).ok().unwrap();
        let refused = throttle.open_unknown_socket(here).err().unwrap();
        assert!(refused.message().contains("--max-address-sockets"));
        drop(throttle.open_unknown_socket(there).ok().unwrap());
        drop(first);
        drop(throttle.open_unknown_socket(here).ok().unwrap());
        assert!(throttle.open_unknown_socket(None).ok().unwrap().is_none());
        assert_eq!(throttle.sockets.lock().unwrap().len(), 1);
    }
}
