//! Ways to reach a person or a machine that a text gives away by itself: e-mail and IP addresses.

use memchr::{memchr, memrchr};

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
        let address = Address {
            before: &text[..at - local],
            local: &text[at - local..at],
            domain,
            after: &after[domain.len()..],
        };
        if local > 0 && named && !domain.starts_with(b".") && !address.is_other() {
            scan.push(at - local..at + 1 + domain.len(), Detector::Email);
        }
    }
}

/// What looks like an e-mail address, and the text around it.
struct Address<'a> {
    before: &'a [u8],
    local: &'a [u8],
    domain: &'a [u8],
    after: &'a [u8],
}

impl Address<'_> {
    /// Whether it is a version or a file and not a domain that stands after the @, or a user and not a person before it.
    fn is_other(&self) -> bool {
        const FILES: [&[u8]; 20] = [
            b"png", b"jpg", b"jpeg", b"gif", b"webp", b"avif", b"svg", b"ico", b"tgz", b"tar", b"gz", b"bz2", b"xz",
            b"zip", b"jar", b"war", b"whl", b"js", b"css", b"map",
        ];
        let number = |label: &[u8]| !label.is_empty() && label.iter().all(u8::is_ascii_digit);
        let mut labels = self.domain.split(|&byte| byte == b'.');
        let (first, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
        let is_version = number(first.strip_prefix(b"v").unwrap_or(first)) && number(second);
        let top = labels.next_back().unwrap_or(second);
        let is_file =
            first.first().is_some_and(u8::is_ascii_digit) && FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
        let is_digest = matches!(first, b"sha256" | b"sha512");
        let is_unit = matches!(top, b"service" | b"socket" | b"timer" | b"mount" | b"target" | b"conf");
        // A repository as ssh names it, and the user of a URL that goes on after the host.
        let is_repository = self.local == b"git" && self.after.starts_with(b":");
        let is_user = self.before.ends_with(b"://")
            && !self.local.contains(&b'.')
            && matches!(self.after.first(), Some(b':' | b'/'));
        is_version || is_file || is_digest || is_unit || is_repository || is_user
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
        if text.get(end).is_some_and(|&byte| is_word(byte)) {
            continue;
        }
        let run = &text[start..end];
        let is_in_word = start.checked_sub(1).is_some_and(|before| is_word(text[before]));
        // A name with a colon may stand before an address: `ipv4:10.1.2.3`, `peer:10.1.2.3`.
        let after_colon = |end: usize, last: bool| {
            let colon = if last { memrchr(b':', &run[..end]) } else { memchr(b':', &run[..end]) };
            colon.map(|colon| colon + 1)
        };
        let v4 = memchr(b'.', run).and_then(|dot| after_colon(dot, true));
        let starts = [(!is_in_word).then_some(0), v4, after_colon(run.len(), false)];
        let found = starts.into_iter().flatten().find_map(|from| Some((from, address_length(&run[from..])?)));
        if let Some((from, length)) = found {
            scan.push_address(start + from..start + from + length);
        }
    }
}

/// How much of `run` is an address; a port or a full stop may follow one of version 4.
fn address_length(run: &[u8]) -> Option<usize> {
    let v4 = memchr(b':', run).unwrap_or(run.len());
    let candidates = [run.len(), v4, run.len().saturating_sub(1), v4.saturating_sub(1)];
    candidates.into_iter().find(|&length| is_ip_address(&run[..length]))
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
