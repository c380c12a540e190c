//! Keys and tokens of services, known by the prefix that each service documents.

use memchr::memchr_iter;

use super::detector::Detector;
use super::scan::Scan;
use super::signals::{Block, TOKEN_BYTES_MIN};

/// What may follow a prefix.
#[derive(Clone, Copy)]
enum Alphabet {
    /// Capital letters and digits.
    Capitals,
    /// Small letters and digits.
    Small,
    /// Hexadecimal digits.
    Hex,
    /// Hexadecimal digits in groups with `-` between them.
    Uuid,
    /// Letters and digits.
    Letters,
    /// Letters, digits, `-`, `_`.
    Token,
    /// Those of both alphabets of base64.
    Base64,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Small => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Uuid => byte.is_ascii_hexdigit() || byte == b'-',
            Self::Letters => byte.is_ascii_alphanumeric(),
            Self::Token => is_token(byte),
            Self::Base64 => is_token(byte) || matches!(byte, b'+' | b'/'),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

use Alphabet::{Base64, Capitals, Hex, Letters, Small, Token, Uuid};

/// Prefix, what follows, and how many bytes of it at least.
const KEYS: &[(&[u8], Alphabet, usize)] = &[
    // AWS access keys, for a long time and for a short one.
    (b"AKIA", Capitals, 16),
    (b"ASIA", Capitals, 16),
    (b"ABIA", Capitals, 16),
    (b"ACCA", Capitals, 16),
    (b"amzn.mws.", Token, 32),
    // Google: API keys, OAuth client secrets, access tokens and refresh tokens.
    (b"AIza", Token, 35),
    (b"GOCSPX-", Token, 20),
    (b"ya29.", Token, 20),
    (b"1//0", Token, 40),
    // Alibaba Cloud, Tencent Cloud.
    (b"LTAI", Letters, 16),
    (b"AKID", Letters, 32),
    // SendGrid, whose key has two parts with a dot before each.
    (b"SG.", Token, 22),
    // Twilio.
    (b"SK", Hex, 32),
    // DigitalOcean.
    (b"dop_v1_", Hex, 32),
    (b"doo_v1_", Hex, 32),
    // Databricks.
    (b"dapi", Hex, 32),
    // Docker Hub.
    (b"dckr_pat_", Token, 20),
    // GitHub.
    (b"ghp_", Token, 36),
    (b"gho_", Token, 36),
    (b"ghu_", Token, 36),
    (b"ghs_", Token, 36),
    (b"ghr_", Token, 36),
    (b"github_pat_", Token, 22),
    // GitLab.
    (b"glpat-", Token, 20),
    (b"gldt-", Token, 20),
    (b"glrt-", Token, 20),
    (b"glptt-", Token, 20),
    (b"glft-", Token, 20),
    (b"gloas-", Token, 40),
    (b"glcbt-", Token, 20),
    (b"glagent-", Token, 50),
    (b"glimt-", Token, 25),
    (b"glsoat-", Token, 20),
    // Grafana.
    (b"glsa_", Token, 32),
    (b"glc_", Token, 32),
    // Atlassian, CircleCI, Buildkite, Doppler, Supabase.
    (b"ATATT3", Token, 60),
    (b"ATCTT3", Token, 60),
    (b"CCIPAT_", Token, 40),
    (b"bkua_", Hex, 40),
    (b"dp.pt.", Token, 40),
    (b"dp.st.", Token, 40),
    (b"sbp_", Hex, 40),
    // Hugging Face, HashiCorp Vault.
    (b"hf_", Token, 30),
    (b"api_org_", Token, 34),
    (b"hvs.", Token, 24),
    (b"hvb.", Token, 24),
    (b"hvr.", Token, 24),
    // Linear, Notion, Figma, Typeform, Mailgun, New Relic.
    (b"lin_api_", Token, 32),
    (b"lin_oauth_", Token, 32),
    (b"ntn_", Token, 40),
    (b"secret_", Letters, 43),
    (b"figd_", Token, 40),
    (b"tfp_", Token, 40),
    (b"key-", Hex, 32),
    (b"NRAK-", Capitals, 27),
    // npm.
    (b"npm_", Token, 36),
    // PyPI, RubyGems.
    (b"pypi-", Token, 50),
    (b"rubygems_", Hex, 48),
    // Stripe, and those that took its form.
    (b"pk_live_", Token, 16),
    (b"rk_live_", Token, 16),
    (b"rk_test_", Token, 16),
    (b"sk_live_", Token, 16),
    (b"sk_test_", Token, 16),
    (b"whsec_", Token, 24),
    // Razorpay, Shippo, EasyPost.
    (b"rzp_live_", Token, 14),
    (b"rzp_test_", Token, 14),
    (b"shippo_live_", Hex, 40),
    (b"EZAK", Letters, 54),
    // Meta, and Square's newer tokens; Dropbox.
    (b"EAA", Token, 60),
    (b"sl.", Token, 60),
    // Square, Shopify, OpenAI, Anthropic.
    (b"sq0atp-", Token, 22),
    (b"sq0csp-", Token, 40),
    (b"shpat_", Hex, 32),
    (b"shpss_", Hex, 32),
    (b"shpca_", Hex, 32),
    (b"shppa_", Hex, 32),
    (b"sk-ant-", Token, 24),
    (b"sk-proj-", Token, 24),
    (b"sk-", Token, 40),
    // DeepSeek, and others that took OpenAI's form.
    (b"sk-", Hex, 32),
    // Others that serve models: Groq, Replicate, NVIDIA, xAI, Perplexity.
    (b"gsk_", Token, 48),
    (b"r8_", Token, 37),
    (b"nvapi-", Token, 60),
    (b"xai-", Token, 70),
    (b"pplx-", Token, 40),
    // Slack.
    (b"xoxb-", Token, 20),
    (b"xoxp-", Token, 20),
    (b"xoxa-", Token, 20),
    (b"xoxr-", Token, 20),
    (b"xoxs-", Token, 20),
    (b"xoxe-", Token, 20),
    (b"xapp-", Token, 20),
    // age, Sentry, PlanetScale, Postman.
    (b"AGE-SECRET-KEY-", Capitals, 40),
    (b"sntrys_", Token, 32),
    (b"sntryu_", Hex, 64),
    (b"pscale_tkn_", Token, 30),
    (b"pscale_pw_", Token, 30),
    (b"PMAK-", Token, 32),
    // Tailscale, Heroku, Pulumi, Bitbucket.
    (b"tskey-", Token, 20),
    (b"HRKU-AA", Token, 58),
    (b"pul-", Hex, 40),
    (b"ATBB", Letters, 32),
    // JFrog: API keys, and reference tokens, which are base64 of `reftkn`.
    (b"AKC", Letters, 70),
    (b"cmVmdGtu", Letters, 56),
    // HubSpot, by region.
    (b"pat-na1-", Uuid, 36),
    (b"pat-na2-", Uuid, 36),
    (b"pat-eu1-", Uuid, 36),
    (b"pat-ap1-", Uuid, 36),
    // Dynatrace, Brevo.
    (b"dt0c01.", Capitals, 24),
    (b"dt0s02.", Capitals, 24),
    (b"dt0s16.", Capitals, 24),
    (b"xkeysib-", Hex, 64),
    (b"xsmtpsib-", Hex, 64),
    // Fly.
    (b"fo1_", Token, 43),
    (b"fm2_", Base64, 40),
    (b"fm1r_", Base64, 40),
    (b"fm1a_", Base64, 40),
    // Contentful, Plaid, Flutterwave, Braintree.
    (b"CFPAT-", Token, 43),
    (b"access-sandbox-", Uuid, 36),
    (b"access-development-", Uuid, 36),
    (b"access-production-", Uuid, 36),
    (b"FLWSECK-", Letters, 32),
    (b"FLWSECK_TEST-", Letters, 12),
    (b"access_token$production$", Small, 16),
    // AWS Bedrock, for a long time and for a short one.
    (b"ABSK", Base64, 100),
    (b"bedrock-api-key-", Base64, 40),
    // 1Password, Prefect, ReadMe, Clojars, Adafruit, NuGet, crates.io.
    (b"ops_eyJ", Base64, 100),
    (b"pnu_", Small, 36),
    (b"rdme_", Small, 70),
    (b"CLOJARS_", Small, 60),
    (b"aio_", Letters, 28),
    (b"oy2", Small, 43),
    (b"cio", Letters, 32),
    // Duffel, PostHog, SonarQube, Sourcegraph, Snyk.
    (b"duffel_live_", Token, 43),
    (b"duffel_test_", Token, 43),
    (b"phx_", Letters, 40),
    (b"squ_", Hex, 40),
    (b"sqp_", Hex, 40),
    (b"sqa_", Hex, 40),
    (b"sgp_", Token, 40),
    (b"snyk_uat.", Hex, 8),
    (b"snyk_sat.", Hex, 8),
    // LangSmith, Mapbox.
    (b"lsv2_pt_", Hex, 32),
    (b"lsv2_sk_", Hex, 32),
    (b"sk.eyJ1", Token, 40),
    // Netlify, Vercel, Render, Datadog, Elastic, New Relic, Cloudflare, Confluent, Scalingo, Frame.io, Yandex.
    (b"nfp_", Letters, 36),
    (b"vcp_", Letters, 56),
    (b"rnd_", Letters, 28),
    (b"ddapp_", Letters, 34),
    (b"essu_", Base64, 60),
    (b"NRII-", Token, 32),
    (b"v1.0-", Uuid, 160),
    (b"cflt", Letters, 60),
    (b"tk-us-", Token, 48),
    (b"fio-u-", Token, 64),
    (b"AQVN", Token, 35),
];

/// Keys that have parts with dots between them.
const DOTTED: [&[u8]; 12] = [
    b"SG.",
    b"ya29.",
    b"hvs.",
    b"hvb.",
    b"hvr.",
    b"sl.",
    b"dt0c01.",
    b"dt0s02.",
    b"dt0s16.",
    b"snyk_uat.",
    b"snyk_sat.",
    b"sk.eyJ1",
];

/// A set of keys: a bit of each.
type Keys = [u128; 2];

/// For each byte, the keys that have it first, and those that have it second.
static HEADS: [[Keys; 256]; 2] = {
    let mut heads = [[[0; 2]; 256]; 2];
    let mut at = 0;
    while at < KEYS.len() {
        let (half, bit) = (at / 128, 1 << (at % 128));
        heads[0][KEYS[at].0[0] as usize][half] |= bit;
        heads[1][KEYS[at].0[1] as usize][half] |= bit;
        at += 1;
    }
    heads
};

/// Finds keys at the start of each word. Each run is looked at once, and each prefix in it stands at a border of a word.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for start in scan.signals.starts(Block::alphanumeric) {
        let (Some(&first), Some(&second)) = (text.get(start), text.get(start + 1)) else { return };
        let (first, second) = (&HEADS[0][usize::from(first)], &HEADS[1][usize::from(second)]);
        let (few, more) = (first[0] & second[0], first[1] & second[1]);
        if few | more == 0 || start < done {
            continue;
        }
        if let Some(end) = first_end(text, start, few, 0).or_else(|| first_end(text, start, more, 128)) {
            scan.push(start..end, Detector::ServiceKey);
            done = end;
        }
    }
}

