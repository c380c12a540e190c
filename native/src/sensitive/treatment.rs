//! What is done with a value that was found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::detector::HASH_LETTERS;

/// What is done with a value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing; for IP addresses only. Whatever else may stay needs an allow entry with its reason.
    Keep,
    /// The name of the detector stands in its place, of a card number its first six and last four digits.
    Mask,
    /// A keyed hash stands in its place, so that equal values can still be joined.
    Hash,
    /// For IP addresses: the network stays, /24 or /48.
    Truncate,
    /// The whole text that holds it goes.
    Drop,
    /// The span goes.
    Refuse,
}

impl Treatment {
    const NAMES: [(&'static str, Self); 6] = [
        ("keep", Self::Keep),
        ("mask", Self::Mask),
        ("hash", Self::Hash),
        ("truncate", Self::Truncate),
        ("drop", Self::Drop),
        ("refuse", Self::Refuse),
    ];

    /// The treatment with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, treatment)| (known == name).then_some(treatment))
    }

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find_map(|(name, treatment)| (treatment == self).then_some(name)).unwrap_or_default()
    }
}

/// Digits of a card number that PCI DSS 3.4.1 lets everyone see.
const CARD_FIRST: usize = 6;
const CARD_LAST: usize = 4;

/// First six and last four digits of a card number.
pub(super) fn shown_card(value: &[u8]) -> String {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let mut seen = 0;
    let shown = value.iter().filter(|byte| byte.is_ascii_digit()).map(|&digit| {
        seen += 1;
        if seen <= CARD_FIRST || seen + CARD_LAST > digits { char::from(digit) } else { '*' }
    });
    shown.collect()
}

/// HMAC-SHA-256 of the detector's name and the value, its first 128 bits as letters from `a` to `p`.
///
/// The name is part of it, so that one value found as two things does not join them.
pub(super) fn keyed_hash(key: &[u8], name: &str, value: &[u8]) -> String {
    // Cannot fail: HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(value);
    let bytes = mac.finalize().into_bytes();
    bytes
        .iter()
        .take(HASH_LETTERS / 2)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(b'a' + half))
        .collect()
}

/// The network of an IP address: the first 24 bits of version 4, the first 48 of version 6.
pub(super) fn truncated(value: &[u8]) -> Option<String> {
    let network = match std::str::from_utf8(value).ok()?.parse().ok()? {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    };
    Some(network.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_hmac_sha_256() {
        // Computed with Python's hmac.new(b"key", b"email\0a@b.cd", "sha256").
        let hash = keyed_hash(b"key", "email", b"a@b.cd");
        assert_eq!(hash.len(), HASH_LETTERS);
        assert_eq!(hash, "fofdbbeglplgnbkleghcohlbbleijgli");
        assert_ne!(hash, keyed_hash(b"kez", "email", b"a@b.cd"));
        assert_ne!(hash, keyed_hash(b"key", "phone", b"a@b.cd"));
    }

    #[test]
    fn networks_stay() {
        assert_eq!(truncated(b"10.2.3.4").as_deref(), Some("10.2.3.0"));
        assert_eq!(truncated(b"2001:db8:1:2::3").as_deref(), Some("2001:db8:1::"));
        assert_eq!(truncated(b"10.2.3"), None);
    }
}
