//! Payment card numbers: brand prefix, length and Luhn's checksum must all fit.
//!
//! Inside a longer run of digits every window of 15 and 16 digits is tried. Digits may stand in groups with a space, tab,
//! dash, underscore or plus sign between each two, or in four groups of four with dots or two spaces. Not taken for cards: times since 1970 in milliseconds, microseconds
//! or nanoseconds, fractions of decimal numbers, and digits inside UUIDs and hexadecimal hashes.

use std::ops::Range;

use super::detector::Detector;
use super::scan::Scan;
use super::{digits_end, luhn};

pub(super) const DIGITS_MIN: usize = 12;
const DIGITS_MAX: usize = 19;
/// Lengths tried inside a longer run: those of nearly all cards.
const WINDOWS: [usize; 2] = [16, 15];

/// Whether a card of `length` digits can start with `prefix`, its first six digits.
///
/// Source: the issuer identification ranges that the card schemes publish.
const fn is_brand(prefix: u32, length: usize) -> bool {
    match prefix {
        // Visa.
        400_000..=499_999 => matches!(length, 13 | 16 | 19),
        // American Express.
        340_000..=349_999 | 370_000..=379_999 => length == 15,
        // Diners Club.
        300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999 => matches!(length, 14 | 16 | 19),
        // Mastercard, then RuPay.
        510_000..=559_999 | 222_100..=272_099 | 508_500..=508_999 | 606_985..=607_984 | 608_001..=608_500 => {
            length == 16
        }
        // Elo, beside what it has among the numbers of the others.
        504_175 | 506_699..=506_778 | 509_000..=509_999 | 636_297 | 636_368 => length == 16,
        // Mir, JCB, Discover, UnionPay.
        220_000..=220_499 | 352_800..=358_999 | 601_100..=601_199 | 644_000..=659_999 | 620_000..=629_999 => {
            matches!(length, 16..=19)
        }
        // Maestro.
        501_800..=501_899
        | 502_000..=502_099
        | 503_800..=503_899
        | 589_300..=589_399
        | 630_400..=630_499
        | 675_900..=676_399 => matches!(length, 12..=19),
        _ => false,
    }
}

fn is_card(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(6).fold(0, |prefix, digit| prefix * 10 + u32::from(digit - b'0'));
    is_brand(prefix, digits.len()) && luhn(digits, 0)
}

/// Looks for card numbers that start in the digits at `run`, and inside them. Returns up to where there is nothing more to look for.
/// Each digit is looked at a bounded number of times.
pub(super) fn find_at(scan: &mut Scan<'_>, run: Range<usize>) -> usize {
    let text = scan.text;
    let (start, end) = (run.start, run.end);
    if let Some(grouped) = grouped(text, start, end) {
        if let Some(uuid) = uuid_around(text, start) {
            return uuid.end.max(end);
        }
        // In `00-…4111-1111…-01` the ids of a trace and of a span meet (W3C trace context).
        if is_in_hash(text, start, end) {
            return end;
        }
        let end = grouped.end;
        scan.push(grouped, Detector::Card);
        return end;
    }
    if end - start >= DIGITS_MIN && !is_passed_over(text, start, end) {
        in_run(scan, start, end);
    }
    end
}

/// Whether the digits are part of something else that is known.
fn is_passed_over(text: &[u8], start: usize, end: usize) -> bool {
    is_time(&text[start..end])
        || is_fraction(text, start)
        || is_in_hash(text, start, end)
        || uuid_around(text, start).is_some()
}

