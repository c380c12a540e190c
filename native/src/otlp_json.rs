//! OTLP in JSON: walks the text of an `ExportTraceServiceRequest` into a table.
//!
//! Source: the OTLP specification, "JSON Protobuf Encoding", which is protobuf JSON but for hexadecimal ids. Names are
//! lowerCamelCase or as in the protobuf definition, in any order; unknown members are passed over; 64-bit integers are
//! strings or numbers; enums are numbers or names.

use std::borrow::Cow;

use crate::attributes::{Attributes, Key, Shared};
use crate::base64;
use crate::error::{DecodeError, ErrorKind, Result};
use crate::ids;
use crate::json::Reader;
use crate::number;
use crate::resource::{Resource, Scope};
use crate::sensitive::Position;
use crate::table::{Span, Table};
use crate::value::ValueWriter;

/// Reads a whole body into `table`.
pub fn read(body: &[u8], table: &mut Table) -> Result<()> {
    let depth = table.shared.limits.depth;
    let mut reader = Reader::new(body)?;
    reader.object(|reader, name| match name {
        "resourceSpans" | "resource_spans" => messages(reader, |reader| resource_spans(reader, table)),
        _ => reader.skip(depth),
    })?;
    reader.end()
}

/// An array of messages; items that are `null` are left out.
fn messages<'a>(reader: &mut Reader<'a>, mut message: impl FnMut(&mut Reader<'a>) -> Result<()>) -> Result<()> {
    reader.array(|reader| if reader.null()? { Ok(()) } else { message(reader) })
}

/// Nesting of JSON in a message whose attribute values nest `depth` deep: five levels at most for each of theirs (an unknown
/// member included), and some for the message itself.
fn nesting(depth: usize) -> usize {
    16 + 5 * depth
}

fn resource_spans(reader: &mut Reader<'_>, table: &mut Table) -> Result<()> {
    let depth = table.shared.limits.depth;
    let mut found = None;
    // Spans that come before their resource are passed over, and read once it is known.
    let mut waiting = Vec::new();
    reader.object(|reader, name| match name {
        "resource" if found.is_some() => Err(reader.error("a second resource for the same spans")),
        "resource" => {
            let resource = found.insert(read_resource(reader, table)?);
            return_to(reader, &mut waiting, |reader| scopes(reader, resource, table))
        }
        "scopeSpans" | "scope_spans" => {
            if let Some(resource) = &found {
                scopes(reader, resource, table)
            } else {
                waiting.push(reader.offset());
                reader.skip(nesting(depth))
            }
        }
        _ => reader.skip(depth),
    })?;
    if waiting.is_empty() {
        return Ok(());
    }
    let resource = table.repeated.resource(&Attributes::new(Position::Resource), &mut table.shared)?;
    return_to(reader, &mut waiting, |reader| scopes(reader, &resource, table))
}

/// Reads the values at the `waiting` offsets and comes back.
fn return_to<'a>(
    reader: &mut Reader<'a>,
    waiting: &mut Vec<usize>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    let here = reader.offset();
    for offset in waiting.drain(..) {
        reader.seek(offset);
        read(reader)?;
    }
    reader.seek(here);
    Ok(())
}

fn read_resource(reader: &mut Reader<'_>, table: &mut Table) -> Result<Resource> {
    let depth = table.shared.limits.depth;
    let mut attributes = Attributes::new(Position::Resource);
    table.shared.masker.open_service("");
    reader.object(|reader, name| match name {
        "attributes" => messages(reader, |reader| attribute(reader, &mut attributes, &mut table.shared)),
        _ => reader.skip(depth),
    })?;
    attributes.close_list()?;
    table.repeated.resource(&attributes, &mut table.shared)
}

fn scopes(reader: &mut Reader<'_>, resource: &Resource, table: &mut Table) -> Result<()> {
    messages(reader, |reader| scope_spans(reader, resource, table))
}

