//! The span table while it grows: both formats write here, and neither knows of Arrow.
//!
//! A span's attributes, events and links are written as they are met and become part of the table when
//! [`Table::close_span`] finds the span good; otherwise they are taken back.

use std::borrow::Cow;
use std::sync::Arc;

use crate::attributes::{Attributes, Shared};
use crate::dictionary::{Dictionary, Keys};
use crate::error::{DecodeError, ErrorKind, Result};
use crate::ids::{self, Id, IdFault};
use crate::limits::{Limits, TABLE_BYTES_MAX};
use crate::resource::{Repeated, Resource, Scope};
use crate::sensitive::{Masker, Masking, Position};
use crate::tally::{Refusal, Tally};
use crate::text::{TextColumn, offset, place};

/// Bytes of the fixed-size columns of one span and of its ids, written out.
const SPAN_BYTES: usize = 128;

/// `SpanKind` by number; an unknown number is unspecified.
pub const KINDS: [&str; 6] = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
/// `StatusCode` by number; an unknown number is unset.
pub const STATUSES: [&str; 3] = ["Unset", "Ok", "Error"];

/// The fields of one span but for its lists.
pub struct Span<'a> {
    /// Trace id.
    pub trace_id: Id<{ ids::TRACE }>,
    /// Span id.
    pub span_id: Id<{ ids::SPAN }>,
    /// Span id of the parent; absent or zero for a root.
    pub parent_id: Id<{ ids::SPAN }>,
    /// W3C trace state.
    pub trace_state: Cow<'a, str>,
    /// Operation.
    pub name: Cow<'a, str>,
    /// Number in `SpanKind`.
    pub kind: i32,
    /// Nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970.
    pub end_unix_nano: u64,
    /// Number in `StatusCode`.
    pub status: i32,
    /// What the status says.
    pub status_message: Cow<'a, str>,
}

impl Default for Span<'_> {
    fn default() -> Self {
        Self {
            trace_id: Err(IdFault::Absent),
            span_id: Err(IdFault::Absent),
            parent_id: Err(IdFault::Absent),
            trace_state: Cow::Borrowed(""),
            name: Cow::Borrowed(""),
            kind: 0,
            start_unix_nano: 0,
            end_unix_nano: 0,
            status: 0,
            status_message: Cow::Borrowed(""),
        }
    }
}

/// Events of all spans.
pub struct Events {
    pub(crate) rows: Rows,
    pub(crate) times: Vec<i64>,
    pub(crate) names: Vec<i32>,
    pub(crate) name_strings: Dictionary,
    /// One list per event.
    pub attributes: Attributes,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            times: Vec::new(),
            names: Vec::new(),
            name_strings: Dictionary::default(),
            attributes: Attributes::new(Position::EventAttribute),
        }
    }
}

impl Events {
    /// Whether the open span takes one more event; if not, it is counted as dropped.
    pub fn admit(&mut self, shared: &mut Shared) -> bool {
        self.rows.admit(shared.limits.events, &mut shared.tally.dropped_events)
    }

    /// Ends an event whose attributes are written.
    pub fn close(&mut self, shared: &mut Shared, time_unix_nano: u64, name: &str) -> Result<()> {
        let Ok(time) = i64::try_from(time_unix_nano) else {
            shared.tally.dropped_events += 1;
            self.attributes.truncate(self.times.len());
            return Ok(());
        };
        self.times.push(time);
        self.names.push(shared.index(&mut self.name_strings, name, Position::EventName)?);
        self.attributes.close_list()
    }

    fn truncate(&mut self, rows: usize) {
        let kept = self.rows.truncate(rows);
        self.times.truncate(kept);
        self.names.truncate(kept);
        self.attributes.truncate(kept);
    }
}

