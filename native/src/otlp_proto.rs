//! OTLP in protobuf: walks `ExportTraceServiceRequest` (and `TracesData`, which is the same on the wire) into a table.
//!
//! Field numbers: opentelemetry-proto 1.x, `trace/v1/trace.proto`, `common/v1/common.proto`, `resource/v1/resource.proto`.
//! Fields may come in any order, and a field that comes again replaces the earlier one, as protobuf says.

use std::borrow::Cow;

use crate::attributes::{Attributes, Shared};
use crate::error::{DecodeError, ErrorKind, Result};
use crate::ids;
use crate::resource::{Resource, Scope};
use crate::sensitive::Position;
use crate::table::{Span, Table};
use crate::value::ValueWriter;
use crate::wire::{Reader, bytes, fixed64, utf8, varint};

/// Reads a whole body into `table`.
pub fn read(body: &[u8], table: &mut Table) -> Result<()> {
    const RESOURCE_SPANS: u32 = bytes(1);
    let mut request = Reader::new(body);
    while let Some(tag) = request.tag()? {
        match tag {
            RESOURCE_SPANS => resource_spans(request.bytes()?, table)?,
            _ => request.skip(tag)?,
        }
    }
    Ok(())
}

fn resource_spans(message: Reader<'_>, table: &mut Table) -> Result<()> {
    const RESOURCE: u32 = bytes(1);
    const SCOPE_SPANS: u32 = bytes(2);
    // The resource may come after the spans that it belongs to, so it is looked for first. This passes over everything else
    // in one step each.
    let mut attributes = Attributes::new(Position::Resource);
    table.shared.masker.open_service("");
    let mut first = message;
    while let Some(tag) = first.tag()? {
        match tag {
            RESOURCE => resource(first.bytes()?, &mut attributes, &mut table.shared)?,
            _ => first.skip(tag)?,
        }
    }
    attributes.close_list()?;
    let resource = table.repeated.resource(&attributes, &mut table.shared)?;

    let mut second = message;
    while let Some(tag) = second.tag()? {
        match tag {
            SCOPE_SPANS => scope_spans(second.bytes()?, &resource, table)?,
            _ => second.skip(tag)?,
        }
    }
    Ok(())
}

fn resource(mut message: Reader<'_>, attributes: &mut Attributes, shared: &mut Shared) -> Result<()> {
    const ATTRIBUTES: u32 = bytes(1);
    while let Some(tag) = message.tag()? {
        match tag {
            ATTRIBUTES => attribute(message.bytes()?, attributes, shared)?,
            _ => message.skip(tag)?,
        }
    }
    Ok(())
}

fn scope_spans(message: Reader<'_>, resource: &Resource, table: &mut Table) -> Result<()> {
    const SCOPE: u32 = bytes(1);
    const SPANS: u32 = bytes(2);
    let mut scope = Scope::default();
    let mut spans = 0;
    table.shared.masker.open_scope();
    let mut first = message;
    while let Some(tag) = first.tag()? {
        match tag {
            SCOPE => read_scope(first.bytes()?, &mut scope, &mut table.shared)?,
            SPANS => {
                spans += 1;
                first.skip(tag)?;
            }
            _ => first.skip(tag)?,
        }
    }
    table.reserve(spans);

    let mut second = message;
    while let Some(tag) = second.tag()? {
        match tag {
            SPANS => span(second.bytes()?, table)?,
            _ => second.skip(tag)?,
        }
    }
    table.close_scope(resource, &scope, message.offset())
}

fn read_scope(mut message: Reader<'_>, scope: &mut Scope, shared: &mut Shared) -> Result<()> {
    const NAME: u32 = bytes(1);
    const VERSION: u32 = bytes(2);
    while let Some(tag) = message.tag()? {
        match tag {
            NAME => scope.name = shared.keep(string(message.bytes()?)?, Position::Scope).into_owned(),
            VERSION => scope.version = shared.keep(string(message.bytes()?)?, Position::Scope).into_owned(),
            _ => message.skip(tag)?,
        }
    }
    scope.refuse |= shared.masker.close_scope();
    Ok(())
}

