//! Credentials with a form of their own: JSON web tokens, `Bearer` and `Basic`, private keys.

use std::sync::LazyLock;

use memchr::memchr_iter;
use memchr::memmem::{self, Finder};

use super::detector::{Detector, is_treated};
use super::scan::Scan;

use crate::base64;

/// Characters of the header of a token that are decoded; real ones have about 50.
const HEADER_BYTES_MAX: usize = 1024;
/// Places in one run of base64 at which a header may start.
const HEADERS_TRIED_MAX: usize = 8;

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Finds `header.payload.signature` where the header is base64 of a JSON object. Each run of base64 is tried a bounded number
/// of times.
pub(super) fn find_jwts(scan: &mut Scan<'_>) {
    static HEAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"eyJ"));
    let text = scan.text;
    let Some(mut run_start) = HEAD.find(text) else { return };
    for dot in memchr_iter(b'.', text) {
        if dot < run_start {
            continue;
        }
        let run =
            text[run_start..dot].iter().rev().take(HEADER_BYTES_MAX).take_while(|&&byte| is_base64url(byte)).count();
        let header = &text[dot - run..dot];
        let starts = memchr_iter(b'e', header).filter(|&at| header[at..].starts_with(b"eyJ"));
        let start = starts.take(HEADERS_TRIED_MAX).find(|&at| is_json_object(&header[at..]));
        let Some(start) = start.map(|at| dot - run + at) else { continue };
        let part_end = |from: usize| (from..text.len()).find(|&at| !is_base64url(text[at])).unwrap_or(text.len());
        let mut end = part_end(dot + 1);
        if end < dot + 5 {
            continue;
        }
        // Three parts of a signed token, five of an encrypted one.
        for _ in 0..3 {
            if text.get(end) == Some(&b'.') {
                end = part_end(end + 1);
            }
        }
        scan.push(start..end, Detector::Jwt);
        run_start = end;
    }
}

fn is_json_object(encoded: &[u8]) -> bool {
    // The last characters may be cut: a header is known by how it starts and that it names an algorithm or a type.
    let whole = encoded.len() - usize::from(encoded.len() % 4 == 1);
    let decoded = std::str::from_utf8(&encoded[..whole]).ok().and_then(base64::decode);
    decoded.is_some_and(|header| {
        header.starts_with(b"{\"")
            && [&b"\"alg\""[..], b"\"typ\"", b"\"enc\"", b"\"kid\""]
                .iter()
                .any(|name| memmem::find(&header, name).is_some())
    })
}

/// Finds `Bearer token` and `Basic base64-of-user:password` at each space.
pub(super) fn find_schemes(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for space in memchr_iter(b' ', text) {
        if space < done {
            continue;
        }
        // Told by their last letters, which differ, before they are compared.
        let scheme: &[u8] = match space.checked_sub(1).map(|last| text[last].to_ascii_lowercase()) {
            Some(b'r') => b"bearer",
            Some(b'n') => b"token",
            Some(b'c') => b"basic",
            _ => continue,
        };
        let Some(start) = space.checked_sub(scheme.len()) else { continue };
        if !text[start..space].eq_ignore_ascii_case(scheme)
            || start.checked_sub(1).is_some_and(|before| super::is_word(text[before]))
        {
            continue;
        }
        let basic = scheme == b"basic";
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let start = (space..text.len()).find(|&at| text[at] != b' ').unwrap_or(text.len());
        let end = (start..text.len()).find(|&at| !is_part(text[at])).unwrap_or(text.len());
        done = end;
        let token = &text[start..end];
        if !basic && is_opaque(token) {
            scan.push(start..end, Detector::Bearer);
        } else if basic && is_user_and_password(token) {
            scan.push(start..end, Detector::Basic);
        }
    }
}

/// Whether a word is more than a word: eight characters or more, with a digit or a capital among small letters.
fn is_opaque(token: &[u8]) -> bool {
    let word = &token[..token.iter().rposition(|byte| !matches!(byte, b'.' | b'=')).map_or(0, |last| last + 1)];
    let digit = word.iter().any(u8::is_ascii_digit);
    let capital_inside = word.iter().skip(1).any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    word.len() >= 8 && (digit || capital_inside) && !is_treated(token)
}

/// Whether the value of an authorization key names the scheme `Basic`.
pub(super) fn is_basic(value: &[u8]) -> bool {
    value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

fn is_user_and_password(token: &[u8]) -> bool {
    let decoded = std::str::from_utf8(token).ok().and_then(base64::decode);
    decoded.is_some_and(|pair| pair.contains(&b':') && !pair.iter().any(u8::is_ascii_control))
}

/// Finds private keys: from the head to the foot, or to the end of the text if the foot is missing.
pub(super) fn find_private_keys(scan: &mut Scan<'_>) {
    static HEAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-----BEGIN"));
    static PUTTY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"PuTTY-User-Key-File-"));
    const LABEL_BYTES_MAX: usize = 48;
    let text = scan.text;
    if let Some(start) = PUTTY.find(text) {
        scan.push(start..text.len(), Detector::PrivateKey);
    }
    let mut done = 0;
    for start in HEAD.find_iter(text) {
        if start < done {
            continue;
        }
        let after = start + HEAD.needle().len();
        let label = &text[after..text.len().min(after + LABEL_BYTES_MAX)];
        let label = &label[..memmem::find(label, b"--").unwrap_or(label.len())];
        if memmem::find(label, b"PRIVATE").is_none() {
            continue;
        }
        let foot = memmem::find(&text[start..], b"-----END").map(|at| start + at);
        let end = foot.map_or(text.len(), |foot| {
            let after = foot + b"-----END".len();
            let label = &text[after..text.len().min(after + LABEL_BYTES_MAX)];
            memmem::find(label, b"-----").map_or(after, |at| after + at + 5)
        });
        scan.push(start..end, Detector::PrivateKey);
        done = end;
    }
}
