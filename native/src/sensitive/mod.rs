//! Sensitive values: found and treated before they become part of a column.
//!
//! ```text
//! definition.rs ─► Masking (immutable, shared by all decode calls)
//!                     │
//! one text ─► masker.rs ─ signals.rs: can anything be in it, and where? ── no ──► the text as it is, nothing allocated
//!                │ yes
//!                ▼
//!             scan.rs ─ keys.rs       what the key says the value is
//!                │      by_key.rs     values that only their key gives away, pairs.rs: keys inside a text
//!                │      url.rs, sql.rs  literals out, shape kept
//!                │      cards.rs, national.rs, contact.rs, credentials.rs, service_keys.rs, custom.rs
//!                │      encoded.rs    the same once more on what percent signs, base64 and Unicode hide
//!                ▼
//!             treatment.rs: mask, keyed hash, drop, refuse ── findings.rs: counts with masked samples
//! ```
//!
//! Every detector starts from the bits of [`signals`] and looks at each byte a bounded number of times, so the time is linear in the
//! length of a text whatever it holds. Detectors work on bytes and never slice text, because the message of a failed slice would quote the text.
//! Masking what is masked changes nothing.

mod by_key;
mod cards;
mod contact;
mod credentials;
mod custom;
mod definition;
mod detector;
mod encoded;
mod findings;
mod keys;
mod masker;
mod national;
mod pairs;
mod scan;
mod service_keys;
mod signals;
mod sql;
mod treatment;
mod url;

pub use definition::{BadDefinition, Masking};
pub use detector::Detector;
pub use findings::{Finding, Findings, Position};
pub use keys::KeyClass;
pub use masker::{Masker, Place};
pub use treatment::Treatment;

/// Whether `byte` is part of a word: a letter, a digit, or part of a character beyond ASCII.
#[inline]
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Whether nothing of a word stands directly before `start` and after `end`.
#[inline]
fn stands_alone(text: &[u8], start: usize, end: usize) -> bool {
    !start.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|&byte| is_word(byte))
        && !text.get(end).is_some_and(|&byte| is_word(byte))
}

/// Where the digits from `start` on end.
fn digits_end(text: &[u8], start: usize) -> usize {
    text[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |length| start + length)
}

/// How many backslashes `text` ends with.
fn trailing_backslashes(text: &[u8]) -> usize {
    text.iter().rev().take_while(|&&byte| byte == b'\\').count()
}

/// The digits of `text`, as numbers.
fn digits(text: &[u8]) -> impl DoubleEndedIterator<Item = u32> + Clone + '_ {
    text.iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| u32::from(byte - b'0'))
}

/// Luhn's checksum (ISO/IEC 7812-1) over the digits of `text`, after digits whose sum is `start`.
fn luhn(text: &[u8], start: u32) -> bool {
    let sum: u32 = digits(text)
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit } else { 2 * digit - if digit > 4 { 9 } else { 0 } })
        .sum();
    (sum + start).is_multiple_of(10)
}

/// ISO 7064 mod 97-10 over digits and letters, with the first four characters last; spaces and dashes are passed over.
fn mod97(text: &[u8]) -> bool {
    let mut compact = text.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let head: Vec<&u8> = compact.by_ref().take(4).collect();
    let rest = compact.chain(head).try_fold(0_u32, |rest, &byte| {
        let value = char::from(byte).to_digit(36)?;
        Some((rest * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    rest == Some(1)
}

/// The check digit of an NHS number: weights ten to two, modulus 11.
fn mod11(text: &[u8]) -> bool {
    let digits: Vec<u32> = digits(text).collect();
    let [body @ .., check] = &*digits else { return false };
    let sum: u32 = body.iter().zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    digits.len() == 10 && (11 - sum % 11) % 11 == *check
}

/// Bits of entropy of one byte of `text`, by how often each occurs in it (Shannon).
fn entropy_bits(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in text {
        counts[usize::from(byte)] += 1;
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_know_good_from_bad() {
        assert!(luhn(b"4111 1111 1111 1111", 0) && !luhn(b"4111 1111 1111 1112", 0));
        assert!(luhn(b"1234567893", 24) && !luhn(b"1234567890", 24));
        assert!(mod97(b"GB82 WEST 1234 5698 7654 32") && mod97(b"gb82west12345698765432"));
        assert!(!mod97(b"GB82 WEST 1234 5698 7654 23"));
        assert!(mod11(b"943 476 5919") && !mod11(b"943 476 5918") && !mod11(b"94347659190"));
    }

    #[test]
    fn entropy_is_that_of_shannon() {
        assert!(entropy_bits(b"aaaa").abs() < 1e-9);
        assert!((entropy_bits(b"abcd") - 2.0).abs() < 1e-9);
    }
}
