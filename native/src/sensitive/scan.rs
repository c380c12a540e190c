//! All detectors on one text, and the text that is left when what they found is treated.

use std::ops::Range;

use super::definition::Masking;
use super::detector::{Detector, Shown};
use super::keys::KeyClass;
use super::signals::{Block, Signals};
use super::treatment::Treatment;
use super::{by_key, cards, contact, credentials, custom, encoded, national, pairs, service_keys, sql, url};

/// Something found, by its place in the original text.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) detector: Detector,
    /// What stands in its place.
    pub(super) shown: Shown,
}

/// A text under the detectors. It may be a reading of another one, see [`encoded`]; then `places` leads back.
pub(super) struct Scan<'a> {
    pub(super) text: &'a [u8],
    /// Those of `text`.
    pub(super) signals: &'a Signals,
    pub(super) masking: &'a Masking,
    found: &'a mut Vec<Found>,
    places: Option<&'a [u32]>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        text: &'a [u8],
        signals: &'a Signals,
        masking: &'a Masking,
        found: &'a mut Vec<Found>,
        places: Option<&'a [u32]>,
    ) -> Self {
        Self { text, signals, masking, found, places }
    }

    /// The bytes of a range; nothing if it is not inside.
    pub(super) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.text.get(range).unwrap_or_default()
    }

    /// Notes that `detector` found the value at `range`.
    pub(super) fn push(&mut self, range: Range<usize>, detector: Detector) {
        let shown = self.masking.shown(detector, self.bytes(range.clone()));
        self.push_shown(range, detector, shown);
    }

    /// As [`Scan::push`], with `shown` in place of the value if the treatment is to mask.
    pub(super) fn push_as(&mut self, range: Range<usize>, detector: Detector, shown: &'static str) {
        if self.masking.treatment(detector) == Treatment::Mask {
            self.push_shown(range, detector, Shown::Borrowed(shown));
        } else {
            self.push(range, detector);
        }
    }

    /// Detectors on `text`, a reading of this text in which each byte comes from the one at `places`.
    pub(super) fn reading<'b>(&'b mut self, text: &'b [u8], signals: &'b Signals, places: &'b [u32]) -> Scan<'b> {
        Scan::new(text, signals, self.masking, self.found, Some(places))
    }

    /// As [`Scan::push`] for a value that is `detector`'s only when it is decoded.
    pub(super) fn push_whole(&mut self, range: Range<usize>, detector: Detector, shown: Shown) {
        self.push_shown(range, detector, shown);
    }

    fn push_shown(&mut self, range: Range<usize>, detector: Detector, shown: Shown) {
        if range.is_empty() {
            return;
        }
        let place = |at: usize| match self.places {
            Some(places) => places.get(at).map_or(usize::MAX, |&place| place as usize),
            None => at,
        };
        self.found.push(Found { start: place(range.start), end: place(range.end), detector, shown });
    }

    /// Whether the credentials of a URL are at `at`. Credentials are looked for first, so they are among the first found.
    pub(super) fn has_credentials_at(&self, at: usize) -> bool {
        const FIRST: usize = 64;
        let holds = |found: &Found| found.detector == Detector::UrlPassword && found.start <= at && at < found.end;
        self.places.is_none() && self.found.iter().take(FIRST).any(holds)
    }
}

/// Runs every detector on `text`, a value whose key says `class` and is called `key`.
pub(super) fn find(
    text: &[u8],
    signals: &Signals,
    key: &[u8],
    class: KeyClass,
    masking: &Masking,
    found: &mut Vec<Found>,
) {
    let mut scan = Scan::new(text, signals, masking, found, None);
    let identity = class.says(KeyClass::IDENTITY);
    if class.says(KeyClass::NUMBER) {
        by_key::find_whole(&mut scan, class);
        cards::find_number(&mut scan);
        custom::find(&mut scan, key, identity);
        return;
    }
    if !identity {
        if !class.is_none() {
            by_key::find_whole(&mut scan, class);
        }
        if signals.url() || class.says(KeyClass::QUERY) {
            url::find(&mut scan, class);
        }
        if signals.sql() || class.says(KeyClass::STATEMENT) {
            sql::find(&mut scan, class.says(KeyClass::STATEMENT));
        }
    }
    find_content(&mut scan, identity);
    custom::find(&mut scan, key, identity);
    if signals.tokens() {
        encoded::find_base64(&mut scan);
    }
    if signals.hidden() {
        encoded::find_hidden(&mut scan, key, class);
    }
}

