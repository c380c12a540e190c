//! Values that only their key gives away: of an attribute, or of a `key=value`, `key: value` or `"key": "value"` inside a text.

use std::ops::Range;

use super::credentials::is_basic;
use super::detector::{Detector, is_treated};
use super::keys::{KeyClass, classify};
use super::national::is_ssn;
use super::scan::Scan;
use super::signals::Block;
use super::{entropy_bits, luhn, mod11};

/// Bytes of a key inside a text.
const KEY_BYTES_MAX: usize = 64;
/// Quotes, brackets and spaces between a key and its value.
const BETWEEN_MAX: usize = 8;
/// Bytes of a value from which on nothing is asked of what it looks like.
const VALUE_BYTES_MAX: usize = 512;
/// Bytes of a number or a date.
const NUMBER_BYTES_MAX: usize = 64;
/// Words of a pass phrase after its first one.
pub(super) const PHRASE_WORDS_MAX: usize = 7;
/// Bytes from which a value can be random, and bits of entropy of each byte that it then has.
const RANDOM_BYTES_MIN: usize = 16;
const RANDOM_ENTROPY_BITS: f64 = 3.0;
/// Bytes of the longest piece of a random value; words in a path or a name are shorter or have no digits in them.
const RANDOM_PIECE_MIN: usize = 12;

/// Looks at the whole text as the value of a key of `class`.
pub(super) fn find_whole(scan: &mut Scan<'_>, class: KeyClass) {
    let range = trimmed(scan.text);
    if class.says(KeyClass::PARAMETER) {
        if scan.bytes(range.clone()) != b"?" {
            scan.push_as(range, Detector::SqlLiteral, "?");
        }
    } else {
        find_value(scan, range, class);
    }
}

fn trimmed(text: &[u8]) -> Range<usize> {
    let inner = text.trim_ascii_start();
    let start = text.len() - inner.len();
    start..start + inner.trim_ascii_end().len()
}

/// Notes the value at `range` if a key of `class` makes it sensitive.
fn find_value(scan: &mut Scan<'_>, range: Range<usize>, class: KeyClass) -> bool {
    let value = scan.bytes(range.clone());
    let Some(detector) = detect(value, class) else { return false };
    scan.push(range, detector);
    true
}

/// What a value is under a key of `class`.
fn detect(value: &[u8], class: KeyClass) -> Option<Detector> {
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
    } else if says(KeyClass::SSN) && short && only(b" -") && is_ssn(value) {
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
    } else if says(KeyClass::AUTHORIZATION) && !is_nothing(value) {
        if is_basic(value) { Detector::Basic } else { Detector::Bearer }
    } else if says(KeyClass::COOKIES | KeyClass::SESSION) && !is_nothing(value) {
        Detector::Cookie
    } else if says(KeyClass::SECRET) && !is_nothing(value) || says(KeyClass::SECRET_IF_RANDOM) && is_random(value) {
        Detector::Secret
    } else {
        return None;
    })
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

/// Whether a value says that there is none, or was masked by its sender.
fn is_nothing(value: &[u8]) -> bool {
    const WORDS: [&str; 12] = [
        "null",
        "none",
        "nil",
        "true",
        "false",
        "redacted",
        "masked",
        "hidden",
        "filtered",
        "undefined",
        "empty",
        "omitted",
    ];
    let inner = value.trim_ascii();
    let inner = match inner {
        [b'[' | b'<' | b'{', inner @ .., b']' | b'>' | b'}'] | inner => inner,
    };
    let same = |byte: &u8| matches!(byte, b'*' | b'x' | b'X' | b'?' | b'.' | b'-');
    inner.iter().all(same) || WORDS.iter().any(|word| inner.eq_ignore_ascii_case(word.as_bytes()))
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

/// Where a value ends that no quote ends.
#[derive(Clone, Copy)]
enum End {
    /// At the end of the line or at a quote: a header.
    Line,
    /// At what separates fields, not at spaces.
    Field,
    /// After digits and what stands between them.
    Number,
    /// At spaces too.
    Word,
}

impl End {
    fn of(class: KeyClass) -> Self {
        if class.says(KeyClass::AUTHORIZATION | KeyClass::COOKIES) {
            Self::Line
        } else if class.says(KeyClass::BIRTH) {
            Self::Field
        } else if class.says(
            KeyClass::PHONE
                | KeyClass::SSN
                | KeyClass::NHS
                | KeyClass::CARD
                | KeyClass::CARD_CODE
                | KeyClass::PIN
                | KeyClass::NPI,
        ) {
            Self::Number
        } else {
            Self::Word
        }
    }

    fn is_at(self, byte: u8) -> bool {
        let separates = matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'`');
        let field = matches!(byte, b',' | b';' | b'&' | b'<' | b'>' | b')' | b'}' | b'|');
        match self {
            Self::Line => separates,
            Self::Field => separates || field || byte == b']',
            Self::Number => !byte.is_ascii_digit() && !matches!(byte, b' ' | b'-' | b'+' | b'(' | b')' | b'.'),
            Self::Word => separates || field || matches!(byte, b' ' | b'\t'),
        }
    }
}