fn span(mut message: Reader<'_>, table: &mut Table) -> Result<()> {
    const TRACE_ID: u32 = bytes(1);
    const SPAN_ID: u32 = bytes(2);
    const TRACE_STATE: u32 = bytes(3);
    const PARENT_SPAN_ID: u32 = bytes(4);
    const NAME: u32 = bytes(5);
    const KIND: u32 = varint(6);
    const START_TIME_UNIX_NANO: u32 = fixed64(7);
    const END_TIME_UNIX_NANO: u32 = fixed64(8);
    const ATTRIBUTES: u32 = bytes(9);
    const EVENTS: u32 = bytes(11);
    const LINKS: u32 = bytes(13);
    const STATUS: u32 = bytes(15);
    let at = message.offset();
    table.open_span(at)?;
    let mut span = Span::default();
    while let Some(tag) = message.tag()? {
        match tag {
            TRACE_ID => span.trace_id = ids::from_bytes(message.bytes()?.rest()),
            SPAN_ID => span.span_id = ids::from_bytes(message.bytes()?.rest()),
            TRACE_STATE => span.trace_state = Cow::Borrowed(string(message.bytes()?)?),
            PARENT_SPAN_ID => span.parent_id = ids::from_bytes(message.bytes()?.rest()),
            NAME => span.name = Cow::Borrowed(string(message.bytes()?)?),
            KIND => span.kind = enumeration(message.varint()?),
            START_TIME_UNIX_NANO => span.start_unix_nano = message.fixed64()?,
            END_TIME_UNIX_NANO => span.end_unix_nano = message.fixed64()?,
            ATTRIBUTES => attribute(message.bytes()?, &mut table.attributes, &mut table.shared)?,
            EVENTS => event(message.bytes()?, table)?,
            LINKS => link(message.bytes()?, table)?,
            STATUS => status(message.bytes()?, &mut span)?,
            _ => message.skip(tag)?,
        }
    }
    table.close_span(&span, at)
}

fn status<'a>(mut message: Reader<'a>, span: &mut Span<'a>) -> Result<()> {
    const MESSAGE: u32 = bytes(2);
    const CODE: u32 = varint(3);
    while let Some(tag) = message.tag()? {
        match tag {
            MESSAGE => span.status_message = Cow::Borrowed(string(message.bytes()?)?),
            CODE => span.status = enumeration(message.varint()?),
            _ => message.skip(tag)?,
        }
    }
    Ok(())
}

fn event(mut message: Reader<'_>, table: &mut Table) -> Result<()> {
    const TIME_UNIX_NANO: u32 = fixed64(1);
    const NAME: u32 = bytes(2);
    const ATTRIBUTES: u32 = bytes(3);
    let Table { events, shared, .. } = table;
    if !events.admit(shared) {
        return Ok(());
    }
    let (mut time_unix_nano, mut name) = (0, "");
    while let Some(tag) = message.tag()? {
        match tag {
            TIME_UNIX_NANO => time_unix_nano = message.fixed64()?,
            NAME => name = string(message.bytes()?)?,
            ATTRIBUTES => attribute(message.bytes()?, &mut events.attributes, shared)?,
            _ => message.skip(tag)?,
        }
    }
    events.close(shared, time_unix_nano, name)
}

fn link(mut message: Reader<'_>, table: &mut Table) -> Result<()> {
    const TRACE_ID: u32 = bytes(1);
    const SPAN_ID: u32 = bytes(2);
    const TRACE_STATE: u32 = bytes(3);
    const ATTRIBUTES: u32 = bytes(4);
    let Table { links, shared, .. } = table;
    if !links.admit(shared) {
        return Ok(());
    }
    let (mut trace_id, mut span_id, mut trace_state) = (ids::from_bytes(&[]), ids::from_bytes(&[]), "");
    while let Some(tag) = message.tag()? {
        match tag {
            TRACE_ID => trace_id = ids::from_bytes(message.bytes()?.rest()),
            SPAN_ID => span_id = ids::from_bytes(message.bytes()?.rest()),
            TRACE_STATE => trace_state = string(message.bytes()?)?,
            ATTRIBUTES => attribute(message.bytes()?, &mut links.attributes, shared)?,
            _ => message.skip(tag)?,
        }
    }
    links.close(shared, trace_id, span_id, trace_state)
}

/// One `KeyValue` of a list.
#[inline]
fn attribute(message: Reader<'_>, list: &mut Attributes, shared: &mut Shared) -> Result<()> {
    if !list.admit(shared) {
        return Ok(());
    }
    let (key, value) = key_value(message)?;
    let name = key.rest();
    let key = list.key(shared, name, key.offset())?;
    let depth = shared.limits.depth;
    let mut writer = list.value(shared, key, name);
    if let Some(value) = value {
        any_value(value, &mut writer, depth, false)?;
    }
    let cut = writer.was_cut();
    shared.tally.truncated_values += u64::from(cut);
    list.close_entry(key)
}