/// What a text gives away by itself.
pub(super) fn find_content(scan: &mut Scan<'_>, identity: bool) {
    let signals = scan.signals;
    if signals.private_key() {
        credentials::find_private_keys(scan);
    }
    if signals.tokens() {
        credentials::find_jwts(scan);
        credentials::find_jwks(scan);
        service_keys::find(scan);
        service_keys::find_webhooks_and_bots(scan);
    }
    if signals.long_tokens() {
        service_keys::find_shaped(scan);
    }
    if signals.tilde() {
        service_keys::find_entra_secrets(scan);
    }
    if signals.schemes() || signals.numbers_after_words() {
        pairs::find_after_words(scan, identity);
    }
    if signals.iban() {
        find_numbers(scan);
    }
    if signals.mrn() {
        national::find_mrns(scan);
    }
    if signals.email() {
        contact::find_emails(scan);
    }
    if identity {
        return;
    }
    if signals.pairs() {
        pairs::find_pairs(scan);
    }
    if signals.arguments() {
        pairs::find_arguments(scan);
    }
    if signals.elements() {
        pairs::find_elements(scan);
    }
    if signals.ip_address() && scan.masking.treatment(Detector::IpAddress) != Treatment::Keep {
        contact::find_ip_addresses(scan);
    }
}

/// Numbers with a checksum or a format of their own, at each run of digits in which they can start.
fn find_numbers(scan: &mut Scan<'_>) {
    let signals = scan.signals;
    let numbers = signals.numbers();
    let grouped = numbers && signals.groups();
    let (mut card_end, mut grouped_end, mut iban_end) = (0, 0, 0);
    for run in signals.runs(Block::digits) {
        // Most runs are short and stand alone: one question instead of three.
        let after_letter = run.start.checked_sub(1).is_some_and(|before| scan.text[before].is_ascii_alphabetic());
        let goes_on = matches!(scan.text[run.end..], [_, b'0'..=b'9', ..] | [_, _, b'0'..=b'9', ..]);
        if !(run.len() >= cards::DIGITS_MIN || goes_on | after_letter) {
            continue;
        }
        if numbers && run.start >= card_end {
            card_end = cards::find_at(scan, run.clone());
        }
        if grouped && run.start >= grouped_end {
            grouped_end = national::find_grouped_at(scan, run.clone());
        }
        if run.start >= iban_end {
            iban_end = national::find_iban_at(scan, run);
        }
    }
}

/// Leaves one of the findings that one detector has inside another of its own, as when a key and a format give a value away, and
/// no card number among the digits of an IBAN.
pub(super) fn drop_repeated(found: &mut Vec<Found>) {
    if found.len() < 2 {
        return;
    }
    found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end), !found.detector.is_structural()));
    let mut iban_end = 0;
    found.retain(|one| {
        if one.detector == Detector::Iban {
            iban_end = iban_end.max(one.end);
        }
        one.detector != Detector::Card || one.end > iban_end
    });
    let mut ends: Vec<(Detector, usize)> = Vec::new();
    found.retain(|one| match ends.iter_mut().find(|(detector, _)| *detector == one.detector) {
        Some((_, end)) if one.end <= *end => false,
        Some((_, end)) => {
            *end = one.end;
            true
        }
        None => {
            ends.push((one.detector, one.end));
            true
        }
    });
}

/// What becomes of a text.
pub(super) struct Resolved {
    /// The text with everything treated.
    pub(super) text: String,
    /// Whether a finding wants the span refused.
    pub(super) refuse: bool,
}

/// Treats everything in `found`, which is in order. Where findings overlap, one that covers them all is shown, a structural one before others;
/// if none does, the name of the first.
pub(super) fn resolve(text: &str, masking: &Masking, found: &mut [Found]) -> Resolved {
    for found in found.iter_mut() {
        found.end = text.ceil_char_boundary(found.end.min(text.len()));
        found.start = text.floor_char_boundary(found.start.min(found.end));
    }
    let treated = |wanted: Treatment| found.iter().find(|found| masking.treatment(found.detector) == wanted);
    let refuse = treated(Treatment::Refuse).is_some();
    if let Some(dropped) = treated(Treatment::Refuse).or_else(|| treated(Treatment::Drop)) {
        return Resolved { text: format!("[{} dropped]", masking.name(dropped.detector)), refuse };
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let mut at = 0;
    while at < found.len() {
        let first = &found[at];
        let (start, mut end) = (first.start, first.end);
        let mut next = at + 1;
        while next < found.len() && found[next].start < end {
            end = end.max(found[next].end);
            next += 1;
        }
        let cluster = &found[at..next];
        let cover = |structural: bool| {
            cluster
                .iter()
                .find(|one| one.start == start && one.end == end && one.detector.is_structural() == structural)
        };
        out.push_str(text.get(done..start).unwrap_or_default());
        match cover(true).or_else(|| cover(false)) {
            Some(cover) => out.push_str(&cover.shown),
            None => out.push_str(&masking.marker(first.detector)),
        }
        done = end;
        at = next;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Resolved { text: out, refuse }
}
