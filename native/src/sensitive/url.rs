//! URLs and connection strings: credentials and the values of queries out, everything else kept.
//!
//! A query is a `?` with `name=` after it, wherever it stands, or whatever follows the `?` of a URL or a path.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::{memchr, memchr_iter, memmem};

use super::detector::{Detector, is_treated};
use super::keys::KeyClass;
use super::pairs::PHRASE_WORDS_MAX;
use super::scan::Scan;

/// Bytes of the name of a parameter.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of credentials in which the @ is looked for that ends them.
const CREDENTIALS_BYTES_MAX: usize = 1024;
/// What stands in place of a value.
const VALUE: &str = "*";

fn ends_url(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'`<>".contains(&byte)
}

/// Finds credentials and values of queries; a text whose key says that it is a query is one from its first byte on.
pub(super) fn find(scan: &mut Scan<'_>, class: KeyClass) {
    let text = scan.text;
    if scan.signals.at() {
        find_credentials(scan);
        find_data_sources(scan);
    }
    let mut done = 0;
    if class.says(KeyClass::QUERY) {
        let start = usize::from(text.first() == Some(&b'?'));
        done = find_query(scan, start, true);
    }
    for question in memchr_iter(b'?', text) {
        if question >= done {
            done = find_query(scan, question + 1, is_in_url(text, question));
        }
    }
    for hash in memchr_iter(b'#', text) {
        if hash >= done && is_in_url(text, hash) {
            done = find_query(scan, hash + 1, false);
        }
    }
}

/// Whether the word that ends before `at` is a URL or a path: it has a slash. It starts at the latest after a question mark, so
/// no byte is looked at for two of them.
fn is_in_url(text: &[u8], at: usize) -> bool {
    text[..at]
        .iter()
        .rev()
        .take(NAME_BYTES_MAX)
        .take_while(|&&byte| !ends_url(byte) && byte != b'?')
        .any(|&byte| byte == b'/')
}

/// Takes the values out of the query that starts at `start`, and returns where it ends. If it `must` be one, it may be
/// without names.
fn find_query(scan: &mut Scan<'_>, start: usize, must: bool) -> usize {
    let text = scan.text;
    // Decided by the first bytes, so that many question marks that begin none stay linear.
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80 || b"_.-~[]%+$*@|()!&;".contains(byte);
    let name = text[start.min(text.len())..].iter().take(NAME_BYTES_MAX).take_while(is_name).count();
    let named = name > 0 && text.get(start + name) == Some(&b'=');
    if !named && !must {
        // Later question marks may begin one.
        return start;
    }
    let end = (start..text.len()).find(|&at| ends_url(text[at])).unwrap_or(text.len());
    let mut from = start;
    while from < end {
        let to = (from..end).find(|&at| b"&;#?".contains(&text[at])).unwrap_or(end);
        let value = match memchr(b'=', &text[from..to]) {
            Some(equals) => from + equals + 1..to,
            // The only thing in a query without names is a value; beside others a word without value is a flag.
            None if from == start && to == end => from..to,
            None => to..to,
        };
        push_value(scan, value);
        from = to + 1;
    }
    end
}

fn push_value(scan: &mut Scan<'_>, value: Range<usize>) {
    let bytes = scan.bytes(value.clone());
    if bytes != VALUE.as_bytes() && bytes != b"?" {
        scan.push_as(value, Detector::UrlQuery, VALUE);
    }
}

/// `scheme://user:password@host`. A password may hold characters that it should not, so if there is no @ before the path, and
/// no port after the first colon either, the @ is looked for in the path, and then behind spaces.
fn find_credentials(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for scheme in scan.signals.places(|block| block.colons).filter(|&colon| text[colon..].starts_with(b"://")) {
        let start = scheme + 3;
        if start < done {
            continue;
        }
        let window = &text[start..text.len().min(start + CREDENTIALS_BYTES_MAX)];
        let window = &window[..window.iter().position(|&byte| ends_url(byte)).unwrap_or(window.len())];
        let authority = &window[..window.iter().position(|byte| b"/?#\\".contains(byte)).unwrap_or(window.len())];
        let last_at = |text: &[u8]| text.iter().rposition(|&byte| byte == b'@');
        let has_port =
            memchr(b':', authority).is_none_or(|colon| authority[colon + 1..].iter().all(u8::is_ascii_digit));
        let is_bracketed = authority.first() == Some(&b'[');
        let end = last_at(authority).or_else(|| {
            if has_port || is_bracketed {
                None
            } else {
                last_at(window).or_else(|| end_of_phrase(text, start, authority))
            }
        });
        if let Some(end) = end {
            push_credentials(scan, start, start + end);
            done = start + end;
        }
    }
}

/// The bytes up to the @ behind a password of several words. A user has no dot, which tells it from a host.
fn end_of_phrase(text: &[u8], start: usize, authority: &[u8]) -> Option<usize> {
    let window = &text[start..text.len().min(start + CREDENTIALS_BYTES_MAX)];
    let user = memchr(b':', authority)?;
    if user == 0 || authority[..user].contains(&b'.') || window.get(authority.len()) != Some(&b' ') {
        return None;
    }
    let phrase =
        window.split(|&byte| byte == b' ').take(PHRASE_WORDS_MAX + 1).map(|word| word.len() + 1).sum::<usize>();
    let phrase = &window[..phrase.min(window.len())];
    let end = memchr(b'@', phrase)?;
    let is_one = !phrase[..end].iter().any(|&byte| b"\r\n\"'`<>/".contains(&byte))
        && memmem::find(&phrase[..end], b", ").is_none();
    (is_one && phrase.get(end + 1).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

/// `user:password@tcp(host)` of Go's `MySQL` driver, and `jdbc:oracle:thin:user/password@host`.
fn find_data_sources(scan: &mut Scan<'_>) {
    const ORACLE: &[u8] = b"oracle:";
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(ORACLE));
    let text = scan.text;
    let mut done = 0;
    for at in scan.signals.places(|block| block.at) {
        let after = &text[at + 1..];
        let is_go = [&b"tcp("[..], b"unix(", b"tcp6("].iter().any(|network| after.starts_with(network));
        if is_go {
            // No byte is looked at for two of them.
            let before = &text[done.max(at.saturating_sub(CREDENTIALS_BYTES_MAX))..at];
            let length = before.iter().rev().take_while(|&&byte| !ends_url(byte)).count();
            if memchr(b':', &before[before.len() - length..]).is_some() {
                push_credentials(scan, at - length, at);
            }
            done = at;
        }
    }
    let mut done = 0;
    for scheme in FINDER.find_iter(text) {
        let start = scheme + ORACLE.len();
        let window = &text[start..text.len().min(start + CREDENTIALS_BYTES_MAX)];
        let user = [&b"thin:"[..], b"oci:", b"oci8:"]
            .iter()
            .find(|driver| window.starts_with(driver))
            .map(|driver| driver.len());
        if let (Some(user), true) = (user, start >= done)
            && let Some(end) = window.iter().position(|&byte| byte == b'@' || ends_url(byte))
            && window[end] == b'@'
        {
            push_credentials(scan, start + user, start + end);
            done = start + end;
        }
    }
}

fn push_credentials(scan: &mut Scan<'_>, start: usize, end: usize) {
    if !is_treated(scan.bytes(start..end)) {
        scan.push(start..end, Detector::UrlPassword);
    }
}
