//! Numbers as text: doubles as ECMAScript and RFC 8785 write them, and 64-bit integers as protobuf JSON may spell them.

use std::fmt::Write;

/// Writes `value` with the fewest digits that read back as the same double: `1`, `0.1`, `1e+21`, `1e-7`, `NaN`, `-Infinity`.
///
/// Source: ECMA-262 `Number::toString`. Negative zero is `0`, as there.
pub fn push_double(value: f64, text: &mut String) {
    if value.is_nan() {
        return text.push_str("NaN");
    }
    if value.is_sign_negative() && value != 0.0 {
        text.push('-');
    }
    if value.is_infinite() {
        return text.push_str("Infinity");
    }
    let (digits, point) = shortest(value.abs());
    let count = i32::try_from(digits.len()).unwrap_or(0);
    // ECMA-262 calls these s (digits), k (count) and n (point).
    match point {
        n if count <= n && n <= 21 => {
            text.push_str(&digits);
            text.extend((count..n).map(|_| '0'));
        }
        n @ 1..=21 => {
            let (whole, fraction) = digits.split_at(n.unsigned_abs() as usize);
            text.extend([whole, ".", fraction]);
        }
        n @ -5..=0 => {
            text.push_str("0.");
            text.extend((n..0).map(|_| '0'));
            text.push_str(&digits);
        }
        n => {
            let (first, more) = digits.split_at(1);
            let dot = if more.is_empty() { "" } else { "." };
            let sign = if n > 0 { "+" } else { "-" };
            text.extend([first, dot, more, "e", sign]);
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", (n - 1).unsigned_abs());
        }
    }
}

/// The fewest digits that read back as `value`, and where the point stands: 0.`digits` times ten to the power of it.
///
/// From ryu, because of two equally short and close candidates ECMA-262 wants the even one and the standard library takes
/// the larger.
fn shortest(value: f64) -> (String, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let point = i32::try_from(whole.len() + digits.len()).unwrap_or(0) - i32::try_from(all.len()).unwrap_or(0)
        + exponent.parse::<i32>().unwrap_or(0);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { ("0".to_owned(), 1) } else { (digits.to_owned(), point) }
}

/// The integer that a JSON number spells, such as `12`, `-3`, `1.5e3`; `None` if it is none or does not fit.
///
/// Exact: nanoseconds since 1970 have more digits than a double holds.
#[must_use]
pub fn integer(text: &str) -> Option<i128> {
    if let Ok(value) = text.parse::<i64>() {
        return (!text.starts_with('+')).then_some(value.into());
    }
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let zeros = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    // Twenty digits hold every 64-bit integer; more, or a fraction, is none of them.
    let significant = digits.trim_end_matches('0');
    let zeros = zeros.checked_add(i32::try_from(digits.len() - significant.len()).ok()?)?;
    if significant.len() > 20 || !(0..=20).contains(&zeros) {
        return None;
    }
    let magnitude = significant.parse::<i128>().ok()?.checked_mul(10_i128.pow(zeros.unsigned_abs()))?;
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let mut text = String::new();
        push_double(value, &mut text);
        text
    }

    #[test]
    fn doubles_are_written_as_ecmascript_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (100.0, "100"),
            (123_456.789, "123456.789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e21, "1.25e+21"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (1.5e-7, "1.5e-7"),
            // A tie between ….2 and ….3: the even digit.
            (562_949_953_421_312.2, "562949953421312.2"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn integers_are_exact() {
        let cases = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.000", Some(0)),
            ("0e99", Some(0)),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("1.76e3", Some(1760)),
            ("1760e-1", Some(176)),
            ("1.5", None),
            ("1e-1", None),
            ("1e21", None),
            ("1e999999999999", None),
            ("123456789012345678901", None),
            ("", None),
            ("-", None),
            ("+1", None),
            ("e5", None),
            ("0x1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{text}");
        }
    }
}