/// Where the first key ends of those in `left` that stands at `start`; they are counted from `base` on.
fn first_end(text: &[u8], start: usize, mut left: u128, base: usize) -> Option<usize> {
    while left != 0 {
        let end = key_end(text, start, KEYS[base + left.trailing_zeros() as usize]);
        if end.is_some() {
            return end;
        }
        left &= left - 1;
    }
    None
}

fn key_end(text: &[u8], start: usize, (prefix, alphabet, least): (&[u8], Alphabet, usize)) -> Option<usize> {
    if !text[start..].starts_with(prefix) {
        return None;
    }
    let from = start + prefix.len();
    // Only as many bytes as decide are looked at, so that many starts in one run stay linear.
    let decides = text.get(from..from + least)?;
    // Words have small letters only, with dashes between them.
    let is_word =
        |bytes: &[u8]| !bytes.iter().any(u8::is_ascii_digit) && !bytes.iter().skip(1).any(u8::is_ascii_uppercase);
    if !decides.iter().all(|&byte| alphabet.has(byte)) || is_word(decides) {
        return None;
    }
    let dotted = DOTTED.contains(&prefix);
    let dollars = prefix.ends_with(b"$");
    let part = |byte: u8| match byte {
        b'.' => dotted,
        b'$' => dollars,
        b'+' | b'/' | b'=' => matches!(alphabet, Base64),
        _ => is_token(byte),
    };
    Some((from + least..text.len()).find(|&at| !part(text[at])).unwrap_or(text.len()))
}

