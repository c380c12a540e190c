//! What was masked in a span is said in one attribute of it, which no sender can write.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use verdigris_native::{Decoded, Encoding, Format, Limits, Masking, decode_masked};

#[allow(dead_code, reason = "shared with the fuzzer")]
#[path = "../examples/fuzz/sample.rs"]
mod sample;

use sample::bytes;

fn pair(key: &str, value: &str) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat()
}

fn span(name: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes.iter().flat_map(|(key, value)| bytes(9, &pair(key, value))).collect();
    [bytes(1, &[1; 16]), bytes(2, &[2; 8]), bytes(5, name.as_bytes()), attributes].concat()
}

/// Spans of one resource with one attribute and one scope.
fn body(resource: &str, scope: &str, spans: &[Vec<u8>]) -> Vec<u8> {
    let spans: Vec<u8> = spans.iter().flat_map(|span| bytes(2, span)).collect();
    let scope = [spans, bytes(1, &bytes(1, scope.as_bytes()))].concat();
    bytes(1, &[bytes(2, &scope), bytes(1, &bytes(1, &pair("a", resource)))].concat())
}

fn decoded(body: &[u8], format: Format, definition: &str) -> Decoded {
    let masking = Masking::read(definition).expect("a good definition");
    decode_masked(body, format, Encoding::Identity, &Limits::default(), masking).expect("a good body")
}

/// What the attribute says on each span.
fn words(decoded: &Decoded) -> Vec<Option<String>> {
    let attributes = decoded.batch.column_by_name("SpanAttributes").expect("a column").as_map();
    let keys = attributes.keys().as_dictionary::<Int32Type>();
    let names = keys.values().as_string::<i32>();
    let of_span = |row: usize| {
        let range = attributes.value_offsets()[row]..attributes.value_offsets()[row + 1];
        let found: Vec<String> = range
            .map(|entry| usize::try_from(entry).expect("an offset"))
            .filter(|&entry| names.value(keys.key(entry).expect("a key")) == "verdigris.masked")
            .map(|entry| attributes.values().as_string::<i32>().value(entry).to_owned())
            .collect();
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next()
    };
    (0..decoded.batch.num_rows()).map(of_span).collect()
}

#[test]
fn each_span_says_what_was_masked_in_it() {
    let spans = [
        span("pay 4111111111111111", &[("to", "jane@example.com"), ("url", "https://x/y?a=jane@example.com")]),
        span("clean", &[("a", "b")]),
        span("list", &[("db.statement", "SELECT 1 FROM t WHERE a = 'x'")]),
    ];
    let found = words(&decoded(&body("b", "scope", &spans), Format::Protobuf, "{}"));
    assert_eq!(found, [Some("card@span_name email@span_attribute".to_owned()), None, None]);
}

#[test]
fn what_is_masked_in_the_resource_or_the_scope_is_said_of_its_spans_alone() {
    let spans = [span("a", &[]), span("b", &[("to", "jane@example.com")])];
    let bodies = [body("AKIAIOSFODNN7EXAMPLE", "MRN00123456", &spans), body("b", "c", &spans)].concat();
    let outer = "mrn@scope service_key@resource";
    let expected = [
        Some(outer.to_owned()),
        Some(format!("email@span_attribute {outer}")),
        None,
        Some("email@span_attribute".to_owned()),
    ];
    assert_eq!(words(&decoded(&bodies, Format::Protobuf, "{}")), expected);
}

#[test]
fn a_scope_after_its_spans_is_said_of_them_in_json() {
    let span =
        |id: u8| format!("{{\"traceId\":\"{}\",\"spanId\":\"{}\"}}", format!("{id:02}").repeat(16), "02".repeat(8));
    let scope = "\"scope\":{\"name\":\"MRN00123456\"}";
    for members in [
        format!("{scope},\"spans\":[{},{}]", span(1), span(2)),
        format!("\"spans\":[{},{}],{scope}", span(1), span(2)),
        format!("\"spans\":[{}],{scope},\"spans\":[{}]", span(1), span(2)),
    ] {
        let json = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{{members}}},{{\"spans\":[{}]}}]}}]}}", span(3));
        let said = Some("mrn@scope".to_owned());
        assert_eq!(words(&decoded(json.as_bytes(), Format::Json, "{}")), [said.clone(), said, None], "{members}");
    }
}

#[test]
fn a_sender_cannot_write_it() {
    let forged = ("verdigris.masked", "card@span_name");
    let spans = [
        span("a", &[forged, ("k", "v"), forged]),
        span("b", &[forged, ("to", "jane@example.com")]),
        span("c", &[("to", "jane@example.com"), forged]),
        span("d", &[forged]),
    ];
    let said = Some("email@span_attribute".to_owned());
    for definition in ["{}", "{\"detectors\": [{\"name\": \"zero\", \"pattern\": \"0{9}\"}]}"] {
        let found = decoded(&body("b", "c", &spans), Format::Protobuf, definition);
        assert_eq!(words(&found), [None, said.clone(), said.clone(), None]);
    }
    let off = decode_masked(
        &body("b", "c", &spans),
        Format::Protobuf,
        Encoding::Identity,
        &Limits::default(),
        Masking::off(),
    );
    assert_eq!(words(&off.expect("a good body")), [None, None, None, None]);
}

#[test]
fn what_an_entry_allows_is_not_said_and_a_refused_span_leaves_nothing() {
    let allow = "{\"allow\": [{\"detector\": \"email\", \"key\": \"to\", \"service\": \"*\", \"reason\": \"public\"}]}";
    let spans = [span("a", &[("to", "jane@example.com")])];
    assert_eq!(words(&decoded(&body("b", "c", &spans), Format::Protobuf, allow)), [None]);
    // Without ids: refused after its texts were read.
    let refused = [bytes(5, b"x"), bytes(9, &pair("to", "jane@example.com"))].concat();
    let bodies = [body("b", "c", &[refused]), body("b", "c", &[span("a", &[])])].concat();
    assert_eq!(words(&decoded(&bodies, Format::Protobuf, "{}")), [None]);
}

#[test]
fn words_that_do_not_fit_are_pooled() {
    let detectors: Vec<String> = (10..20)
        .map(|n| format!("{{\"name\": \"own_detector_with_a_long_name_{n}\", \"pattern\": \"value{n}\"}}"))
        .collect();
    let definition = format!("{{\"detectors\": [{}]}}", detectors.join(","));
    let text: Vec<String> = (10..20).map(|n| format!("value{n}")).collect();
    let found =
        words(&decoded(&body("b", "c", &[span("a", &[("k", &text.join(" "))])]), Format::Protobuf, &definition));
    let said = found[0].as_deref().expect("words");
    assert!(
        said.len() <= 190
            && said.starts_with("own_detector_with_a_long_name_10@span_attribute ")
            && said.ends_with(" {other}"),
        "{said}"
    );
}