/// Links of all spans.
pub struct Links {
    pub(crate) rows: Rows,
    pub(crate) trace_ids: Vec<u8>,
    pub(crate) span_ids: Vec<u8>,
    pub(crate) trace_states: TextColumn,
    /// One list per link.
    pub attributes: Attributes,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            trace_ids: Vec::new(),
            span_ids: Vec::new(),
            trace_states: TextColumn::default(),
            attributes: Attributes::new(Position::LinkAttribute),
        }
    }
}

impl Links {
    /// Whether the open span takes one more link; if not, it is counted as dropped.
    pub fn admit(&mut self, shared: &mut Shared) -> bool {
        self.rows.admit(shared.limits.links, &mut shared.tally.dropped_links)
    }

    /// Ends a link whose attributes are written.
    pub fn close(
        &mut self,
        shared: &mut Shared,
        trace_id: Id<{ ids::TRACE }>,
        span_id: Id<{ ids::SPAN }>,
        trace_state: &str,
    ) -> Result<()> {
        let (Ok(trace_id), Ok(span_id)) = (trace_id, span_id) else {
            shared.tally.dropped_links += 1;
            self.attributes.truncate(self.trace_states.len());
            return Ok(());
        };
        ids::push_hex(trace_id, &mut self.trace_ids);
        ids::push_hex(span_id, &mut self.span_ids);
        self.trace_states.push(&shared.keep(trace_state, Position::TraceState))?;
        self.attributes.close_list()
    }

    fn truncate(&mut self, rows: usize) {
        let kept = self.rows.truncate(rows);
        self.trace_ids.truncate(kept * 2 * ids::TRACE);
        self.span_ids.truncate(kept * 2 * ids::SPAN);
        self.trace_states.truncate(kept);
        self.attributes.truncate(kept);
    }
}

/// Where the items of each span start, and at last where those of the closed ones end.
pub struct Rows {
    pub(crate) offsets: Vec<i32>,
    offered: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { offsets: vec![0], offered: 0 }
    }
}

impl Rows {
    fn admit(&mut self, limit: usize, dropped: &mut u64) -> bool {
        self.offered += 1;
        let admitted = self.offered <= limit;
        *dropped += u64::from(!admitted);
        admitted
    }

    fn close(&mut self, items: usize) -> Result<()> {
        self.offered = 0;
        self.offsets.push(offset(items)?);
        Ok(())
    }

    /// Returns the number of items that are left.
    fn truncate(&mut self, rows: usize) -> usize {
        self.offered = 0;
        self.offsets.truncate(rows + 1);
        self.offsets.last().map_or(0, |&end| place(end))
    }
}

