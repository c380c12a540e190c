//! Trace and span ids: bytes in protobuf, hexadecimal in JSON, lower-case hexadecimal in the table.

/// Bytes of a trace id.
pub const TRACE: usize = 16;
/// Bytes of a span id.
pub const SPAN: usize = 8;

/// What is wrong with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFault {
    /// No bytes at all: for a parent this says that there is none.
    Absent,
    /// All bytes are zero: for a parent this says that there is none.
    Zero,
    /// Not as long as it must be.
    Length,
    /// Text that is not hexadecimal.
    NotHex,
    /// Text as long as the base64 of an id.
    Base64,
}

/// An id of `N` bytes, or why it is none.
pub type Id<const N: usize> = Result<[u8; N], IdFault>;

/// An id as protobuf carries it.
#[inline]
pub fn from_bytes<const N: usize>(bytes: &[u8]) -> Id<N> {
    match bytes.try_into() {
        Ok(id) if id == [0; N] => Err(IdFault::Zero),
        Ok(id) => Ok(id),
        Err(_) if bytes.is_empty() => Err(IdFault::Absent),
        Err(_) => Err(IdFault::Length),
    }
}

/// An id as OTLP/JSON carries it: hexadecimal of either case.
pub fn from_hex<const N: usize>(text: &str) -> Id<N> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(match text {
            [] => IdFault::Absent,
            _ if text.iter().all(u8::is_ascii_hexdigit) => IdFault::Length,
            _ if is_base64(text, N) => IdFault::Base64,
            _ => IdFault::NotHex,
        });
    }
    let mut id = [0; N];
    let mut seen = 0;
    for (byte, [high, low]) in id.iter_mut().zip(text.as_chunks().0) {
        let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
        *byte = high << 4 | low & 0x0f;
        seen |= high | low;
    }
    match id {
        _ if seen & NO_NIBBLE != 0 => Err(IdFault::NotHex),
        id if id == [0; N] => Err(IdFault::Zero),
        id => Ok(id),
    }
}

/// In [`NIBBLES`], a byte that is no hexadecimal digit.
const NO_NIBBLE: u8 = 0x80;

/// The value of each hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        nibbles[digit as usize] = value;
        nibbles[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    nibbles
};

/// Whether `text` has the form of `bytes` bytes in base64, of either alphabet, padded or not.
fn is_base64(text: &[u8], bytes: usize) -> bool {
    let digits = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    digits.len() == (bytes * 8).div_ceil(6)
        && (digits.len() == text.len() || text.len() == bytes.div_ceil(3) * 4)
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte))
}

/// Appends `id` in lower-case hexadecimal.
#[inline]
pub fn push_hex<const N: usize>(id: [u8; N], text: &mut Vec<u8>) {
    // Arithmetic instead of a table: the compiler makes vector instructions of it.
    let digit = |nibble: u8| nibble + b'0' + if nibble > 9 { b'a' - b'9' - 1 } else { 0 };
    text.extend_from_slice(id.map(|byte| [digit(byte >> 4), digit(byte & 15)]).as_flattened());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_of_either_case() {
        assert_eq!(from_hex::<4>("00ffA9b0"), Ok([0, 255, 0xa9, 0xb0]));
        let mut text = Vec::new();
        push_hex([0, 255, 0xa9, 0xb0], &mut text);
        assert_eq!(text, b"00ffa9b0");
    }

    #[test]
    fn what_is_no_id() {
        assert_eq!(from_hex::<4>(""), Err(IdFault::Absent));
        assert_eq!(from_hex::<4>("00000000"), Err(IdFault::Zero));
        assert_eq!(from_hex::<4>("abc"), Err(IdFault::Length));
        assert_eq!(from_hex::<4>("0000000g"), Err(IdFault::NotHex));
        assert_eq!(from_hex::<4>("AP8QIA=="), Err(IdFault::NotHex), "as long as hexadecimal would be");
        assert_eq!(from_hex::<8>("ASNFZ4mrze8="), Err(IdFault::Base64));
        assert_eq!(from_hex::<8>("ASNFZ4mrze8"), Err(IdFault::Base64));
        assert_eq!(from_hex::<8>("ASNFZ4mrze8!"), Err(IdFault::NotHex));
        assert_eq!(from_bytes::<4>(&[]), Err(IdFault::Absent));
        assert_eq!(from_bytes::<4>(&[0; 4]), Err(IdFault::Zero));
        assert_eq!(from_bytes::<4>(&[1; 5]), Err(IdFault::Length));
    }
}
