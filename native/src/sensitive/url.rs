//! URLs and connection strings: credentials and the values of queries out, everything else kept.
//!
//! A query is a `?` with `name=` after it, wherever it stands, or whatever follows the `?` of a URL or a path. Inside other text it ends
//! where a URL does; in a text that starts with a URL it goes on to the end, because a value may hold spaces and quotes.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::{memchr, memchr2_iter, memmem};

use super::by_key::is_nothing;
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
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'"' | b'\'' | b'`' | b'<' | b'>')
}

/// Finds credentials and values of queries; a text whose key says that it is a query is one from its first byte on.
pub(super) fn find(scan: &mut Scan<'_>, class: KeyClass) {
    find_passwords(scan);
    if class.says(KeyClass::QUERY) {
        let start = usize::from(scan.text.first() == Some(&b'?'));
        find_query(scan, start, Query { is_sure: true, is_last: true });
    } else {
        find_queries(scan, true);
    }
}

/// As [`find`] in what an encoding hides. A question mark in a path is encoded, too, so a query there needs a name.
pub(super) fn find_hidden(scan: &mut Scan<'_>) {
    find_passwords(scan);
    find_queries(scan, false);
}

/// Finds credentials.
pub(super) fn find_passwords(scan: &mut Scan<'_>) {
    if scan.signals.at() {
        find_credentials(scan);
        find_data_sources(scan);
    }
}

fn find_queries(scan: &mut Scan<'_>, without_names: bool) {
    let text = scan.text;
    let url_end = url_end(text);
    let mut done = 0;
    for mark in memchr2_iter(b'?', b'#', text) {
        let is_fragment = text[mark] == b'#';
        // `{id?}` is a part of a route that may be missing.
        if mark < done || is_fragment && !is_in_url(text, mark) || text[mark + 1..].starts_with(b"}") {
            continue;
        }
        let query = Query {
            is_sure: without_names && !is_fragment && is_in_url(text, mark),
            is_last: mark < url_end && !text.get(mark + 1).is_some_and(u8::is_ascii_whitespace),
        };
        done = find_query(scan, mark + 1, query);
    }
}

/// Where the URL or the path ends that `text` starts with; 0 if it starts with none.
fn url_end(text: &[u8]) -> usize {
    const SCHEME_BYTES_MAX: usize = 32;
    let is_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+.-".contains(byte);
    let scheme = text.iter().take(SCHEME_BYTES_MAX).take_while(is_scheme).count();
    if text.first() == Some(&b'/') || scheme > 0 && text[scheme..].starts_with(b"://") {
        text.iter().position(|&byte| ends_url(byte)).unwrap_or(text.len())
    } else {
        0
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

/// What is known of a query before it is read.
#[derive(Clone, Copy)]
struct Query {
    /// It is one even if it has no names.
    is_sure: bool,
    /// Nothing but the query is in the rest of the text.
    is_last: bool,
}

/// Takes the values out of the query that starts at `start`, and returns where it ends.
fn find_query(scan: &mut Scan<'_>, start: usize, query: Query) -> usize {
    let text = scan.text;
    // Decided by the first bytes, so that many question marks that begin none stay linear.
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80 || b"_.-~[]%+$*@|()!&;".contains(byte);
    let name = text[start.min(text.len())..].iter().take(NAME_BYTES_MAX).take_while(is_name).count();
    let named = name > 0 && text.get(start + name) == Some(&b'=');
    if !named && !query.is_sure {
        // Later question marks may begin one.
        return start;
    }
    let is_end = |at: usize| text.get(at).is_none_or(|&byte| !query.is_last && ends_url(byte));
    let mut from = start;
    loop {
        let (mut to, mut value) = (from, None);
        while !is_end(to) && !separates(text, to, is_end) {
            to += 1;
            if value.is_none() && text[to - 1] == b'=' {
                value = Some(to);
                to = quoted_end(text, to).unwrap_or(to);
            }
        }
        match value {
            Some(value) => push_value(scan, value..to),
            // The only thing in a query without names is a value; beside others a word without value is a flag.
            None if from == start && is_end(to) => push_value(scan, from..to),
            None => {}
        }
        if is_end(to) {
            return to;
        }
        from = to + 1;
    }
}

/// Whether a parameter ends at `at`. After `&` and `#` a name follows or a flag, which is a word; `;` and `?` are part of a value unless
/// a name with its `=` follows, or nothing at all. Names have no separators in them, so no byte is looked at for two of these.
fn separates(text: &[u8], at: usize, is_end: impl Fn(usize) -> bool) -> bool {
    let flags = match text[at] {
        b'&' | b'#' => true,
        b';' | b'?' => false,
        _ => return false,
    };
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80 || b"_.-~[]%+$*@|()!:/,".contains(byte);
    let name = text[at + 1..].iter().take(NAME_BYTES_MAX).take_while(is_name).count();
    let after = at + 1 + name;
    if text.get(after) == Some(&b'=') {
        return flags || name > 0;
    }
    (flags || name == 0) && (is_end(after) || matches!(text[after], b'&' | b';' | b'#' | b'?'))
}

/// Where a value in quotes ends that starts at `start`. If it was the text around it that the first quote ended, the next one begins
/// something, and no separator follows it.
fn quoted_end(text: &[u8], start: usize) -> Option<usize> {
    let is_escaped = text.get(start) == Some(&b'\\');
    let open = start + usize::from(is_escaped);
    let quote = *text.get(open).filter(|byte| b"\"'`".contains(byte))?;
    let close = open + 1 + memchr(quote, &text[open + 1..])?;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"&;#,)]}".contains(byte);
    ((text[close - 1] == b'\\') == is_escaped && text.get(close + 1).is_none_or(ends)).then_some(close + 1)
}

fn push_value(scan: &mut Scan<'_>, value: Range<usize>) {
    let bytes = scan.bytes(value.clone());
    if bytes != VALUE.as_bytes() && bytes != b"?" && !is_treated(bytes) {
        scan.push_as(value, Detector::UrlQuery, VALUE);
    }
}

/// `scheme://user:password@host`. A password may hold characters that it should not, so if there is no @ before the path, and
/// no port after the first colon either, the @ is looked for in the path, and then behind spaces. A user alone is none, unless it is a
/// token.
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
            let user = &window[..end.min(window.len())];
            if memchr(b':', user).is_some() || is_token(user) {
                push_credentials(scan, start, start + end);
            }
            done = start + end;
        }
    }
}

