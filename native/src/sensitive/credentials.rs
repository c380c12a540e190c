//! Credentials with a form of their own: JSON web tokens, `Bearer` and `Basic`, private keys, what is handed to `curl`.

use memchr::{memchr, memchr_iter, memmem};

use super::detector::{Detector, is_treated};
use super::is_word;
use super::scan::Scan;
use super::signals::Block;

use crate::base64;

/// Characters of the header of a token that are decoded; real ones have about 50.
const HEADER_BYTES_MAX: usize = 1024;
/// Characters of `{"alg":1}`.
const HEADER_BYTES_MIN: usize = 12;
/// Bytes of a command before an option of it.
const COMMAND_BYTES_MAX: usize = 256;
/// Places in one run of base64 at which a header may start.
const HEADERS_TRIED_MAX: usize = 8;

/// Finds `header.payload.signature` where the header is base64 of a JSON object. Each run of base64 is tried a bounded number
/// of times.
pub(super) fn find_jwts(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut run_start = 0;
    for dot in scan.signals.places(|block| block.dots) {
        if dot < run_start {
            continue;
        }
        let run = dot - scan.signals.start(dot, Block::tokens).max(run_start).max(dot.saturating_sub(HEADER_BYTES_MAX));
        if run < HEADER_BYTES_MIN {
            continue;
        }
        let header = &text[dot - run..dot];
        let starts = memchr_iter(b'e', header).filter(|&at| header[at..].starts_with(b"eyJ"));
        let start = starts.take(HEADERS_TRIED_MAX).find(|&at| is_json_object(&header[at..]));
        let Some(start) = start.map(|at| dot - run + at) else { continue };
        let part_end = |from: usize| scan.signals.end(from, Block::tokens);
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

/// Finds the private members of JSON web keys, which are known by their type: `"kty":"EC", "d":"…"` (RFC 7518, section 6).
pub(super) fn find_jwks(scan: &mut Scan<'_>) {
    const PRIVATE: [&[u8]; 7] = [b"d", b"p", b"q", b"dp", b"dq", b"qi", b"k"];
    let (text, signals) = (scan.text, scan.signals);
    let colons = || signals.places(|block| block.colons);
    let is_type = |colon: usize| {
        let before = text[..colon].trim_ascii_end();
        before.ends_with(b"\"kty\"") || before.ends_with(b"\"kty\\\"")
    };
    if !colons().any(is_type) {
        return;
    }
    for colon in colons().filter(|&colon| json_name(text, colon).is_some_and(|name| PRIVATE.contains(&name))) {
        let is_between = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\\');
        let start = colon + 1 + text[colon + 1..].iter().take_while(is_between).count();
        scan.push(start..signals.end(start, Block::tokens), Detector::PrivateKey);
    }
}

/// The name in quotes before the colon at `colon`, if it has two letters or fewer.
fn json_name(text: &[u8], colon: usize) -> Option<&[u8]> {
    const LETTERS_MAX: usize = 2;
    let name = text[..colon].trim_ascii_end().strip_suffix(b"\"")?;
    let name = name.strip_suffix(b"\\").unwrap_or(name);
    let letters = name.iter().rev().take(LETTERS_MAX).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (before, name) = name.split_at(name.len() - letters);
    before.ends_with(b"\"").then_some(name)
}

/// Looks for credentials after the name of their scheme that ends at `space`: `Bearer token`, `Basic base64-of-user:password`, the `sig`
/// of a `SharedAccessSignature`, `user:password` after `-u` of `curl`. Returns where they end if the name is one.
pub(super) fn find_scheme(scan: &mut Scan<'_>, space: usize) -> Option<usize> {
    let text = scan.text;
    // Told by their last letters, which differ, before they are compared.
    let scheme: &[u8] = match space.checked_sub(1).map(|last| text[last] | 0x20) {
        Some(b'r') if text[..space].ends_with(b" --user") => b"--user",
        Some(b'r') => b"bearer",
        Some(b'n') => b"token",
        Some(b'c') => b"basic",
        Some(b'u') => b"-u",
        Some(b'e') => b"SharedAccessSignature",
        _ => return None,
    };
    let start = space.checked_sub(scheme.len())?;
    if !text[start..space].eq_ignore_ascii_case(scheme)
        || start.checked_sub(1).is_some_and(|before| is_word(text[before]) || text[before] == b'/')
    {
        return None;
    }
    match scheme[0] {
        b'-' => {
            let command = &text[start.saturating_sub(COMMAND_BYTES_MAX)..start];
            return memmem::find(command, b"curl").map(|_| find_curl_user(scan, space + 1));
        }
        b'S' => return Some(find_shared_signature(scan, space + 1)),
        _ => {}
    }
    let basic = scheme == b"basic";
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let start = (space..text.len()).find(|&at| text[at] != b' ').unwrap_or(text.len());
    let end = (start..text.len()).find(|&at| !is_part(text[at])).unwrap_or(text.len());
    let token = &text[start..end];
    if !basic && is_opaque(token) {
        scan.push(start..end, Detector::Bearer);
    } else if basic && is_user_and_password(token) {
        scan.push(start..end, Detector::Basic);
    }
    Some(end)
}

/// Looks at `user:password`, in quotes or not, at `start`. Returns where it ends.
fn find_curl_user(scan: &mut Scan<'_>, start: usize) -> usize {
    let text = scan.text;
    let quote = text.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let start = start + usize::from(quote.is_some());
    let is_end = |byte: &u8| quote.map_or(byte.is_ascii_whitespace() || b"\"'`".contains(byte), |quote| *byte == quote);
    let end = text[start..].iter().position(is_end).map_or(text.len(), |length| start + length);
    let pair = &text[start..end];
    let has_password = memchr(b':', pair).is_some_and(|colon| colon + 1 < pair.len());
    if has_password && !is_treated(pair) {
        scan.push(start..end, Detector::UrlPassword);
    }
    end
}

/// Looks for `sig=` among the fields at `start`: `sr=x&sig=y&se=1&skn=z`. Returns where they end.
fn find_shared_signature(scan: &mut Scan<'_>, start: usize) -> usize {
    let text = scan.text;
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,;<>".contains(byte);
    let end = text[start..].iter().position(is_end).map_or(text.len(), |length| start + length);
    let mut from = start;
    for field in text[start..end].split(|&byte| byte == b'&') {
        let to = from + field.len();
        if let Some(value) = field.strip_prefix(b"sig=")
            && !is_treated(value)
        {
            scan.push(from + b"sig=".len()..to, Detector::UrlPassword);
        }
        from = to + 1;
    }
    end
}

/// Whether a word is more than a word: eight characters or more, with a digit or a capital among small letters.
fn is_opaque(token: &[u8]) -> bool {
    let word = &token[..token.iter().rposition(|byte| !matches!(byte, b'.' | b'=')).map_or(0, |last| last + 1)];
    let digit = word.iter().any(u8::is_ascii_digit);
    let capital_inside = word.iter().skip(1).any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    // What has a value after it is a key.
    let is_pair = memchr(b'=', word).is_some();
    word.len() >= 8 && (digit || capital_inside) && !is_pair && !is_treated(token) && !is_numbered_phrase(word)
}

/// Three or more words of small letters with underscores between them and a short number after the last:
/// `authentication_failed_for_request_42`.
fn is_numbered_phrase(token: &[u8]) -> bool {
    const WORDS_MIN: usize = 3;
    const NUMBER_DIGITS_MAX: usize = 4;
    let mut parts = token.rsplit(|&byte| byte == b'_');
    let number = parts.next().unwrap_or_default();
    let is_number = (1..=NUMBER_DIGITS_MAX).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    let mut words = 0;
    is_number
        && parts.all(|word| {
            words += 1;
            !word.is_empty() && word.iter().all(u8::is_ascii_lowercase)
        })
        && words >= WORDS_MIN
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
    const DASHES: usize = 5;
    const LABEL_BYTES_MAX: usize = 48;
    let text = scan.text;
    let mut done = 0;
    for run in scan.signals.runs(|block| block.dashes) {
        if run.len() == 1 && text[..run.start].ends_with(b"PuTTY") && text[run.end..].starts_with(b"User-Key-File-") {
            scan.push(run.start - b"PuTTY".len()..text.len(), Detector::PrivateKey);
            return;
        }
        if run.start < done || run.len() < DASHES || !text[run.end..].starts_with(b"BEGIN") {
            continue;
        }
        let start = run.end - DASHES;
        let after = run.end + b"BEGIN".len();
        let label = &text[after..text.len().min(after + LABEL_BYTES_MAX)];
        let label = &label[..memmem::find(label, b"--").unwrap_or(label.len())];
        if memmem::find(label, b"PRIVATE").is_none() {
            continue;
        }
        let foot = memmem::find(&text[start..], b"-----END").map(|at| start + at);
        // A message may speak of a head: a key without a foot has at least a body.
        if foot.is_none() && !has_body(&text[after..]) {
            continue;
        }
        let end = foot.map_or(text.len(), |foot| {
            let after = foot + b"-----END".len();
            let label = &text[after..text.len().min(after + LABEL_BYTES_MAX)];
            memmem::find(label, b"-----").map_or(after, |at| after + at + 5)
        });
        scan.push(start..end, Detector::PrivateKey);
        done = end;
    }
}

/// Whether a key follows the head whose label is at the start of `text`, and not the rest of a message: after a space or a quote
/// stands base64.
fn has_body(text: &[u8]) -> bool {
    const LABEL_BYTES_MAX: usize = 64;
    const BODY_BYTES_MIN: usize = 16;
    let label = &text[..text.len().min(LABEL_BYTES_MAX)];
    let Some(body) = memmem::find(label, b"-----").map(|end| &text[end + 5..]) else { return true };
    let body_start = body.iter().take_while(|byte| matches!(byte, b' ' | b'"' | b'\'')).count();
    let run = body[body_start..].iter().take(BODY_BYTES_MIN).take_while(|&&byte| crate::base64::value(byte).is_some());
    body_start == 0 || run.count() == BODY_BYTES_MIN
}
