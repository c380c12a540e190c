//! Base64, RFC 4648: written in the standard alphabet with padding, read in both alphabets with or without.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The four digits of up to three bytes.
#[must_use]
pub fn quad(group: &[u8]) -> [u8; 4] {
    let bits = (0..3).fold(0, |bits, nth| bits << 8 | usize::from(group.get(nth).copied().unwrap_or(0)));
    let digit = |nth: usize| if nth > group.len() { b'=' } else { DIGITS[bits >> (18 - 6 * nth) & 63] };
    [digit(0), digit(1), digit(2), digit(3)]
}

/// The bytes that `text` stands for, or `None` if it is not base64.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let padding = text.len() - digits.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &digit in group {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

/// What each digit stands for, of either alphabet; [`NONE`] for other bytes.
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let small = value as u8;
        values[DIGITS[value] as usize] = small;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};
const NONE: u8 = u8::MAX;

/// What a digit of either alphabet stands for.
#[inline]
pub(crate) fn value(digit: u8) -> Option<u32> {
    let value = VALUES[usize::from(digit)];
    (value != NONE).then_some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            let written: Vec<u8> = bytes.as_bytes().chunks(3).flat_map(quad).collect();
            assert_eq!(written, text.as_bytes());
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(decode(text.trim_end_matches('=')).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("-_8="), decode("+/8"));
    }

    #[test]
    fn what_is_no_base64() {
        for text in ["A", "A===", "Zg=", "Zm9v====", "Zm9v=", "Z m9", "é", "Zg==Zg=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