/// All columns.
pub struct Table {
    /// Limits, counts and keys.
    pub shared: Shared,
    /// Attributes of the open span.
    pub attributes: Attributes,
    /// Events of the open span.
    pub events: Events,
    /// Links of the open span.
    pub links: Links,
    pub(crate) starts: Vec<i64>,
    pub(crate) trace_ids: Vec<u8>,
    pub(crate) span_ids: Vec<u8>,
    pub(crate) parent_ids: TextColumn,
    pub(crate) trace_states: TextColumn,
    pub(crate) names: Vec<i32>,
    pub(crate) name_strings: Dictionary,
    pub(crate) kinds: Vec<i32>,
    pub(crate) durations_ns: Vec<u64>,
    pub(crate) statuses: Vec<i32>,
    pub(crate) status_messages: TextColumn,
    pub(crate) repeated: Repeated,
    /// Spans met, refused ones included.
    offered: usize,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits, masking: Arc<Masking>) -> Self {
        Self {
            shared: Shared { limits, tally: Tally::default(), keys: Keys::default(), masker: Masker::new(masking) },
            attributes: Attributes::new(Position::SpanAttribute),
            events: Events::default(),
            links: Links::default(),
            starts: Vec::new(),
            trace_ids: Vec::new(),
            span_ids: Vec::new(),
            parent_ids: TextColumn::default(),
            trace_states: TextColumn::default(),
            names: Vec::new(),
            name_strings: Dictionary::default(),
            kinds: Vec::new(),
            durations_ns: Vec::new(),
            statuses: Vec::new(),
            status_messages: TextColumn::default(),
            repeated: Repeated::default(),
            offered: 0,
        }
    }

    /// Spans kept so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len()
    }

    /// Room for `spans` more spans; no more than a hint.
    pub fn reserve(&mut self, spans: usize) {
        let spans = spans.min(self.shared.limits.spans);
        self.attributes.reserve(spans);
        self.starts.reserve(spans);
        self.trace_ids.reserve(spans * 2 * ids::TRACE);
        self.span_ids.reserve(spans * 2 * ids::SPAN);
        self.parent_ids.reserve(spans, spans * 2 * ids::SPAN);
        self.trace_states.reserve(spans, 0);
        self.names.reserve(spans);
        self.kinds.reserve(spans);
        self.durations_ns.reserve(spans);
        self.statuses.reserve(spans);
        self.status_messages.reserve(spans, 0);
        self.events.rows.offsets.reserve(spans);
        self.links.rows.offsets.reserve(spans);
    }

    /// Starts a span found at `offset` in the body. Fails with `too_large` beyond the limit on spans.
    pub fn open_span(&mut self, offset: usize) -> Result<()> {
        self.offered += 1;
        self.shared.masker.open_span();
        if self.offered > self.shared.limits.spans {
            return Err(DecodeError::new(ErrorKind::TooLarge, offset, "more spans than allowed"));
        }
        Ok(())
    }

    /// Ends a span whose lists are written: it becomes a row, or is refused and counted.
    pub fn close_span(&mut self, span: &Span<'_>, offset: usize) -> Result<()> {
        let row = match Row::of(span) {
            Ok(row) => row,
            Err(why) => {
                self.refuse_open(why);
                return Ok(());
            }
        };
        let trace_state = self.shared.keep(&span.trace_state, Position::TraceState);
        let status_message = self.shared.keep(&span.status_message, Position::StatusMessage);
        let name = self.shared.index(&mut self.name_strings, &span.name, Position::SpanName)?;
        let masked = self.shared.masker.words();
        if self.shared.masker.close(|| self.name_strings.text(name)) {
            self.refuse_open(Refusal::Sensitive);
            return Ok(());
        }
        self.starts.push(row.start);
        ids::push_hex(row.trace_id, &mut self.trace_ids);
        ids::push_hex(row.span_id, &mut self.span_ids);
        if let Some(id) = row.parent_id {
            ids::push_hex(id, self.parent_ids.open());
        }
        self.parent_ids.close()?;
        self.trace_states.push(&trace_state)?;
        self.names.push(name);
        self.kinds.push(known(span.kind, KINDS.len()));
        self.attributes.mark(&mut self.shared.keys, masked.as_deref())?;
        self.attributes.close_list()?;
        self.durations_ns.push(span.end_unix_nano.saturating_sub(span.start_unix_nano));
        self.shared.tally.ends_before_start += u64::from(span.end_unix_nano < span.start_unix_nano);
        self.statuses.push(known(span.status, STATUSES.len()));
        self.status_messages.push(&status_message)?;
        self.events.rows.close(self.events.times.len())?;
        self.links.rows.close(self.links.trace_states.len())?;
        self.check_bytes(0, offset)
    }

    /// Refuses the open span and takes its lists back.
    fn refuse_open(&mut self, why: Refusal) {
        self.shared.tally.refuse(why);
        self.shared.masker.open_span();
        let rows = self.rows();
        self.attributes.truncate(rows);
        self.events.truncate(rows);
        self.links.truncate(rows);
    }

    /// Forgets all but the first `rows` spans.
    fn truncate(&mut self, rows: usize) {
        self.starts.truncate(rows);
        self.trace_ids.truncate(rows * 2 * ids::TRACE);
        self.span_ids.truncate(rows * 2 * ids::SPAN);
        self.parent_ids.truncate(rows);
        self.trace_states.truncate(rows);
        self.names.truncate(rows);
        self.kinds.truncate(rows);
        self.attributes.truncate(rows);
        self.durations_ns.truncate(rows);
        self.statuses.truncate(rows);
        self.status_messages.truncate(rows);
        self.events.truncate(rows);
        self.links.truncate(rows);
    }

    /// Ends the spans of one scope: those without a resource yet get this one, unless it or the scope holds what refuses them.
    pub fn close_scope(&mut self, resource: &Resource, scope: &Scope, offset: usize) -> Result<()> {
        if resource.refuse || scope.refuse {
            let kept = self.repeated.rows();
            for _ in kept..self.rows() {
                self.shared.tally.refuse(Refusal::Sensitive);
            }
            self.truncate(kept);
        }
        let spans = self.rows() - self.repeated.rows();
        self.check_bytes(spans.saturating_mul(resource.bytes + scope.bytes()), offset)?;
        self.repeated.push(spans, resource, scope)
    }

    /// Fails with `too_large` if the table, written out, would be larger than allowed with `more` bytes.
    #[inline]
    fn check_bytes(&self, more: usize, offset: usize) -> Result<()> {
        let bytes = self.rows() * SPAN_BYTES
            + self.attributes.bytes()
            + self.events.attributes.bytes()
            + self.links.attributes.bytes()
            + self.trace_states.bytes()
            + self.status_messages.bytes()
            + self.links.trace_states.bytes()
            + self.repeated.bytes;
        if bytes.saturating_add(more) > self.shared.limits.table_bytes.min(TABLE_BYTES_MAX) {
            let what = "the spans, with their resource on each of them, would exceed the table size allowed";
            return Err(DecodeError::new(ErrorKind::TooLarge, offset, what));
        }
        Ok(())
    }
}