fn scope_spans(reader: &mut Reader<'_>, resource: &Resource, table: &mut Table) -> Result<()> {
    let depth = table.shared.limits.depth;
    let at = reader.offset();
    let mut scope = None;
    // What is masked in the scope is said of each of its spans, so those that come before it are passed over, and read once it is known.
    let mut waiting = Vec::new();
    table.shared.masker.open_scope();
    reader.object(|reader, name| match name {
        "scope" if scope.is_some() => Err(reader.error("a second scope for the same spans")),
        "scope" => {
            scope = Some(read_scope(reader, &mut table.shared)?);
            return_to(reader, &mut waiting, |reader| messages(reader, |reader| span(reader, table)))
        }
        "spans" if scope.is_some() => messages(reader, |reader| span(reader, table)),
        "spans" => {
            waiting.push(reader.offset());
            reader.skip(nesting(depth))
        }
        _ => reader.skip(depth),
    })?;
    return_to(reader, &mut waiting, |reader| messages(reader, |reader| span(reader, table)))?;
    table.close_scope(resource, &scope.unwrap_or_default(), at)
}

fn read_scope(reader: &mut Reader<'_>, shared: &mut Shared) -> Result<Scope> {
    let depth = shared.limits.depth;
    let mut scope = Scope::default();
    reader.object(|reader, name| {
        match name {
            "name" => scope.name = shared.keep(&reader.string()?, Position::Scope).into_owned(),
            "version" => scope.version = shared.keep(&reader.string()?, Position::Scope).into_owned(),
            _ => reader.skip(nesting(depth))?,
        }
        Ok(())
    })?;
    scope.refuse = shared.masker.close_scope();
    Ok(scope)
}

fn span(reader: &mut Reader<'_>, table: &mut Table) -> Result<()> {
    let depth = table.shared.limits.depth;
    let at = reader.offset();
    table.open_span(at)?;
    let mut span = Span::default();
    reader.object(|reader, name| {
        match name {
            "traceId" | "trace_id" => span.trace_id = ids::from_hex(&reader.string()?),
            "spanId" | "span_id" => span.span_id = ids::from_hex(&reader.string()?),
            "traceState" | "trace_state" => span.trace_state = reader.string()?,
            "parentSpanId" | "parent_span_id" => span.parent_id = ids::from_hex(&reader.string()?),
            "name" => span.name = reader.string()?,
            "kind" => span.kind = enumeration(reader, &KIND_NAMES)?,
            "startTimeUnixNano" | "start_time_unix_nano" => span.start_unix_nano = fixed64(reader)?,
            "endTimeUnixNano" | "end_time_unix_nano" => span.end_unix_nano = fixed64(reader)?,
            "attributes" => {
                messages(reader, |reader| attribute(reader, &mut table.attributes, &mut table.shared))?;
            }
            "events" => messages(reader, |reader| event(reader, table))?,
            "links" => messages(reader, |reader| link(reader, table))?,
            "status" => status(reader, &mut span, depth)?,
            _ => reader.skip(depth)?,
        }
        Ok(())
    })?;
    table.close_span(&span, at)
}

fn status<'a>(reader: &mut Reader<'a>, span: &mut Span<'a>, depth: usize) -> Result<()> {
    reader.object(|reader, name| {
        match name {
            "message" => span.status_message = reader.string()?,
            "code" => span.status = enumeration(reader, &STATUS_NAMES)?,
            _ => reader.skip(depth)?,
        }
        Ok(())
    })
}

fn event(reader: &mut Reader<'_>, table: &mut Table) -> Result<()> {
    let Table { events, shared, .. } = table;
    let depth = shared.limits.depth;
    if !events.admit(shared) {
        return reader.skip(nesting(depth));
    }
    let (mut time_unix_nano, mut event_name) = (0, Cow::Borrowed(""));
    reader.object(|reader, name| {
        match name {
            "timeUnixNano" | "time_unix_nano" => time_unix_nano = fixed64(reader)?,
            "name" => event_name = reader.string()?,
            "attributes" => messages(reader, |reader| attribute(reader, &mut events.attributes, shared))?,
            _ => reader.skip(depth)?,
        }
        Ok(())
    })?;
    events.close(shared, time_unix_nano, &event_name)
}

