//! Ways to reach a person or a machine that a text gives away by itself: e-mail and IP addresses.

use super::detector::Detector;
use super::is_word;
use super::scan::Scan;

/// Bytes before and after the @ (RFC 5321).
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;
/// Bytes of the longest IP address as text.
const IP_BYTES_MAX: usize = 45;

/// Finds e-mail addresses: each @ is looked around a bounded number of bytes.
pub(super) fn find_emails(scan: &mut Scan<'_>) {
    let text = scan.text;
    for at in scan.signals.places(|block| block.at) {
        // The @ after the credentials of a URL.
        if scan.has_credentials_at(at.saturating_sub(1)) {
            continue;
        }
        let is_local = |byte: &&u8| is_word(**byte) || b"._%+-'".contains(byte);
        let local = text[..at].iter().rev().take(LOCAL_BYTES_MAX).take_while(is_local).count();
        // A quote or a full stop before it is not part of it.
        let local = local - text[at - local..at].iter().take_while(|byte| matches!(byte, b'\'' | b'.')).count();
        let is_domain = |byte: &&u8| is_word(**byte) || matches!(byte, b'.' | b'-');
        let after = &text[at + 1..];
        let domain = after.iter().take(DOMAIN_BYTES_MAX).take_while(is_domain).count();
        let mut domain = &after[..domain];
        while let [rest @ .., b'.' | b'-'] = domain {
            domain = rest;
        }
        let top = domain.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
        let named = top.len() >= 2 && top.len() < domain.len() && !top.iter().any(u8::is_ascii_digit);
        if local > 0 && named && !domain.starts_with(b".") {
            scan.push(at - local..at + 1 + domain.len(), Detector::Email);
        }
    }
}

/// Finds addresses of version 4 and 6: runs of the bytes that they are made of, none longer than an address can be.
pub(super) fn find_ip_addresses(scan: &mut Scan<'_>) {
    let text = scan.text;
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    let mut at = 0;
    while let Some(start) = (at..text.len()).find(|&at| is_part(text[at])) {
        let end = (start..text.len()).find(|&at| !is_part(text[at])).unwrap_or(text.len());
        at = end;
        if start.checked_sub(1).is_some_and(|before| is_word(text[before]))
            || text.get(end).is_some_and(|&byte| is_word(byte))
        {
            continue;
        }
        let run = &text[start..end];
        // A port or a full stop may follow a version 4 address.
        let v4 = run.iter().position(|&byte| byte == b':').unwrap_or(run.len());
        let candidates = [run.len(), v4, run.len().saturating_sub(1), v4.saturating_sub(1)];
        let found = candidates.into_iter().find(|&length| is_ip_address(&run[..length]));
        if let Some(length) = found {
            scan.push_address(start..start + length);
        }
    }
}

fn is_ip_address(text: &[u8]) -> bool {
    (2..=IP_BYTES_MAX).contains(&text.len())
        && std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
        && text != b"::"
}

impl Scan<'_> {
    /// Notes an address unless its treatment leaves it as it is.
    fn push_address(&mut self, range: std::ops::Range<usize>) {
        let value = self.bytes(range.clone());
        if self.masking.shown(Detector::IpAddress, value).as_bytes() != value {
            self.push(range, Detector::IpAddress);
        }
    }
}