/// Client secrets of Microsoft Entra: 40 characters with `Q~` after the first four.
pub(super) fn find_entra_secrets(scan: &mut Scan<'_>) {
    const BEFORE: usize = 4;
    const LENGTH: usize = 40;
    let text = scan.text;
    let is_part = |byte: &u8| is_token(*byte) || matches!(byte, b'.' | b'~');
    for middle in memchr_iter(b'~', text).filter_map(|tilde| tilde.checked_sub(1)).filter(|&at| text[at] == b'Q') {
        let Some(start) = middle.checked_sub(BEFORE) else { continue };
        let whole = text.get(start..start + LENGTH).is_some_and(|secret| secret.iter().all(is_part));
        let before = start.checked_sub(1).is_some_and(|before| is_part(&text[before]));
        if whole && !before && !text.get(start + LENGTH).is_some_and(is_part) {
            scan.push(start..start + LENGTH, Detector::ServiceKey);
        }
    }
}

/// Addresses of webhooks, which are their own secret, and tokens of Telegram's bots: their number, `:AA` and 33 characters.
pub(super) fn find_webhooks_and_bots(scan: &mut Scan<'_>) {
    const WEBHOOKS: [&[u8]; 4] = [
        b"hooks.slack.com/services/",
        b"discord.com/api/webhooks/",
        b"discordapp.com/api/webhooks/",
        b".webhook.office.com/webhookb2/",
    ];
    const WEBHOOK_BYTES_MIN: usize = 30;
    const BOT_DIGITS_MAX: usize = 12;
    const BOT_BYTES_MIN: usize = 33;
    let text = scan.text;
    let run = |from: usize, slashes: bool| {
        text[from..].iter().take_while(|&&byte| is_token(byte) || slashes && matches!(byte, b'/' | b'@')).count()
    };
    let mut done = 0;
    for from in scan.signals.places(|block| block.slashes).map(|slash| slash + 1) {
        let may_end = from >= 2 && matches!(text[from - 2], b's' | b'2');
        if from < done || !may_end || !WEBHOOKS.iter().any(|webhook| text[..from].ends_with(webhook)) {
            continue;
        }
        let length = run(from, true);
        done = from + length;
        if length >= WEBHOOK_BYTES_MIN {
            scan.push(from..done, Detector::ServiceKey);
        }
    }
    let mut done = 0;
    for colon in scan.signals.places(|block| block.colons).filter(|&colon| text[colon..].starts_with(b":AA")) {
        let digits =
            text[..colon].iter().rev().take(BOT_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if colon < done || !(8..=BOT_DIGITS_MAX).contains(&digits) {
            continue;
        }
        let length = run(colon + 3, false);
        done = colon + 3 + length;
        if length >= BOT_BYTES_MIN {
            scan.push(colon - digits..done, Detector::ServiceKey);
        }
    }
}

/// Keys whose form is not a prefix: Mailchimp's (32 hexadecimal digits, `-us` and a number), and those of several parts with dots between
/// them, see [`parts_end`].
pub(super) fn find_shaped(scan: &mut Scan<'_>) {
    const MAILCHIMP_DIGITS: usize = 32;
    let text = scan.text;
    for dash in scan.signals.places(|block| block.dashes).filter(|&dash| text[dash..].starts_with(b"-us")) {
        let Some(start) = dash.checked_sub(MAILCHIMP_DIGITS) else { continue };
        let number = text[dash + 3..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let end = dash + 3 + number;
        if matches!(number, 1 | 2)
            && text[start..dash].iter().all(|byte| Hex.has(*byte))
            && super::stands_alone(text, start, end)
        {
            scan.push(start..end, Detector::ServiceKey);
        }
    }
    let mut done = 0;
    for dot in scan.signals.places(|block| block.dots) {
        let start = scan.signals.start(dot, Block::tokens);
        if start < done {
            continue;
        }
        if let Some(end) = parts_end(scan, start, dot) {
            scan.push(start..end, Detector::ServiceKey);
            done = end;
        }
    }
}

/// Where the key ends whose first part is `start..dot`: tokens of Discord's bots (three parts, of 24 to 28, 6 or 7, and 27 or more
/// characters), Airtable's (`pat` and 14 letters, 64 hexadecimal digits), Terraform's (14 letters, `atlasv1`, 60 or more) and those of
/// Harness (`pat` or `sat`, 22, 24, 20).
fn parts_end(scan: &Scan<'_>, start: usize, dot: usize) -> Option<usize> {
    let text = scan.text;
    let part = |from: usize| from..scan.signals.end(from, Block::tokens);
    let next = |dot: usize| (text.get(dot) == Some(&b'.')).then(|| part(dot + 1));
    let first = &text[start..dot];
    match first.len() {
        3 if matches!(first, b"pat" | b"sat") => {
            let second = next(dot).filter(|part| part.len() == 22)?;
            let third = next(second.end).filter(|part| part.len() == 24)?;
            let last = next(third.end).filter(|part| part.len() == 20)?;
            Some(last.end)
        }
        14 if text[dot..].starts_with(b".atlasv1.") => {
            let secret = part(dot + b".atlasv1.".len());
            (secret.len() >= 60).then_some(secret.end)
        }
        17 if first.starts_with(b"pat") => {
            let secret = next(dot)?;
            (secret.len() == 64 && text[secret.clone()].iter().all(|byte| Hex.has(*byte))).then_some(secret.end)
        }
        24..=28 if matches!(first[0], b'M' | b'N' | b'O') && first.iter().any(u8::is_ascii_digit) => {
            let second = next(dot).filter(|part| matches!(part.len(), 6 | 7))?;
            let last = next(second.end).filter(|part| part.len() >= 27)?;
            Some(last.end)
        }
        _ => None,
    }
}

const _: () = assert!(KEYS.len() <= 256, "more than a bit for each");
const _: () = assert!(TOKEN_BYTES_MIN <= 20, "shorter than the shortest key, an AWS access key");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_needs_its_length_and_alphabet() {
        let end = |text: &str, prefix: &str, alphabet, least| {
            key_end(text.as_bytes(), 0, (prefix.as_bytes(), alphabet, least))
        };
        assert_eq!(end("AKIAIOSFODNN7EXAMPLE", "AKIA", Capitals, 16), Some(20));
        assert_eq!(end("AKIAIOSFODNN7EXAMPL", "AKIA", Capitals, 16), None);
        assert_eq!(end("AKIAiosfodnn7example", "AKIA", Capitals, 16), None);
        assert_eq!(end("SG.abcdefghijklmnopqrstu1.x_y rest", "SG.", Token, 22), Some(29));
        assert_eq!(end("AKIAIOSFODNNREXAMPLE", "AKIA", Capitals, 16), Some(20));
        assert_eq!(end("glpat-aBcdefghijklmnopqrst", "glpat-", Token, 20), Some(26));
        assert_eq!(end("glpat-words-with-small-letters-only", "glpat-", Token, 20), None);
    }
}