fn link(reader: &mut Reader<'_>, table: &mut Table) -> Result<()> {
    let Table { links, shared, .. } = table;
    let depth = shared.limits.depth;
    if !links.admit(shared) {
        return reader.skip(nesting(depth));
    }
    let (mut trace_id, mut span_id) = (ids::from_hex(""), ids::from_hex(""));
    let mut trace_state = Cow::Borrowed("");
    reader.object(|reader, name| {
        match name {
            "traceId" | "trace_id" => trace_id = ids::from_hex(&reader.string()?),
            "spanId" | "span_id" => span_id = ids::from_hex(&reader.string()?),
            "traceState" | "trace_state" => trace_state = reader.string()?,
            "attributes" => messages(reader, |reader| attribute(reader, &mut links.attributes, shared))?,
            _ => reader.skip(depth)?,
        }
        Ok(())
    })?;
    links.close(shared, trace_id, span_id, &trace_state)
}

/// One `KeyValue` of a list.
fn attribute(reader: &mut Reader<'_>, list: &mut Attributes, shared: &mut Shared) -> Result<()> {
    let depth = shared.limits.depth;
    if !list.admit(shared) {
        return reader.skip(nesting(depth));
    }
    let mut key: Option<(Cow<'_, str>, Key)> = None;
    // The key says what to look for in the value, so a value that comes before it is passed over and then read.
    let mut value_at = None;
    let mut cut = None;
    reader.object(|reader, name| {
        match name {
            "key" => {
                let name = reader.string()?;
                let found = list.key(shared, name.as_bytes(), reader.offset())?;
                key = Some((name, found));
                cut = None;
            }
            "value" => {
                value_at = Some(reader.offset());
                match &key {
                    Some((name, key)) => cut = Some(read_value(reader, list, shared, (name, *key))?),
                    None => reader.skip(nesting(depth))?,
                }
            }
            _ => reader.skip(depth)?,
        }
        Ok(())
    })?;
    let (name, key) = match key {
        Some(key) => key,
        None => (Cow::Borrowed(""), list.key(shared, b"", reader.offset())?),
    };
    if let Some(value_at) = value_at
        && cut.is_none()
    {
        let here = reader.offset();
        reader.seek(value_at);
        cut = Some(read_value(reader, list, shared, (&name, key))?);
        reader.seek(here);
    }
    shared.tally.truncated_values += u64::from(cut == Some(true));
    list.close_entry(key)
}

/// Reads the value of an attribute, in place of one read before. Returns whether it was cut.
fn read_value(reader: &mut Reader<'_>, list: &mut Attributes, shared: &mut Shared, key: (&str, Key)) -> Result<bool> {
    let depth = shared.limits.depth;
    let mut writer = list.value(shared, key.1, key.0.as_bytes());
    any_value(reader, &mut writer, depth, false)?;
    Ok(writer.was_cut())
}

/// The members of `AnyValue`, of which one at a time is set.
#[derive(Clone, Copy)]
enum Member {
    String,
    Bool,
    Int,
    Double,
    Array,
    KeyValues,
    Bytes,
}

impl Member {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "stringValue" | "string_value" => Self::String,
            "intValue" | "int_value" => Self::Int,
            "boolValue" | "bool_value" => Self::Bool,
            "doubleValue" | "double_value" => Self::Double,
            "arrayValue" | "array_value" => Self::Array,
            "kvlistValue" | "kvlist_value" => Self::KeyValues,
            "bytesValue" | "bytes_value" => Self::Bytes,
            _ => return None,
        })
    }
}

/// An `AnyValue` as text, as JSON if it is inside another one. Of several members the last counts.
fn any_value(reader: &mut Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize, in_json: bool) -> Result<()> {
    let start = writer.mark();
    let mut absent = true;
    reader.object(|reader, name| {
        let Some(member) = Member::named(name) else { return reader.skip(depth) };
        writer.rewind(start);
        absent = false;
        match member {
            Member::String => writer.string(&reader.string()?, in_json),
            Member::Bool => writer.bool(reader.bool()?),
            Member::Int => writer.int(int64(reader)?, in_json),
            Member::Double => writer.double(double(reader)?, in_json),
            Member::Array => json_array(reader, writer, depth)?,
            Member::KeyValues => json_object(reader, writer, depth)?,
            Member::Bytes => writer.bytes(&bytes(reader)?, in_json),
        }
        Ok(())
    })?;
    if absent && in_json {
        writer.raw("null");
    }
    Ok(())
}