/// Looks at every `key=value`, `key: value`, `"key": "value"` inside the text.
pub(super) fn find_pairs(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for separator in scan.signals.places(Block::separators) {
        if separator < done {
            continue;
        }
        let key = key_before(scan, separator);
        if key.len() < 3 || text[separator + 1..].starts_with(b"//") {
            continue;
        }
        let class = classify(key);
        if class.is_none() {
            continue;
        }
        // In a query or a form `&` stands between its fields, whatever they are.
        let in_form = separator.checked_sub(key.len() + 1).is_some_and(|at| matches!(text[at], b'?' | b'&'));
        if let Some(end) = find_pair(scan, separator + 1, class, in_form) {
            done = end;
        }
    }
}

/// The key that ends before `end`, its quotes and spaces passed over.
fn key_before<'a>(scan: &Scan<'a>, end: usize) -> &'a [u8] {
    let is_between = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b'`' | b'\\');
    let end = end - scan.text[..end].iter().rev().take(BETWEEN_MAX).take_while(is_between).count();
    let mut start = scan.signals.start(end, Block::keys);
    while start > 0 && scan.text[start - 1] == b'$' && end - start < KEY_BYTES_MAX {
        start = scan.signals.start(start - 1, Block::keys);
    }
    &scan.text[start.max(end.saturating_sub(KEY_BYTES_MAX))..end]
}

/// Looks at the value that starts at `at` or soon after. Returns where it ends if it is noted.
fn find_pair(scan: &mut Scan<'_>, at: usize, class: KeyClass, in_form: bool) -> Option<usize> {
    let text = scan.text;
    // A bracket opens a list if a quote follows it; otherwise it may be the first byte of the mark that a treatment leaves.
    let is_between = |place: &usize| match text[*place] {
        b'[' => text.get(place + 1).is_some_and(|byte| b"\"'\\".contains(byte)),
        byte => matches!(byte, b' ' | b'=' | b'>' | b'\\' | b'"' | b'\'' | b'`'),
    };
    let between = (at..text.len()).take(BETWEEN_MAX).take_while(is_between).count();
    let mut start = at + between;
    let quote = text[at..start].iter().rev().find(|byte| b"\"'`".contains(byte)).copied();
    let end_at = |from: usize, is_end: &dyn Fn(usize) -> bool, most: usize| {
        (from..text.len()).take(most).find(|&at| is_end(at)).unwrap_or(text.len().min(from.saturating_add(most)))
    };
    let kind = End::of(class);
    let most = if matches!(kind, End::Number | End::Field) { NUMBER_BYTES_MAX } else { usize::MAX };
    let end = if let Some(quote) = quote {
        let ends = |at: usize| text[at] == quote && text[at - 1] != b'\\' || text[at..].starts_with(&[b'\\', quote]);
        end_at(start, &ends, most)
    } else {
        start += text[start..].iter().take(BETWEEN_MAX).take_while(|&&byte| byte == b' ').count();
        // What is a secret only if it is random is decided by its first bytes, so that values that are none stay bounded.
        let always = KeyClass::SECRET | KeyClass::COOKIES | KeyClass::SESSION | KeyClass::AUTHORIZATION;
        let most = if class.says(always) { usize::MAX } else { most.min(VALUE_BYTES_MAX) };
        end_at(start, &|at| kind.is_at(text[at]), most)
    };
    let mut range = start..end.max(start);
    let inner = trimmed(&text[range.clone()]);
    range = range.start + inner.start..range.start + inner.end;
    if class.says(KeyClass::SECRET) && quote.is_none() && detect(&text[range.clone()], class).is_some() {
        if !in_form {
            range.end = run_on_end(text, range.end);
        }
        if has_phrases(class, &text[range.clone()]) {
            range.end = phrase_end(text, range.end);
        }
    } else if class.says(KeyClass::BIRTH) && quote.is_none() {
        range.end = year_end(text, range.clone());
    }
    if matches!(kind, End::Number) && quote.is_none() {
        while range.end > range.start && !text[range.end - 1].is_ascii_digit() {
            range.end -= 1;
        }
        return find_number(scan, range, class);
    }
    if range.len() >= VALUE_BYTES_MAX && class.says(KeyClass::SECRET_IF_RANDOM) && quote.is_none() {
        range.end = end_at(range.start, &|at| kind.is_at(text[at]), usize::MAX);
    }
    let end = range.end;
    find_value(scan, range, class).then_some(end)
}

