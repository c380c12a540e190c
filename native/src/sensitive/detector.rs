//! What there is to find, and how much is said about it.

use std::borrow::Cow;

/// Writes the enum, the list of all and the names from one table.
macro_rules! detectors {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// One kind of sensitive value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Detector {
            $($(#[$doc])+ $variant,)+
            /// One of the operator's own, by its number.
            Custom(u8),
        }

        impl Detector {
            /// All that are built in.
            pub const BUILT_IN: &'static [Self] = &[$(Self::$variant),+];

            /// Stable name; that of a custom detector is in its definition.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Custom(_) => "custom",
                }
            }

            /// What stands in place of a masked value.
            #[must_use]
            pub(super) const fn marker(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("[", $name, "]"),)+
                    Self::Custom(_) => "[custom]",
                }
            }
        }
    };
}

detectors! {
    /// Payment card number: brand prefix, length, Luhn.
    Card = "card",
    /// Card verification value, by key.
    CardCode = "card_code",
    /// PIN, by key.
    Pin = "pin",
    /// US social security number.
    Ssn = "ssn",
    /// IBAN: country, length, modulus 97.
    Iban = "iban",
    /// UK NHS number: modulus 11, and a key or the format 3-3-4.
    Nhs = "nhs_number",
    /// US national provider identifier: Luhn with 80840 before it, by key.
    Npi = "npi",
    /// Medical record number, by key or after the letters MRN.
    Mrn = "mrn",
    /// E-mail address.
    Email = "email",
    /// Phone number, by key.
    Phone = "phone",
    /// Date of birth, by key.
    BirthDate = "birth_date",
    /// IP address; kept unless the definition says otherwise.
    IpAddress = "ip_address",
    /// JSON web token whose header can be read.
    Jwt = "jwt",
    /// Credentials after `Bearer`, or under an authorization key.
    Bearer = "bearer",
    /// Credentials after `Basic`.
    Basic = "basic",
    /// Private key in PEM or `PuTTY`'s form.
    PrivateKey = "private_key",
    /// Cookies, of sessions above all.
    Cookie = "cookie",
    /// API key or token whose prefix gives its service away.
    ServiceKey = "service_key",
    /// Credentials in a URL or a connection string.
    UrlPassword = "url_password",
    /// Value under a key such as `password`, and a random one under a key such as `token`.
    Secret = "secret",
    /// Literal of an SQL statement or of another query.
    SqlLiteral = "sql_literal",
    /// Value in the query or the fragment of a URL.
    UrlQuery = "url_query",
    /// A detector failed on the value.
    Failed = "failed",
}

impl Detector {
    /// Whether it takes literals out of a structure, sensitive or not; others find something that is.
    #[must_use]
    pub const fn is_structural(self) -> bool {
        matches!(self, Self::SqlLiteral | Self::UrlQuery)
    }

    /// The built-in detector with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::BUILT_IN.iter().copied().find(|detector| detector.name() == name)
    }
}

/// Letters in a keyed hash: 128 bits, four to a letter. Letters, because digits could look like a card number again.
pub(super) const HASH_LETTERS: usize = 32;

/// Whether `value` is what a treatment leaves behind: `[email]`, `[email~abcdefghijklmnopabcdefghijklmnop]`, `[email dropped]`.
#[must_use]
pub(super) fn is_treated(value: &[u8]) -> bool {
    let Some(inner) = value.strip_prefix(b"[").and_then(|value| value.strip_suffix(b"]")) else { return false };
    let name_end =
        inner.iter().position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(name_end);
    let hash = |rest: &[u8]| rest.len() == HASH_LETTERS && rest.iter().all(|byte| matches!(byte, b'a'..=b'p'));
    !name.is_empty()
        && name.len() <= super::custom::NAME_BYTES_MAX
        && (rest == b" dropped" || rest.strip_prefix(b"~").is_some_and(hash))
        || std::str::from_utf8(inner).is_ok_and(|name| name == "custom" || Detector::named(name).is_some())
}

/// What is shown in place of a value.
pub(super) type Shown = Cow<'static, str>;