/// `number` if it is one of the first `count`, else 0.
#[inline]
fn known(number: i32, count: usize) -> i32 {
    if usize::try_from(number).is_ok_and(|number| number < count) { number } else { 0 }
}

/// What must be right for a span to be kept.
struct Row {
    start: i64,
    trace_id: [u8; ids::TRACE],
    span_id: [u8; ids::SPAN],
    parent_id: Option<[u8; ids::SPAN]>,
}

impl Row {
    #[inline]
    fn of(span: &Span<'_>) -> std::result::Result<Self, Refusal> {
        let trace_id = span.trace_id.map_err(|fault| match fault {
            IdFault::Zero => Refusal::TraceIdZero,
            IdFault::Absent | IdFault::Length => Refusal::TraceIdLength,
            IdFault::NotHex => Refusal::TraceIdNotHex,
            IdFault::Base64 => Refusal::IdBase64,
        })?;
        let span_id = span.span_id.map_err(|fault| match fault {
            IdFault::Zero => Refusal::SpanIdZero,
            IdFault::Absent | IdFault::Length => Refusal::SpanIdLength,
            IdFault::NotHex => Refusal::SpanIdNotHex,
            IdFault::Base64 => Refusal::IdBase64,
        })?;
        let parent_id = match span.parent_id {
            Ok(id) => Some(id),
            Err(IdFault::Absent | IdFault::Zero) => None,
            Err(IdFault::Length) => return Err(Refusal::ParentIdLength),
            Err(IdFault::NotHex) => return Err(Refusal::ParentIdNotHex),
            Err(IdFault::Base64) => return Err(Refusal::IdBase64),
        };
        let start = i64::try_from(span.start_unix_nano).map_err(|_| Refusal::TimeOutOfRange)?;
        i64::try_from(span.end_unix_nano).map_err(|_| Refusal::TimeOutOfRange)?;
        Ok(Self { start, trace_id, span_id, parent_id })
    }
}
