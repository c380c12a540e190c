//! What the name of an attribute, a field or a parameter says about its value.

use std::ops::{BitOr, BitOrAssign};
use std::sync::LazyLock;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::dfa::DFA;
use hashbrown::{HashMap, HashSet};

/// Bytes of a key that are looked at, from its end: the last words say what it is.
const KEY_BYTES: usize = 256;

/// A set of things that a key may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyClass(u32);

impl KeyClass {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A secret whatever it looks like.
    pub const SECRET: Self = Self(1);
    /// A secret if it looks random.
    pub const SECRET_IF_RANDOM: Self = Self(1 << 1);
    /// Card verification value.
    pub const CARD_CODE: Self = Self(1 << 2);
    /// PIN.
    pub const PIN: Self = Self(1 << 3);
    /// Card number.
    pub const CARD: Self = Self(1 << 4);
    /// US social security number.
    pub const SSN: Self = Self(1 << 5);
    /// NHS number.
    pub const NHS: Self = Self(1 << 6);
    /// National provider identifier.
    pub const NPI: Self = Self(1 << 7);
    /// Medical record number.
    pub const MRN: Self = Self(1 << 8);
    /// Phone number.
    pub const PHONE: Self = Self(1 << 9);
    /// Date of birth.
    pub const BIRTH: Self = Self(1 << 10);
    /// The header `Authorization`.
    pub const AUTHORIZATION: Self = Self(1 << 11);
    /// The headers of cookies.
    pub const COOKIES: Self = Self(1 << 12);
    /// One cookie of a session.
    pub const SESSION: Self = Self(1 << 13);
    /// A statement in the language of a database.
    pub const STATEMENT: Self = Self(1 << 14);
    /// A parameter of such a statement.
    pub const PARAMETER: Self = Self(1 << 15);
    /// The query of a URL without its question mark.
    pub const QUERY: Self = Self(1 << 16);
    /// Says which instance a span is from, so it is changed for what is certain only.
    pub const IDENTITY: Self = Self(1 << 17);
    /// IBAN.
    pub const IBAN: Self = Self(1 << 18);
    /// Not said by a key: the value was sent as a number, so it is sensitive as a whole or not at all.
    pub const NUMBER: Self = Self(1 << 19);
    /// A secret that people make up, often of several words.
    pub const PASSWORD: Self = Self(1 << 20);
    /// A secret if it has letters and something else.
    pub const SECRET_IF_MIXED: Self = Self(1 << 21);
    /// Says something about a thing, or names a thing that is no secret, whatever its words are otherwise.
    const ABOUT: Self = Self(1 << 22);