/// Key and value of a `KeyValue`.
#[inline]
fn key_value(mut message: Reader<'_>) -> Result<(Reader<'_>, Option<Reader<'_>>)> {
    const KEY: u32 = bytes(1);
    const VALUE: u32 = bytes(2);
    let (mut key, mut value) = (Reader::new(&[]), None);
    while let Some(tag) = message.tag()? {
        match tag {
            KEY => key = message.bytes()?,
            VALUE => value = Some(message.bytes()?),
            _ => message.skip(tag)?,
        }
    }
    Ok((key, value))
}

const STRING_VALUE: u32 = bytes(1);
const BOOL_VALUE: u32 = varint(2);
const INT_VALUE: u32 = varint(3);
const DOUBLE_VALUE: u32 = fixed64(4);
const ARRAY_VALUE: u32 = bytes(5);
const KVLIST_VALUE: u32 = bytes(6);
const BYTES_VALUE: u32 = bytes(7);

#[inline]
fn is_member(tag: u32) -> bool {
    matches!(tag, STRING_VALUE | BOOL_VALUE | INT_VALUE | DOUBLE_VALUE | ARRAY_VALUE | KVLIST_VALUE | BYTES_VALUE)
}

/// The field `values` of `ArrayValue` and `KeyValueList`.
const VALUES: u32 = bytes(1);

/// An `AnyValue` as text, as JSON if it is inside another one. It is a oneof: of several members the last counts.
#[inline]
fn any_value(mut message: Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize, in_json: bool) -> Result<()> {
    let start = writer.mark();
    let mut absent = true;
    while let Some(tag) = message.tag()? {
        if !is_member(tag) {
            message.skip(tag)?;
            continue;
        }
        writer.rewind(start);
        absent = false;
        match tag {
            STRING_VALUE => writer.string(string(message.bytes()?)?, in_json),
            BOOL_VALUE => writer.bool(message.varint()? != 0),
            INT_VALUE => writer.int(message.varint()?.cast_signed(), in_json),
            DOUBLE_VALUE => writer.double(f64::from_bits(message.fixed64()?), in_json),
            ARRAY_VALUE => json_array(message.bytes()?, writer, depth)?,
            KVLIST_VALUE => json_object(message.bytes()?, writer, depth)?,
            _ => writer.bytes(message.bytes()?.rest(), in_json),
        }
    }
    if absent && in_json {
        writer.raw("null");
    }
    Ok(())
}

#[inline(never)]
fn json_array(mut message: Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    let depth = deeper(depth, &message)?;
    let mut before = "[";
    while let Some(tag) = message.tag()? {
        if tag == VALUES {
            writer.raw(before);
            before = ",";
            any_value(message.bytes()?, writer, depth, true)?;
        } else {
            message.skip(tag)?;
        }
    }
    writer.raw(if before == "[" { "[]" } else { "]" });
    Ok(())
}

#[inline(never)]
fn json_object(mut message: Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    let depth = deeper(depth, &message)?;
    let mut before = "{";
    while let Some(tag) = message.tag()? {
        if tag == VALUES {
            let (key, value) = key_value(message.bytes()?)?;
            writer.raw(before);
            before = ",";
            let outer = writer.open_member(string(key)?);
            any_value(value.unwrap_or(Reader::new(&[])), writer, depth, true)?;
            writer.close_member(outer);
        } else {
            message.skip(tag)?;
        }
    }
    writer.raw(if before == "{" { "{}" } else { "}" });
    Ok(())
}

/// The depth that is left inside this message.
fn deeper(depth: usize, message: &Reader<'_>) -> Result<usize> {
    depth.checked_sub(1).ok_or_else(|| {
        DecodeError::new(ErrorKind::TooDeep, message.offset(), "an attribute value nested deeper than allowed")
    })
}

#[inline]
fn string(field: Reader<'_>) -> Result<&str> {
    utf8(field.rest(), field.offset())
}

/// An enum or an int32: protobuf keeps the low 32 bits of the varint.
#[expect(clippy::cast_possible_truncation)]
fn enumeration(value: u64) -> i32 {
    value as i32
}
