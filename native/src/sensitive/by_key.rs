//! What a value is that only its key gives away. Keys inside a text are looked for in [`super::pairs`].

use std::ops::Range;

use super::credentials::is_basic;
use super::detector::{Detector, is_treated};
use super::keys::KeyClass;
use super::national::is_ssn;
use super::scan::Scan;
use super::{entropy_bits, luhn, mod11, trailing_backslashes};

/// Bytes of a value from which on nothing is asked of what it looks like.
pub(super) const VALUE_BYTES_MAX: usize = 512;
/// Bytes of a number or a date.
pub(super) const NUMBER_BYTES_MAX: usize = 64;
/// Bytes of a list or an object whose elements are looked at.
const NESTED_BYTES_MAX: usize = 4096;
/// Digits of a counter that a key such as `session.id` or `cookies` may have.
const COUNTER_DIGITS_MAX: usize = 10;
/// Bytes from which a value can be random, and bits of entropy of each byte that it then has.
const RANDOM_BYTES_MIN: usize = 16;
const RANDOM_ENTROPY_BITS: f64 = 3.0;
/// Bytes of the longest piece of a random value; words in a path or a name are shorter or have no digits in them.
const RANDOM_PIECE_MIN: usize = 12;

/// Looks at the whole text as the value of a key of `class`.
pub(super) fn find_whole(scan: &mut Scan<'_>, class: KeyClass) {
    let mut range = trimmed(scan.text);
    if let [first @ (b'"' | b'\''), .., last] = scan.bytes(range.clone())
        && first == last
    {
        range = range.start + 1..range.end - 1;
    }
    if class.says(KeyClass::PARAMETER) {
        if scan.bytes(range.clone()) != b"?" {
            scan.push_as(range, Detector::SqlLiteral, "?");
        }
    } else if !find_nested(scan, range.start, class).is_some_and(|nested| nested.noted) {
        find_value(scan, range, class);
    }
}

pub(super) fn trimmed(text: &[u8]) -> Range<usize> {
    let inner = text.trim_ascii_start();
    let start = text.len() - inner.len();
    start..start + inner.trim_ascii_end().len()
}

/// Notes the value at `range` if a key of `class` makes it sensitive.
pub(super) fn find_value(scan: &mut Scan<'_>, range: Range<usize>, class: KeyClass) -> bool {
    let value = scan.bytes(range.clone());
    let Some(detector) = detect(value, class) else { return false };
    scan.push(range, detector);
    true
}