fn json_array(reader: &mut Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    let depth = deeper(depth, reader)?;
    let mut before = "[";
    reader.object(|reader, name| match name {
        "values" => reader.array(|reader| {
            writer.raw(before);
            before = ",";
            inner_value(reader, writer, depth)
        }),
        _ => reader.skip(depth),
    })?;
    writer.raw(if before == "[" { "[]" } else { "]" });
    Ok(())
}

fn json_object(reader: &mut Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    let depth = deeper(depth, reader)?;
    let mut before = "{";
    reader.object(|reader, name| match name {
        "values" => messages(reader, |reader| {
            writer.raw(before);
            before = ",";
            json_member(reader, writer, depth)
        }),
        _ => reader.skip(depth),
    })?;
    writer.raw(if before == "{" { "{}" } else { "}" });
    Ok(())
}

/// One `KeyValue` inside a value. Its key is written first, wherever it comes, so the value is passed over and then read.
fn json_member(reader: &mut Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    let (mut key, mut value_at) = (Cow::Borrowed(""), None);
    reader.object(|reader, name| {
        match name {
            "key" => key = reader.string()?,
            "value" => {
                value_at = Some(reader.offset());
                reader.skip(nesting(depth))?;
            }
            _ => reader.skip(depth)?,
        }
        Ok(())
    })?;
    let outer = writer.open_member(&key);
    if let Some(value_at) = value_at {
        let here = reader.offset();
        reader.seek(value_at);
        inner_value(reader, writer, depth)?;
        reader.seek(here);
    } else {
        writer.raw("null");
    }
    writer.close_member(outer);
    Ok(())
}

fn inner_value(reader: &mut Reader<'_>, writer: &mut ValueWriter<'_>, depth: usize) -> Result<()> {
    if reader.null()? {
        writer.raw("null");
        return Ok(());
    }
    any_value(reader, writer, depth, true)
}

/// The depth that is left inside this value.
fn deeper(depth: usize, reader: &Reader<'_>) -> Result<usize> {
    depth.checked_sub(1).ok_or_else(|| {
        DecodeError::new(ErrorKind::TooDeep, reader.offset(), "an attribute value nested deeper than allowed")
    })
}

/// An integer of 64 bits, as a number or a string.
fn integer<T: TryFrom<i128>>(reader: &mut Reader<'_>, what: &'static str) -> Result<T> {
    let quoted = reader.peek() == b'"';
    let at = reader.offset();
    let text = if quoted { reader.string()? } else { Cow::Borrowed(reader.number()?) };
    number::integer(&text)
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| DecodeError::new(ErrorKind::BadJson, at, what))
}

fn int64(reader: &mut Reader<'_>) -> Result<i64> {
    integer(reader, "expected a signed 64-bit integer")
}

fn fixed64(reader: &mut Reader<'_>) -> Result<u64> {
    integer(reader, "expected an unsigned 64-bit integer")
}

fn double(reader: &mut Reader<'_>) -> Result<f64> {
    let quoted = reader.peek() == b'"';
    let at = reader.offset();
    let text = if quoted { reader.string()? } else { Cow::Borrowed(reader.number()?) };
    match &*text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(DecodeError::new(ErrorKind::BadJson, at, "expected a number that a double can hold")),
    }
}

fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>> {
    reader.peek();
    let at = reader.offset();
    base64::decode(&reader.string()?).ok_or_else(|| DecodeError::new(ErrorKind::BadJson, at, "expected base64"))
}

const KIND_NAMES: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUS_NAMES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// The number of an enum value, given as such or by name. Numbers are not checked here, names are.
fn enumeration(reader: &mut Reader<'_>, names: &[&str]) -> Result<i32> {
    if reader.peek() != b'"' {
        return integer(reader, "expected the number of an enum value");
    }
    let at = reader.offset();
    let given = reader.string()?;
    (0..)
        .zip(names)
        .find_map(|(number, &name)| (name == given).then_some(number))
        .ok_or_else(|| DecodeError::new(ErrorKind::BadEnum, at, "a name that is none of this enum"))
}
