//! Numbers that states and health services give: with a checksum, or in the format that they are written in.

use std::ops::Range;

use super::cards::uuid_around;
use super::detector::Detector;
use super::scan::Scan;
use super::signals::{Block, starts_with_mrn};
use super::{is_word, mod11, mod97, stands_alone};

/// Length of an IBAN by country. Source: SWIFT's IBAN registry.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Looks for a US social security number as 123-45-6789, and an NHS number as 943 476 5919 or 943-476-5919, whose first digits are at
/// `run`. Returns where it ends.
pub(super) fn find_grouped_at(scan: &mut Scan<'_>, run: Range<usize>) -> usize {
    let text = scan.text;
    let start = run.start;
    if run.len() != 3
        || start.checked_sub(1).is_some_and(|before| is_word(text[before]) || matches!(text[before], b'-' | b'.'))
    {
        return run.end;
    }
    let (end, detector) = if is_format(text, start, b"ddd-dd-dddd") && is_ssn(&text[start..start + 11]) {
        (start + 11, Detector::Ssn)
    } else if (is_format(text, start, b"ddd ddd dddd") || is_format(text, start, b"ddd-ddd-dddd"))
        && mod11(&text[start..start + 12])
        && !follows_country_code(text, start)
    {
        (start + 12, Detector::Nhs)
    } else {
        return run.end;
    };
    scan.push(start..end, detector);
    end
}

/// Whether the code of a country stands before a phone number: `+1 415 555 2671`.
fn follows_country_code(text: &[u8], start: usize) -> bool {
    const CODE_DIGITS_MAX: usize = 3;
    let Some(before) = text[..start].strip_suffix(b" ") else { return false };
    let digits = before.iter().rev().take(CODE_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && before[..before.len() - digits].ends_with(b"+")
}

/// Whether `format`, where `d` is a digit, stands at `start` and no digit or dash follows it.
fn is_format(text: &[u8], start: usize, format: &[u8]) -> bool {
    let fits = |(have, want): (&u8, &u8)| if *want == b'd' { have.is_ascii_digit() } else { have == want };
    let after = text.get(start + format.len());
    text.get(start..start + format.len()).is_some_and(|here| here.iter().zip(format).all(fits))
        && !after.is_some_and(|&byte| is_word(byte) || byte == b'-')
}

/// Whether the nine digits of `value` can have been given out: no part is all zeros, the first neither 666 nor from 900 on.
pub(super) fn is_ssn(value: &[u8]) -> bool {
    let digits: Vec<u32> = super::digits(value).collect();
    let number = |digits: &[u32]| digits.iter().fold(0, |number, digit| number * 10 + digit);
    digits.len() == 9 && {
        let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
        area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
    }
}

/// Looks for an IBAN whose first digits are at `run`: two letters of a country, two check digits, and the length of that country; in
/// any case, with spaces or dashes between groups. Returns where it ends.
pub(super) fn find_iban_at(scan: &mut Scan<'_>, run: Range<usize>) -> usize {
    let text = scan.text;
    let country = run.start.checked_sub(2).filter(|&start| {
        text[start..run.start].iter().all(u8::is_ascii_alphabetic)
            && !start.checked_sub(1).is_some_and(|before| is_word(text[before]))
    });
    let Some((start, end)) = country.and_then(|start| Some((start, iban_end(text, start)?))) else { return run.end };
    scan.push(start..end, Detector::Iban);
    end
}

/// Where the IBAN that starts at `start` ends.
fn iban_end(text: &[u8], start: usize) -> Option<usize> {
    let country = [text[start].to_ascii_uppercase(), text[start + 1].to_ascii_uppercase()];
    let length = IBAN_LENGTHS.iter().find_map(|(known, length)| (**known == country).then_some(*length))?;
    let (mut at, mut have) = (start, 0);
    while have < length {
        match text.get(at) {
            Some(byte) if byte.is_ascii_alphanumeric() => have += 1,
            Some(b' ' | b'-') if have > 0 && text[at - 1].is_ascii_alphanumeric() => {}
            _ => return None,
        }
        at += 1;
    }
    let holds = !text.get(at).is_some_and(|&byte| is_word(byte))
        && mod97(&text[start..at])
        && uuid_around(text, start).is_none();
    holds.then_some(at)
}

/// MRN with a number directly after it: MRN12345678, MRN-00123456.
pub(super) fn find_mrns(scan: &mut Scan<'_>) {
    let text = scan.text;
    for start in scan.signals.starts(Block::words).filter(|&start| starts_with_mrn(&text[start..])) {
        let from = (start + 3..text.len().min(start + 6))
            .find(|&at| !matches!(text[at], b' ' | b'-' | b'_' | b'#'))
            .unwrap_or(start + 3);
        let digits = text[from.min(text.len())..].iter().take(16).take_while(|byte| byte.is_ascii_digit()).count();
        if (5..16).contains(&digits) && stands_alone(text, start, from + digits) {
            scan.push(from..from + digits, Detector::Mrn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_never_given_out_are_no_ssn() {
        assert!(is_ssn(b"123-45-6789") && is_ssn(b"899459999"));
        for not in ["000-45-6789", "666-45-6789", "900-45-6789", "123-00-6789", "123-45-0000", "12-345-678"] {
            assert!(!is_ssn(not.as_bytes()), "{not}");
        }
    }

    #[test]
    fn an_iban_has_the_length_of_its_country() {
        assert_eq!(iban_end(b"de89370400440532013000", 0), Some(22));
        assert_eq!(iban_end(b"DE89 3704 0044 0532 0130 00.", 0), Some(27));
        assert_eq!(iban_end(b"DE893704004405320130000", 0), None);
        assert_eq!(iban_end(b"DE8937040044053201300", 0), None);
    }
}