/// What a value is under a key of `class`.
pub(super) fn detect(value: &[u8], class: KeyClass) -> Option<Detector> {
    if value.is_empty() || is_treated(value) {
        return None;
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let only = |allowed: &[u8]| value.iter().all(|byte| byte.is_ascii_digit() || allowed.contains(byte));
    let short = value.len() <= NUMBER_BYTES_MAX;
    let says = |wanted: KeyClass| class.says(wanted);
    Some(if says(KeyClass::CARD_CODE) && short && matches!(digits, 3 | 4) && only(b" ") {
        Detector::CardCode
    } else if says(KeyClass::PIN) && short && matches!(digits, 3..=12) && only(b" ") {
        Detector::Pin
    } else if says(KeyClass::CARD) && short && matches!(digits, 12..=19) && only(b" -.") {
        Detector::Card
    } else if says(KeyClass::SSN) && short && only(b" -.") && is_ssn(value) {
        Detector::Ssn
    } else if says(KeyClass::NHS) && short && only(b" -") && mod11(value) {
        Detector::Nhs
    } else if says(KeyClass::NPI) && is_npi(value, digits) {
        Detector::Npi
    } else if says(KeyClass::IBAN) && short && is_iban_like(value) {
        Detector::Iban
    } else if says(KeyClass::MRN) && short && digits >= 3 && is_record_number(value) {
        Detector::Mrn
    } else if says(KeyClass::PHONE) && short && matches!(digits, 7..=15) && only(b"+-(). /#ext") {
        Detector::Phone
    } else if says(KeyClass::BIRTH) && digits >= 4 && short {
        Detector::BirthDate
    } else if says(KeyClass::AUTHORIZATION) && !is_no_credential(value) {
        if is_basic(value) { Detector::Basic } else { Detector::Bearer }
    } else if says(KeyClass::COOKIES | KeyClass::SESSION) && is_cookie(value, digits) {
        Detector::Cookie
    } else if says(KeyClass::SECRET) && !is_nothing(value)
        || says(KeyClass::SECRET_IF_RANDOM) && is_random(value)
        || says(KeyClass::SECRET_IF_MIXED) && is_mixed(value)
    {
        Detector::Secret
    } else {
        return None;
    })
}

/// Not a counter, and not a hexadecimal number as the sessions of `ZooKeeper` have.
fn is_cookie(value: &[u8], digits: usize) -> bool {
    let is_counter = digits == value.len() && digits <= COUNTER_DIGITS_MAX;
    !is_counter && !value.starts_with(b"0x") && !is_no_credential(value)
}

fn is_npi(value: &[u8], digits: usize) -> bool {
    digits == 10 && value.len() == digits && matches!(value[0], b'1' | b'2') && luhn(value, NPI_PREFIX)
}

fn is_record_number(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_./: ".contains(byte))
}

/// The sum that the digits 80840 before the ten of an NPI add to Luhn's.
const NPI_PREFIX: u32 = 24;

fn is_iban_like(value: &[u8]) -> bool {
    let [a, b, c, d, ..] = value else { return false };
    let letters = value.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
        && c.is_ascii_digit()
        && d.is_ascii_digit()
        && (15..=34).contains(&letters)
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
}

/// Whether a value says that there is none, or what is wrong with it, was masked by its sender, or names a variable.
pub(super) fn is_nothing(value: &[u8]) -> bool {
    const WORDS: [&str; 32] = [
        "denied",
        "disabled",
        "empty",
        "expired",
        "failed",
        "false",
        "filtered",
        "granted",
        "hidden",
        "include",
        "incorrect",
        "invalid",
        "masked",
        "mismatch",
        "missing",
        "nil",
        "no",
        "none",
        "null",
        "omitted",
        "optional",
        "protected",
        "redacted",
        "rejected",
        "required",
        "sensitive",
        "str",
        "string",
        "true",
        "unauthorized",
        "undefined",
        "yes",
    ];
    let inner = value.trim_ascii();
    // `String!` is a type of GraphQL.
    let inner = inner.strip_suffix(b"!").unwrap_or(inner);
    let inner = match inner {
        // A closing parenthesis ends a value.
        [b'[' | b'<' | b'{', inner @ .., b']' | b'>' | b'}'] | [b'(', inner @ ..] | inner => inner,
    };
    let same = |byte: &u8| matches!(byte, b'*' | b'x' | b'X' | b'?' | b'.' | b'-');
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-' | b'}');
    inner.iter().all(same)
        || inner.strip_prefix(b"${").is_some_and(|name| name.iter().all(is_name))
        || matches!(inner, b"%s" | b"%v" | b"%q" | b"$password" | b"$token" | b"$secret")
        || WORDS.iter().any(|word| inner.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether the value of a header is none: nothing as a whole or before a comma of what is around, a placeholder after the scheme, or a
/// message about it.
fn is_no_credential(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let bare =
        &value[..value.iter().rposition(|byte| !matches!(byte, b',' | b'}' | b']' | b' ')).map_or(0, |last| last + 1)];
    let mut words = value.splitn(2, |&byte| byte == b' ');
    let (first, rest) = (words.next().unwrap_or_default(), words.next());
    is_nothing(value)
        || is_nothing(bare)
        || rest.is_some_and(|rest| {
            is_nothing(first) || is_nothing(rest) || matches!(rest, [b'<', .., b'>'] | [b'{', .., b'}'])
        })
}

/// Whether a text in quotes says what is wrong with a secret: `This field is required.`
fn is_complaint(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 6] = [b"required", b"required.", b"must", b"characters", b"field", b"blank"];
    value.contains(&b' ') && value.split(|&byte| byte == b' ').any(|word| WORDS.contains(&word))
}

/// Whether a value has letters and something else, as hardly any word or number has.
fn is_mixed(value: &[u8]) -> bool {
    const BYTES_MIN: usize = 6;
    value.len() >= BYTES_MIN
        && !value.contains(&b' ')
        && value.iter().any(u8::is_ascii_alphabetic)
        && !value.iter().all(u8::is_ascii_alphabetic)
}

/// Whether a value looks drawn at random: long, of letters and digits mixed, with no more order than such have.
fn is_random(value: &[u8]) -> bool {
    if value.len() < RANDOM_BYTES_MIN {
        return false;
    }
    if value.len() >= VALUE_BYTES_MAX {
        return !value.contains(&b' ');
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.~:|".contains(byte);
    let mixed = |piece: &[u8]| {
        piece.len() >= RANDOM_PIECE_MIN
            && piece.iter().any(u8::is_ascii_alphabetic)
            && (piece.iter().any(u8::is_ascii_digit)
                || piece.iter().any(u8::is_ascii_lowercase)
                    && piece.iter().filter(|byte| byte.is_ascii_uppercase()).count() >= 3)
    };
    value.iter().all(token)
        && value.split(|byte| b"_-./:|".contains(byte)).any(mixed)
        && entropy_bits(value) >= RANDOM_ENTROPY_BITS
}

/// A list or an object that was looked at.
pub(super) struct Nested {
    /// Where it ends, or how far it was looked at.
    pub(super) end: usize,
    /// Whether something in it is noted.
    pub(super) noted: bool,
}

/// Looks at the elements of a list and at the values of an object that starts at `start`, under the key that has it; `None` if there
/// is neither.
pub(super) fn find_nested(scan: &mut Scan<'_>, start: usize, class: KeyClass) -> Option<Nested> {
    let text = scan.text;
    let first = text.get(start + 1..)?.trim_ascii_start().first()?;
    let class = match (text[start], first) {
        // The mark that a treatment leaves starts with a letter.
        (b'[', b'"' | b'\'' | b'\\' | b'0'..=b'9') => class,
        // What is inside an object has keys of its own. Whether these are random by nature, as an id is, is not known here.
        (b'[', b'{' | b'[') | (b'{', b'"' | b'\'' | b'\\') => {
            let random = KeyClass::SECRET_IF_RANDOM | KeyClass::SECRET_IF_MIXED;
            class.without(random | KeyClass::SESSION | KeyClass::COOKIES | KeyClass::AUTHORIZATION)
        }
        _ => return None,
    };
    let numbers = !class.says(KeyClass::SECRET);
    let limit = text.len().min(start + NESTED_BYTES_MAX);
    let (mut at, mut depth, mut noted) = (start, 0_u32, false);
    while at < limit {
        match text[at] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(Nested { end: at + 1, noted });
                }
            }
            b'"' | b'\'' => {
                let (end, after) = quoted_end(text, at + 1);
                let is_name = text[after..].trim_ascii_start().first() == Some(&b':');
                let value = at + 1..end;
                noted |= !is_name && !is_complaint(scan.bytes(value.clone())) && find_value(scan, value, class);
                at = after;
                continue;
            }
            b'0'..=b'9' => {
                let length = text[at..limit].iter().take_while(|byte| byte.is_ascii_digit()).count();
                noted |= numbers && find_value(scan, at..at + length, class);
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Some(Nested { end: at.min(text.len()), noted })
}

/// Where the text ends that starts at `start`, directly after its quote, and where what follows the closing quote starts. Backslashes
/// before the opening quote say how deep in other texts it is; a quote with more of them is inside.
pub(super) fn quoted_end(text: &[u8], start: usize) -> (usize, usize) {
    let quote = text[start - 1];
    let outer = trailing_backslashes(&text[..start - 1]);
    let mut from = start;
    while let Some(at) = text.get(from..).and_then(|rest| memchr::memchr(quote, rest)).map(|length| from + length) {
        let inner = trailing_backslashes(&text[from..at]);
        let is_inside = if outer == 0 { inner % 2 == 1 } else { inner == 2 * outer + 1 };
        // Two quotes are one in SQL and in CSV.
        let is_double = quote == b'\'' && outer == 0 && inner == 0 && at > start && text.get(at + 1) == Some(&quote);
        if !is_inside && !is_double {
            return (at - inner.min(outer), at + 1);
        }
        from = at + 1 + usize::from(is_double);
    }
    (text.len(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_told_from_words() {
        for random in
            ["Zm9vYmFyYmF6cXV4cXV1eA", "9f86d081884c7d65", "k3J9xQ2vL8pT5mWz", "627cc493-f310-47de-96bd-71410b7dec09"]
        {
            assert!(is_random(random.as_bytes()), "{random}");
        }
        for not in [
            "item_12345_details_page",
            "aaaaaaaaaaaaaaaa1",
            "checkout-service-canary",
            "short1",
            "a sentence of words 1",
        ] {
            assert!(!is_random(not.as_bytes()), "{not}");
        }
    }

    #[test]
    fn a_value_needs_the_form_that_its_key_asks_for() {
        assert_eq!(detect(b"123", KeyClass::CARD_CODE), Some(Detector::CardCode));
        assert_eq!(detect(b"12345", KeyClass::CARD_CODE), None);
        assert_eq!(detect(b"1234567893", KeyClass::NPI), Some(Detector::Npi));
        assert_eq!(detect(b"1234567890", KeyClass::NPI), None);
        assert_eq!(detect(b"hunter2", KeyClass::SECRET), Some(Detector::Secret));
        assert_eq!(detect(b"[REDACTED]", KeyClass::SECRET), None);
        assert_eq!(detect(b"[secret]", KeyClass::SECRET), None);
    }
}