/// Whether a user is more than a name: letters and digits mixed, many of them together.
fn is_token(user: &[u8]) -> bool {
    const BYTES_MIN: usize = 16;
    const PIECE_BYTES_MIN: usize = 12;
    let mixed = |piece: &[u8]| {
        piece.len() >= PIECE_BYTES_MIN
            && piece.iter().any(u8::is_ascii_digit)
            && piece.iter().any(u8::is_ascii_alphabetic)
    };
    user.len() >= BYTES_MIN && user.split(|byte| !byte.is_ascii_alphanumeric()).any(mixed)
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

/// `user:password@tcp(host)` of Go's `MySQL` driver, `jdbc:oracle:thin:user/password@host` and `user/password@//host` of Oracle.
fn find_data_sources(scan: &mut Scan<'_>) {
    const ORACLE: &[u8] = b"oracle:";
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(ORACLE));
    let text = scan.text;
    let mut done = 0;
    for at in scan.signals.places(|block| block.at) {
        let after = &text[at + 1..];
        let is_go = [&b"tcp("[..], b"unix(", b"tcp6("].iter().any(|network| after.starts_with(network));
        if is_go || after.starts_with(b"//") {
            // No byte is looked at for two of them.
            let before = &text[done.max(at.saturating_sub(CREDENTIALS_BYTES_MAX))..at];
            let length = before.iter().rev().take_while(|&&byte| !ends_url(byte)).count();
            let word = &before[before.len() - length..];
            let start = if is_go { memchr(b':', word).map(|_| 0) } else { oracle_user(word) };
            if let Some(start) = start {
                push_credentials(scan, at - length + start, at);
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

/// Where the user starts in a word that ends with `user/password`.
fn oracle_user(word: &[u8]) -> Option<usize> {
    let slash = memchr(b'/', word)?;
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_$#.-".contains(byte);
    let user = word[..slash].iter().rev().take_while(is_name).count();
    (user > 0 && slash + 1 < word.len()).then_some(slash - user)
}

fn push_credentials(scan: &mut Scan<'_>, start: usize, end: usize) {
    let credentials = scan.bytes(start..end);
    let password = memchr(b':', credentials).map(|colon| &credentials[colon + 1..]);
    if !is_treated(credentials) && !password.is_some_and(|password| !password.is_empty() && is_nothing(password)) {
        scan.push(start..end, Detector::UrlPassword);
    }
}