/// A number that was sent as one: it is a card as a whole or not at all, because nobody appends other digits to a number.
pub(super) fn find_number(scan: &mut Scan<'_>) {
    let text = scan.text;
    let fits = (DIGITS_MIN..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if fits && !is_time(text) && is_card(text) {
        scan.push(0..text.len(), Detector::Card);
    }
}

/// A run that is a card as a whole, or the windows in it that are. Windows that overlap are taken together, because which of
/// them is the card cannot be told.
fn in_run(scan: &mut Scan<'_>, start: usize, end: usize) {
    let text = scan.text;
    if end - start <= DIGITS_MAX && is_card(&text[start..end]) {
        return scan.push(start..end, Detector::Card);
    }
    let mut open: Option<(Range<usize>, usize)> = None;
    for from in start..end {
        for length in WINDOWS {
            if from + length > end || !is_card(&text[from..from + length]) {
                continue;
            }
            open = match open.take() {
                Some((window, count)) if from < window.end => {
                    Some((window.start..window.end.max(from + length), count + 1))
                }
                before => {
                    push_windows(scan, before);
                    Some((from..from + length, 1))
                }
            };
        }
    }
    push_windows(scan, open);
}

fn push_windows(scan: &mut Scan<'_>, windows: Option<(Range<usize>, usize)>) {
    match windows {
        Some((window, 1)) => scan.push(window, Detector::Card),
        Some((window, _)) => scan.push_as(window, Detector::Card, Detector::Card.marker()),
        None => {}
    }
}

/// A card that starts with the run `start..end` and goes on in further groups, the same separator between each two.
fn grouped(text: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    // Checked first, because it is seldom so.
    let separator = *text.get(end).filter(|byte| matches!(byte, b' ' | b'-' | b'.' | b'_' | b'+' | b'\t'))?;
    let gap = &text[end..end + if text[end..].starts_with(b"  ") { 2 } else { 1 }];
    let next = |to: usize| {
        let is_gap = text[to..].starts_with(gap) && text.get(to + gap.len()).is_some_and(u8::is_ascii_digit);
        is_gap.then_some(to + gap.len())
    };
    next(end)?;
    if !matches!(text[start], b'2'..=b'6') {
        return None;
    }
    // Versions have dots between their parts, and columns two spaces.
    let in_fours = separator == b'.' || gap.len() == 2;
    let mut digits = Growing::default();
    let (mut from, mut to) = (start, end);
    let mut best = None;
    loop {
        let group = &text[from..to];
        if digits.count + group.len() > DIGITS_MAX {
            return best;
        }
        for &digit in group {
            digits.push(digit);
        }
        if from > start && digits.count >= 13 && digits.is_card() && (!in_fours || digits.count == 16) {
            best = Some(start..to);
        }
        from = match next(to) {
            Some(next) if !in_fours || group.len() == 4 => next,
            _ => return best,
        };
        // One digit more than can be is enough to know that it is too many.
        let window = text.len().min(from + DIGITS_MAX + 1);
        to = digits_end(&text[..window], from);
    }
}

/// Digits that become more, with what says at each length whether they are a card.
#[derive(Default)]
struct Growing {
    count: usize,
    prefix: u32,
    /// Luhn's sum if the digits at even places are doubled, and if those at odd places are: which holds depends on how many there
    /// will be.
    sums: [u32; 2],
}

impl Growing {
    fn push(&mut self, digit: u8) {
        let digit = u32::from(digit - b'0');
        let doubled = 2 * digit - if digit > 4 { 9 } else { 0 };
        let place = self.count % 2;
        self.sums[place] += doubled;
        self.sums[1 - place] += digit;
        if self.count < 6 {
            self.prefix = self.prefix * 10 + digit;
        }
        self.count += 1;
    }

    fn is_card(&self) -> bool {
        is_brand(self.prefix, self.count) && self.sums[self.count % 2].is_multiple_of(10)
    }
}

/// Milliseconds, microseconds or nanoseconds since 1970, up to about the year 2050.
fn is_time(digits: &[u8]) -> bool {
    let leading = digits.iter().take(4).fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    match digits.len() {
        13 | 19 => (1000..2600).contains(&leading),
        // From 2.2 on it could be a card.
        16 => (1000..2200).contains(&leading),
        _ => false,
    }
}

/// Whether the digits come after the point of a decimal number, such as 0.4111111111111111.
fn is_fraction(text: &[u8], start: usize) -> bool {
    let Some(point) = start.checked_sub(1).filter(|&point| text[point] == b'.') else { return false };
    let whole = text[..point].iter().rev().take(7).take_while(|byte| byte.is_ascii_digit()).count();
    let before = (point - whole).checked_sub(1).map(|at| text[at]);
    (1..7).contains(&whole) && !before.is_some_and(|byte| super::is_word(byte) || byte == b'.')
}

/// Whether the digits are inside a hexadecimal number of a length that ids and hashes have, with letters in it.
fn is_in_hash(text: &[u8], start: usize, end: usize) -> bool {
    const LONGEST: usize = 128;
    let before = text[..start].iter().rev().take(LONGEST + 1).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let after = text[end..].iter().take(LONGEST + 1).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (from, to) = (start - before, end + after);
    before + after > 0
        && matches!(to - from, 16 | 24 | 32 | 40 | 48 | 56 | 64 | 96 | 128)
        && super::stands_alone(text, from, to)
        && text[from..to].iter().any(u8::is_ascii_alphabetic)
}

/// The UUID that has its part at `at`, if there is one.
pub(super) fn uuid_around(text: &[u8], at: usize) -> Option<Range<usize>> {
    const LENGTH: usize = 36;
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'-';
    let before = text[..at].iter().rev().take(LENGTH).take_while(is_part).count();
    let start = at - before;
    let uuid = text.get(start..start + LENGTH)?;
    let fits = uuid.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    (fits && super::stands_alone(text, start, start + LENGTH)).then_some(start..start + LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brands_have_their_lengths() {
        assert!(is_card(b"4111111111111111") && is_card(b"378282246310005") && is_card(b"5555555555554444"));
        assert!(is_card(b"6011111111111117") && is_card(b"30569309025904") && is_card(b"3530111333300000"));
        assert!(!is_card(b"4111111111111112") && !is_card(b"411111111111111") && !is_card(b"1111111111111117"));
    }

    #[test]
    fn digits_that_become_more_are_checked_as_at_once() {
        let mut random = 7_u64;
        for _ in 0..2000 {
            let mut digits = Growing::default();
            let mut text = Vec::new();
            for place in 0..DIGITS_MAX {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let digit = if place == 0 { b'4' } else { b'0' + (random >> 33).to_le_bytes()[0] % 10 };
                text.push(digit);
                digits.push(digit);
                assert_eq!(digits.is_card(), is_card(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn times_are_no_cards() {
        assert!(is_time(b"1700000000000") && is_time(b"1700000000000000") && is_time(b"1700000000000000000"));
        assert!(!is_time(b"4111111111111111"));
    }
}