/// Where a secret without quotes ends whose first part ends at `end`: what separates fields is part of it, unless a space or the next
/// key follows.
fn run_on_end(text: &[u8], mut end: usize) -> usize {
    let is_key = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    while let Some((b'&' | b';' | b',', rest)) = text[end..].split_first() {
        let part = rest.iter().take_while(|&&byte| !End::Word.is_at(byte)).count();
        let key = rest.iter().take(KEY_BYTES_MAX).take_while(is_key).count();
        if part == 0 || key > 0 && matches!(rest.get(key), Some(b'=' | b':')) {
            break;
        }
        end += 1 + part;
    }
    end
}

/// Whether a value without quotes that starts with the word `first` can be of several words: a password, and a secret that starts
/// with a word. After a secret of the other kind the message goes on.
fn has_phrases(class: KeyClass, first: &[u8]) -> bool {
    class.says(KeyClass::PASSWORD) || class.says(KeyClass::SECRET) && first.iter().all(u8::is_ascii_alphabetic)
}

/// Where the words end that follow the first one of a secret without quotes: at what separates fields, and before the next key.
fn phrase_end(text: &[u8], first: usize) -> usize {
    let mut end = first;
    for _ in 0..PHRASE_WORDS_MAX {
        let rest = &text[end..];
        let word = rest.iter().skip(1).take_while(|&&byte| !End::Word.is_at(byte)).count();
        let after = rest.get(1 + word..).unwrap_or_default().trim_ascii_start();
        let is_key = rest.get(1..=word).is_some_and(|word| word.iter().any(|byte| b"=:[".contains(byte)))
            || matches!(after.first(), Some(b'=' | b':'));
        if rest.first() != Some(&b' ') || word == 0 || is_key {
            break;
        }
        end += 1 + word;
    }
    end
}

/// Where a date ends that was cut at a comma, as `Jan 31, 1980` is: after four digits, if there is no year before it.
fn year_end(text: &[u8], range: Range<usize>) -> usize {
    let Some(rest) = text[range.end..].strip_prefix(b",") else { return range.end };
    let year = rest.trim_ascii_start();
    let at = text.len() - year.len();
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let has_year = text[range.clone()].split(|byte| !byte.is_ascii_digit()).any(|run| run.len() >= 4);
    if digits(year) == 4 && !has_year && !range.is_empty() { at + 4 } else { range.end }
}

/// A number, or if it is not one of `class` its first word: other numbers may follow it.
fn find_number(scan: &mut Scan<'_>, range: Range<usize>, class: KeyClass) -> Option<usize> {
    if find_value(scan, range.clone(), class) {
        return Some(range.end);
    }
    let word = scan.bytes(range.clone()).iter().position(|&byte| byte == b' ')?;
    let first = range.start..range.start + word;
    let end = first.end;
    find_value(scan, first, class).then_some(end)
}

/// Looks at every number after a word, as in `MRN 00123456` or `NHS no. 943 476 5919`.
pub(super) fn find_numbers_after_words(scan: &mut Scan<'_>) {
    const KINDS: [KeyClass; 9] = [
        KeyClass::CARD_CODE,
        KeyClass::PIN,
        KeyClass::CARD,
        KeyClass::SSN,
        KeyClass::NHS,
        KeyClass::NPI,
        KeyClass::MRN,
        KeyClass::PHONE,
        KeyClass::BIRTH,
    ];
    const FILLERS: [&[u8]; 6] = [b"no", b"no.", b"number", b"is", b"id", b"code"];
    let text = scan.text;
    let mut done = 0;
    for space in scan.signals.places(|block| block.spaces) {
        if space < done || !text.get(space + 1).is_some_and(|&byte| byte.is_ascii_digit() || b"#+(".contains(&byte)) {
            continue;
        }
        let mut key = key_before(scan, space);
        let mut end = space;
        for _ in 0..2 {
            if !FILLERS.iter().any(|filler| key.eq_ignore_ascii_case(filler)) {
                break;
            }
            end = end.saturating_sub(key.len() + 1);
            key = key_before(scan, end);
        }
        let class = classify(key);
        if !KINDS.iter().any(|&kind| class.says(kind)) {
            continue;
        }
        let start = (space..text.len()).take(3).find(|&at| !b" #".contains(&text[at])).unwrap_or(space);
        let is_part = |byte: u8| {
            byte.is_ascii_digit()
                || b"-+()./ ".contains(&byte)
                || class.says(KeyClass::MRN) && byte.is_ascii_alphanumeric()
        };
        let mut end = (start..text.len())
            .take(NUMBER_BYTES_MAX)
            .find(|&at| !is_part(text[at]))
            .unwrap_or(text.len().min(start + NUMBER_BYTES_MAX));
        if class.says(KeyClass::MRN) {
            end = (start..end).find(|&at| text[at] == b' ').unwrap_or(end);
        }
        while end > start && !text[end - 1].is_ascii_alphanumeric() {
            end -= 1;
        }
        done = find_number(scan, start..end, class).unwrap_or(done);
    }
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
