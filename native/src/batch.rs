//! The finished table as one Arrow record batch with the columns of `otel_traces`.
//!
//! The table is that of the OpenTelemetry Collector's `ClickHouse` exporter. Texts that repeat are dictionaries; attribute maps share
//! one dictionary of keys; no column has nulls. Building moves the buffers and copies nothing.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};

use crate::attributes::{AttributeParts, Attributes};
use crate::ids;
use crate::sensitive::Findings;
use crate::table::{Events, KINDS, Links, STATUSES, Table};
use crate::text::TextColumn;

type Result<T> = std::result::Result<T, ArrowError>;

/// Turns the table into a batch, and what was sensitive in it. Fails only if the columns do not fit together, which would be a
/// fault of this crate.
pub fn record_batch(table: Table) -> Result<(RecordBatch, Findings)> {
    let Table { shared, attributes, events, links, repeated, .. } = table;
    let keys: ArrayRef = Arc::new(texts(shared.keys.into_strings())?);
    let rows = table.starts.len();
    let resource_entries = entries(
        dictionary_of(repeated.keys, keys.clone())?,
        dictionary(repeated.values, repeated.value_strings.into_strings())?,
    )?;
    let resource_lists = if repeated.lists.is_empty() { vec![0] } else { repeated.lists };

    let mut columns = Columns::default();
    columns.push("Timestamp", Arc::new(TimestampNanosecondArray::new(table.starts.into(), None)));
    columns.push("TraceId", Arc::new(fixed_texts(rows, 2 * ids::TRACE, table.trace_ids)?));
    columns.push("SpanId", Arc::new(fixed_texts(rows, 2 * ids::SPAN, table.span_ids)?));
    columns.push("ParentSpanId", Arc::new(texts(table.parent_ids)?));
    columns.push("TraceState", Arc::new(texts(table.trace_states)?));
    columns.push("SpanName", dictionary(table.names, table.name_strings.into_strings())?);
    columns.push("SpanKind", dictionary_of(table.kinds, Arc::new(StringArray::from_iter_values(KINDS)))?);
    columns.push("ServiceName", dictionary(repeated.services, repeated.service_strings.into_strings())?);
    columns.push("ResourceAttributes", map(resource_lists, resource_entries)?);
    columns.push("ScopeName", dictionary(repeated.scope_names, repeated.scope_name_strings.into_strings())?);
    columns.push("ScopeVersion", dictionary(repeated.scope_versions, repeated.scope_version_strings.into_strings())?);
    columns.push("SpanAttributes", attribute_map(attributes, &keys)?);
    columns.push("Duration", Arc::new(UInt64Array::new(table.durations_ns.into(), None)));
    columns.push("StatusCode", dictionary_of(table.statuses, Arc::new(StringArray::from_iter_values(STATUSES)))?);
    columns.push("StatusMessage", Arc::new(texts(table.status_messages)?));
    columns.events(events, &keys)?;
    columns.links(links, &keys)?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(columns.fields)), columns.arrays)?;
    Ok((batch, shared.masker.into_findings()))
}

#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn push(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), false));
        self.arrays.push(array);
    }

    /// The three lists of an event column share their offsets.
    fn events(&mut self, events: Events, keys: &ArrayRef) -> Result<()> {
        let rows = offsets(events.rows.offsets);
        let names = dictionary(events.names, events.name_strings.into_strings())?;
        self.push("Events.Timestamp", list(&rows, Arc::new(TimestampNanosecondArray::new(events.times.into(), None)))?);
        self.push("Events.Name", list(&rows, names)?);
        self.push("Events.Attributes", list(&rows, attribute_map(events.attributes, keys)?)?);
        Ok(())
    }

    fn links(&mut self, links: Links, keys: &ArrayRef) -> Result<()> {
        let rows = offsets(links.rows.offsets);
        let count = links.trace_states.len();
        self.push("Links.TraceId", list(&rows, Arc::new(fixed_texts(count, 2 * ids::TRACE, links.trace_ids)?))?);
        self.push("Links.SpanId", list(&rows, Arc::new(fixed_texts(count, 2 * ids::SPAN, links.span_ids)?))?);
        self.push("Links.TraceState", list(&rows, Arc::new(texts(links.trace_states)?))?);
        self.push("Links.Attributes", list(&rows, attribute_map(links.attributes, keys)?)?);
        Ok(())
    }
}

fn offsets(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn texts(column: TextColumn) -> Result<StringArray> {
    let (starts, bytes) = column.into_parts();
    StringArray::try_new(offsets(starts), Buffer::from_vec(bytes), None)
}

/// Strings that are all `width` bytes long.
fn fixed_texts(rows: usize, width: usize, bytes: Vec<u8>) -> Result<StringArray> {
    let lengths = std::iter::repeat_n(width, rows);
    StringArray::try_new(OffsetBuffer::from_lengths(lengths), Buffer::from_vec(bytes), None)
}

fn dictionary(indices: Vec<i32>, strings: TextColumn) -> Result<ArrayRef> {
    dictionary_of(indices, Arc::new(texts(strings)?))
}

fn dictionary_of(indices: Vec<i32>, strings: ArrayRef) -> Result<ArrayRef> {
    let indices = Int32Array::new(indices.into(), None);
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(indices, strings)?))
}

fn list(rows: &OffsetBuffer<i32>, items: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", items.data_type().clone(), false));
    Ok(Arc::new(ListArray::try_new(field, rows.clone(), items, None)?))
}

fn attribute_map(attributes: Attributes, keys: &ArrayRef) -> Result<ArrayRef> {
    let AttributeParts { lists, keys: indices, values } = attributes.into_parts();
    map(lists, entries(dictionary_of(indices, keys.clone())?, Arc::new(texts(values)?))?)
}

fn entries(keys: ArrayRef, values: ArrayRef) -> Result<StructArray> {
    let fields = Fields::from(vec![
        Field::new("key", keys.data_type().clone(), false),
        Field::new("value", values.data_type().clone(), false),
    ]);
    StructArray::try_new(fields, vec![keys, values], None)
}

fn map(lists: Vec<i32>, entries: StructArray) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("entries", DataType::Struct(entries.fields().clone()), false));
    Ok(Arc::new(MapArray::try_new(field, offsets(lists), entries, None, false)?))
}