    /// Whether it says any of `other`.
    #[inline]
    #[must_use]
    pub const fn says(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it says nothing.
    #[inline]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Without what `other` says.
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for KeyClass {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for KeyClass {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Attributes that say which instance a span is from.
pub(super) const IDENTITY: [&str; 12] = [
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "deployment.name",
    "deployment.id",
    "k8s.deployment.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "container.image.tag",
];

/// Where in a key the words of a rule must stand.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// From the start of a word to the end of one.
    Words,
    /// As words, and nothing after them.
    End,
    /// Anywhere, because nothing else contains these letters.
    Anywhere,
}

use At::{Anywhere, End, Words};
use KeyClass as K;

const PASSWORD: KeyClass = KeyClass(K::SECRET.0 | K::PASSWORD.0);

/// Letters of words without what separates them, where they must stand, and what they say.
const RULES: &[(&str, At, KeyClass)] = &[
    ("password", Anywhere, PASSWORD),
    ("passwd", Anywhere, PASSWORD),
    ("passphrase", Anywhere, PASSWORD),
    ("passwort", Anywhere, PASSWORD),
    ("motdepasse", Anywhere, PASSWORD),
    ("contrasena", Anywhere, PASSWORD),
    // With the tilde: what is no letter of ASCII is passed over.
    ("contrasea", Anywhere, PASSWORD),
    ("kennwort", Anywhere, PASSWORD),
    ("wachtwoord", Anywhere, PASSWORD),
    ("senha", Words, PASSWORD),
    ("pwd", Words, PASSWORD),
    ("dbpass", Words, PASSWORD),
    ("passcode", Words, PASSWORD),
    ("userpass", Words, PASSWORD),
    ("smtppass", Words, PASSWORD),
    ("redisauth", Words, PASSWORD),
    ("requirepass", Words, PASSWORD),
    ("masterauth", Words, PASSWORD),
    ("mnemonic", Words, PASSWORD),
    ("seedphrase", Words, PASSWORD),
    ("recoveryphrase", Words, PASSWORD),
    ("pass", End, K::SECRET_IF_MIXED),
    ("secret", Anywhere, K::SECRET),
    ("apikey", Anywhere, K::SECRET),
    ("apitoken", Anywhere, K::SECRET),
    ("accesskey", Anywhere, K::SECRET),
    ("accountkey", Anywhere, K::SECRET),
    ("sharedkey", Anywhere, K::SECRET),
    ("masterkey", Anywhere, K::SECRET),
    ("privatekey", Anywhere, K::SECRET),
    ("signingkey", Anywhere, K::SECRET),
    ("encryptionkey", Anywhere, K::SECRET),
    ("authkey", Words, K::SECRET),
    ("subscriptionkey", Anywhere, K::SECRET),
    ("accesstoken", Anywhere, K::SECRET),
    ("refreshtoken", Anywhere, K::SECRET),
    ("idtoken", Words, K::SECRET),
    ("authtoken", Anywhere, K::SECRET),
    ("bearertoken", Anywhere, K::SECRET),
    ("sessiontoken", Anywhere, K::SECRET),
    ("securitytoken", Anywhere, K::SECRET),
    ("csrftoken", Anywhere, K::SECRET),
    ("xsrftoken", Anywhere, K::SECRET),
    ("credential", Words, K::SECRET),
    ("credentials", Words, K::SECRET),
    ("onetimecode", Words, K::SECRET),
    ("recoverycode", Words, K::SECRET),
    ("recoverycodes", Words, K::SECRET),
    ("backupcode", Words, K::SECRET),
    ("backupcodes", Words, K::SECRET),
    ("authorizationcode", Words, K::SECRET),
    ("codeverifier", Words, K::SECRET),
    ("oauthverifier", Words, K::SECRET),
    ("clientassertion", End, K::SECRET),
    ("securityanswer", Words, K::SECRET),
    ("otp", Words, K::PIN),
    ("verificationcode", Words, K::PIN),
    ("smscode", Words, K::PIN),
    ("mfacode", Words, K::PIN),
    ("totp", Words, K::PIN),
    ("token", Words, K::SECRET_IF_RANDOM),
    ("token", End, K::SECRET_IF_RANDOM),
    ("auth", Words, K::SECRET_IF_RANDOM),
    ("bearer", End, K::SECRET_IF_RANDOM),
    ("jwt", End, K::SECRET_IF_RANDOM),
    ("signature", Words, K::SECRET_IF_RANDOM),
    ("sig", Words, K::SECRET_IF_RANDOM),
    ("nonce", Words, K::SECRET_IF_RANDOM),
    ("key", End, K::SECRET_IF_RANDOM),
    ("sessionid", Words, K::SESSION),
    ("sessid", Words, K::SESSION),
    ("phpsessid", Words, K::SESSION),
    ("jsessionid", Words, K::SESSION),
    ("aspnetsessionid", Words, K::SESSION),
    ("aspxauth", Words, K::SESSION),
    ("connectsid", Words, K::SESSION),
    ("sid", End, K::SECRET_IF_RANDOM),
    ("awsalb", Words, K::SESSION),
    ("awsalbcors", Words, K::SESSION),
    ("wordpressloggedin", Anywhere, K::SESSION),
    ("laravelsession", Words, K::SESSION),
    ("racksession", Words, K::SESSION),
    ("session", End, K::SECRET_IF_RANDOM),
    ("cookie", End, K::COOKIES),
    ("cookies", End, K::COOKIES),
    ("setcookie", Words, K::COOKIES),
    ("authorization", End, K::AUTHORIZATION),
    ("authorizationheader", End, K::AUTHORIZATION),
    ("cvv", Words, K::CARD_CODE),
    ("cvc", Words, K::CARD_CODE),
    ("csc", Words, K::CARD_CODE),
    ("cvn", Words, K::CARD_CODE),
    ("cvd", Words, K::CARD_CODE),
    ("cardcode", Words, K::CARD_CODE),
    ("cardverificationvalue", Words, K::CARD_CODE),
    ("cardsecuritycode", Words, K::CARD_CODE),
    ("securitycode", Words, K::CARD_CODE),
    ("verificationvalue", Words, K::CARD_CODE),
    ("cav2", Words, K::CARD_CODE),
    ("pin", Words, K::PIN),
    ("pincode", Words, K::PIN),
    ("pinblock", Words, K::SECRET),
    ("cardnumber", Anywhere, K::CARD),
    ("cardno", Words, K::CARD),
    ("creditcard", Anywhere, K::CARD),
    ("debitcard", Anywhere, K::CARD),
    ("ccnumber", Words, K::CARD),
    ("ccnum", Words, K::CARD),
    ("pan", Words, K::CARD),
    ("primaryaccountnumber", Anywhere, K::CARD),
    ("ssn", Words, K::SSN),
    ("socialsecurity", Anywhere, K::SSN),
    ("itin", Words, K::SSN),
    ("taxid", Words, K::SSN),
    ("iban", Words, K::IBAN),
    ("nhs", Words, K::NHS),
    ("nhsnumber", Words, K::NHS),
    ("nhsno", Words, K::NHS),
    ("npi", Words, K::NPI),
    ("providernpi", Words, K::NPI),
    ("nationalprovideridentifier", Words, K::NPI),
    ("nationalproviderid", Words, K::NPI),
    ("mrn", Words, K::MRN),
    ("medicalrecord", Anywhere, K::MRN),
    ("patientid", Words, K::MRN),
    ("patientidentifier", Words, K::MRN),
    ("empi", Words, K::MRN),
    ("patientnumber", Words, K::MRN),
    ("patientno", Words, K::MRN),
    ("hospitalnumber", Words, K::MRN),
    ("chartnumber", Words, K::MRN),
    ("phone", Words, K::PHONE),
    ("phonenumber", Words, K::PHONE),
    ("phones", Words, K::PHONE),
    ("phoneno", Words, K::PHONE),
    ("mobileno", Words, K::PHONE),
    ("telno", Words, K::PHONE),
    ("callernumber", Words, K::PHONE),
    ("smsto", Words, K::PHONE),
    ("telephone", Words, K::PHONE),
    ("mobile", Words, K::PHONE),
    ("msisdn", Words, K::PHONE),
    ("cellphone", Words, K::PHONE),
    ("contactnumber", Words, K::PHONE),
    ("whatsapp", Words, K::PHONE),
    ("fax", Words, K::PHONE),
    ("tel", Words, K::PHONE),
    ("dob", Words, K::BIRTH),
    ("birthdate", Words, K::BIRTH),
    ("dateofbirth", Anywhere, K::BIRTH),
    ("birthday", Words, K::BIRTH),
    ("birth", Words, K::BIRTH),
    ("geburtsdatum", Words, K::BIRTH),
    ("dbstatement", Words, K::STATEMENT),
    ("dbquerytext", Words, K::STATEMENT),
    ("dbquery", End, K::STATEMENT),
    ("sqlquery", Words, K::STATEMENT),
    ("sqlstatement", Words, K::STATEMENT),
    ("sqltext", Words, K::STATEMENT),
    ("sql", End, K::STATEMENT),
    ("dbqueryparameter", Words, K::PARAMETER),
    ("dboperationparameter", Words, K::PARAMETER),
    ("urlquery", End, K::QUERY),
    ("urlfragment", End, K::QUERY),
    ("querystring", End, K::QUERY),
    ("httpquery", End, K::QUERY),
    ("cachekey", End, K::ABOUT),
    ("partitionkey", End, K::ABOUT),
    ("primarykey", End, K::ABOUT),
    ("foreignkey", End, K::ABOUT),
    ("sortkey", End, K::ABOUT),
    ("rangekey", End, K::ABOUT),
    ("hashkey", End, K::ABOUT),
    ("publickey", End, K::ABOUT),
    ("routingkey", End, K::ABOUT),
    ("messagekey", End, K::ABOUT),
    ("recordkey", End, K::ABOUT),
    ("objectkey", End, K::ABOUT),
    ("s3key", End, K::ABOUT),
    ("rediskey", End, K::ABOUT),
    ("kafkakey", End, K::ABOUT),
    ("publickeytoken", End, K::ABOUT),
    ("secretsmanager", End, K::ABOUT),
    ("flagkey", End, K::ABOUT),
    ("idempotencykey", End, K::ABOUT),
    ("websocketkey", End, K::ABOUT),
    ("shardkey", End, K::ABOUT),
    ("rowkey", End, K::ABOUT),
    ("lockkey", End, K::ABOUT),
    ("groupkey", End, K::ABOUT),
    ("uniquekey", End, K::ABOUT),
    ("registrykey", End, K::ABOUT),
    ("surrogatekey", End, K::ABOUT),
    ("deduplicationkey", End, K::ABOUT),
    ("correlationkey", End, K::ABOUT),
    ("businesskey", End, K::ABOUT),
    ("entitykey", End, K::ABOUT),
    ("itemkey", End, K::ABOUT),
    ("issuekey", End, K::ABOUT),
    ("projectkey", End, K::ABOUT),
    ("keyid", End, K::ABOUT),
    ("credentialid", End, K::ABOUT),
    ("pagetoken", End, K::ABOUT),
    ("nexttoken", End, K::ABOUT),
    ("continuationtoken", End, K::ABOUT),
    ("synctoken", End, K::ABOUT),
    ("resumetoken", End, K::ABOUT),
    ("locktoken", End, K::ABOUT),
    ("fencingtoken", End, K::ABOUT),
    ("cancellationtoken", End, K::ABOUT),
];

/// Last words that say how large, how old, of what kind or where a thing is, or what was wrong with it: `password_policy` holds no
/// password. The endings of source files are those of places in stack traces.
const ABOUT: [&str; 113] = [
    "age",
    "algorithm",
    "arn",
    "at",
    "attempts",
    "build",
    "changed",
    "controller",
    "count",
    "counts",
    "created",
    "cs",
    "date",
    "days",
    "dir",
    "directory",
    "enabled",
    "encoder",
    "encoding",
    "endpoint",
    "error",
    "errors",
    "exception",
    "expiration",
    "expires",
    "expiry",
    "factory",
    "field",
    "file",
    "filename",
    "format",
    "go",
    "handler",
    "hint",
    "history",
    "hours",
    "html",
    "in",
    "invalid",
    "iterations",
    "java",
    "js",
    "json",
    "jsx",
    "kind",
    "kt",
    "label",
    "length",
    "lifetime",
    "limit",
    "loader",
    "location",
    "manager",
    "max",
    "min",
    "minutes",
    "missing",
    "name",
    "namespace",
    "on",
    "operation",
    "operator",
    "owner",
    "path",
    "paths",
    "php",
    "plan",
    "policy",
    "present",
    "provider",
    "py",
    "rb",
    "ref",
    "reference",
    "refs",
    "repository",
    "required",
    "result",
    "retries",
    "rotated",
    "rotation",
    "rs",
    "rule",
    "rules",
    "scheme",
    "scope",
    "seconds",
    "service",
    "set",
    "size",
    "source",
    "status",
    "stdin",
    "store",
    "strategy",
    "strength",
    "timeout",
    "ts",
    "tsx",
    "ttl",
    "type",
    "updated",
    "uri",
    "url",
    "usage",
    "valid",
    "validator",
    "validity",
    "version",
    "vue",
    "xml",
    "yaml",
    "yml",
];

/// Whether one of these words has such a first letter, by its last five bits, and such a length.
static ABOUT_HEADS: [[bool; 16]; 32] = {
    let mut heads = [[false; 16]; 32];
    let mut at = 0;
    while at < ABOUT.len() {
        heads[(ABOUT[at].as_bytes()[0] & 31) as usize][ABOUT[at].len()] = true;
        at += 1;
    }
    heads
};

/// All rules as one automaton that reads a key byte by byte, in any case, and passes over what is no letter and no digit.
struct Automaton {
    /// State after each state and symbol; the first state is 0.
    next: Vec<u16>,
    /// From this state on, letters of a rule have just been read.
    first_met: usize,
    /// The rules of these states.
    met: Vec<Vec<usize>>,
}

/// Symbols of the automaton, a power of two: one for what is passed over, then letters and digits.
const SYMBOLS: usize = 64;

static SYMBOL: [u8; 256] = {
    let mut symbols = [0; 256];
    let mut at: u8 = 0;
    while at < 26 {
        symbols[(b'a' + at) as usize] = at + 1;
        symbols[(b'A' + at) as usize] = at + 1;
        at += 1;
    }
    at = 0;
    while at < 10 {
        symbols[(b'0' + at) as usize] = at + 27;
        at += 1;
    }
    symbols
};

static AUTOMATON: LazyLock<Automaton> = LazyLock::new(Automaton::new);

impl Automaton {
    fn new() -> Self {
        let dfa = DFA::new(RULES.iter().map(|(letters, ..)| letters)).expect("a fixed list of short words");
        let after = |state, byte| dfa.next_state(Anchored::No, state, byte);
        let letters = || (b'a'..=b'z').chain(b'0'..=b'9');
        let mut states = vec![dfa.start_state(Anchored::No).expect("it is not anchored")];
        let mut known: HashSet<StateID> = states.iter().copied().collect();
        let mut at = 0;
        while let Some(&state) = states.get(at) {
            states.extend(letters().map(|byte| after(state, byte)).filter(|&state| known.insert(state)));
            at += 1;
        }
        // Stable, so the first state stays the first.
        states.sort_by_key(|&state| dfa.is_match(state));
        let number: HashMap<StateID, u16> = states.iter().copied().zip(0..).collect();
        let row = |(&state, at)| {
            let mut row = [at; SYMBOLS];
            for byte in letters() {
                row[usize::from(SYMBOL[usize::from(byte)])] = number[&after(state, byte)];
            }
            row
        };
        let first_met = states.partition_point(|&state| !dfa.is_match(state));
        let rules =
            |&state: &StateID| (0..dfa.match_len(state)).map(|nth| dfa.match_pattern(state, nth).as_usize()).collect();
        Self {
            next: states.iter().zip(0..).flat_map(row).collect(),
            first_met,
            met: states[first_met..].iter().map(rules).collect(),
        }
    }
}

/// Whether a word starts at `at`, where a letter or a digit is: after anything else, between a small and a capital letter, and between
/// letters and digits.
fn starts_word(key: &[u8], at: usize) -> bool {
    let byte = key[at];
    let Some(before) = at.checked_sub(1).map(|before| key[before]).filter(u8::is_ascii_alphanumeric) else {
        return true;
    };
    before.is_ascii_digit() != byte.is_ascii_digit()
        || byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase() || key.get(at + 1).is_some_and(u8::is_ascii_lowercase))
}

/// Where the last `count` letters and digits of `key` start.
fn last_letters(key: &[u8], count: usize) -> usize {
    let mut letters = (0..key.len()).rev().filter(|&at| key[at].is_ascii_alphanumeric());
    letters.nth(count.saturating_sub(1)).unwrap_or(0)
}

/// Whether a rule that demands `at` holds for its letters, the last of which is before `end`.
fn holds(key: &[u8], end: usize, letters: usize, at: At) -> bool {
    let rest = &key[end..];
    at == Anywhere
        || (!rest.first().is_some_and(u8::is_ascii_alphanumeric) || starts_word(key, end))
            && starts_word(key, last_letters(&key[..end], letters))
            && (at == Words || !rest.iter().any(u8::is_ascii_alphanumeric))
}

/// What `key` says. Linear in its length, which is looked at up to a bound.
#[must_use]
pub(super) fn classify(key: &[u8]) -> KeyClass {
    let mut class = KeyClass::NONE;
    let key = &key[key.len().saturating_sub(KEY_BYTES)..];
    if key.len() < 3 {
        return class;
    }
    let automaton = &*AUTOMATON;
    let next = &*automaton.next;
    let mut state = 0;
    for (at, &byte) in key.iter().enumerate() {
        state = usize::from(next[state * SYMBOLS + usize::from(SYMBOL[usize::from(byte)])]);
        // A byte that is passed over stays in the state, whose rules have been seen.
        if state < automaton.first_met || !byte.is_ascii_alphanumeric() {
            continue;
        }
        for &rule in &automaton.met[state - automaton.first_met] {
            let (letters, place, says) = RULES[rule];
            if holds(key, at + 1, letters.len(), place) {
                class |= says;
            }
        }
    }
    if class.says(K::ABOUT) || !class.is_none() && is_about(key) {
        class = class
            .without(K::ABOUT | PASSWORD | K::SECRET_IF_RANDOM | K::SECRET_IF_MIXED)
            .without(K::SESSION | K::COOKIES | K::PIN | K::AUTHORIZATION | K::CARD | K::PHONE);
    }
    class
}

/// Whether the last word of `key` says that the value is about something.
fn is_about(key: &[u8]) -> bool {
    let end = key.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let start = (0..end).rev().find(|&at| starts_word(key, at)).unwrap_or(0);
    let word = &key[start..end];
    let may_be = |first: &u8| ABOUT_HEADS[usize::from(first & 31)].get(word.len()).is_some_and(|is| *is);
    word.first().is_some_and(may_be) && ABOUT.iter().any(|about| word.eq_ignore_ascii_case(about.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_its_words_say() {
        for (key, says) in [
            ("http.request.header.x-api-key", K::SECRET | K::SECRET_IF_RANDOM),
            ("db.password", PASSWORD),
            ("user.verification_code", K::PIN),
            ("card.cvn", K::CARD_CODE),
            ("provider.nationalProviderIdentifier", K::NPI),
            ("primary_account_number", K::CARD),
            ("userPassword", PASSWORD),
            ("app.card.cvv", K::CARD_CODE),
            ("cardCvv2", K::CARD_CODE),
            ("customer_pin", K::PIN),
            ("patient.ssn", K::SSN),
            ("patient.dob", K::BIRTH),
            ("patientDateOfBirth", K::BIRTH),
            ("contact.phone", K::PHONE),
            ("contact.phone_number", K::PHONE),
            ("patient.id", K::MRN),
            ("JSESSIONID", K::SESSION),
            ("http.request.header.cookie", K::COOKIES),
            ("http.request.header.authorization", K::AUTHORIZATION),
            ("db.statement", K::STATEMENT),
            ("db.query.text", K::STATEMENT),
            ("url.query", K::QUERY),
            ("db.query.parameter.name", K::PARAMETER),
        ] {
            assert_eq!(classify(key.as_bytes()), says, "{key}");
        }
    }

    #[test]
    fn a_key_that_only_looks_like_it_says_nothing() {
        for key in [
            "spinner",
            "company",
            "expand",
            "opinion",
            "http.route",
            "server.port",
            "gen_ai.usage.input_tokens",
            "token.type",
            "password_policy",
            "monkey",
            "hotel",
            "app.retry",
            "sidecar",
            "rpc.grpc.status_code",
            "telemetry.sdk.name",
            "panel",
        ] {
            assert_eq!(classify(key.as_bytes()), K::NONE, "{key}");
        }
    }
}
