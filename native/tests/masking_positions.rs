//! Every detector in every position of both encodings: what was planted is in no buffer of the batch and in no finding.

use arrow_array::{Array, StructArray};
use arrow_data::ArrayData;
use verdigris_native::sensitive::{Detector, Position};
use verdigris_native::{Decoded, Encoding, Format, Limits, Masking, decode, decode_masked};

#[allow(dead_code, reason = "shared with the fuzzer")]
#[path = "../examples/fuzz/sample.rs"]
mod sample;

use sample::{bytes, fixed64, varint};

/// A detector, a text that it finds something in, and the part that must not come out.
const PLANTED: [(Detector, &str, &str); 21] = [
    (Detector::Card, "paid 4111111111111111", "11111111111"),
    (Detector::CardCode, "cvv=7381", "7381"),
    (Detector::Pin, "pin: 90417", "90417"),
    (Detector::Ssn, "ssn 123-45-6789", "45-6789"),
    (Detector::Iban, "to GB82WEST12345698765432", "WEST12345698765432"),
    (Detector::Nhs, "943 476 5919", "476 5919"),
    (Detector::Npi, "npi=1234567893", "1234567893"),
    (Detector::Mrn, "MRN00123456", "00123456"),
    (Detector::Email, "jane.doe@example.com", "jane.doe"),
    (Detector::Phone, "phone=+12125550123", "12125550123"),
    (Detector::BirthDate, "dob=1980-02-29", "1980-02-29"),
    (Detector::Jwt, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJzdWIi"),
    (Detector::Bearer, "Bearer abcdEF123456", "abcdEF123456"),
    (Detector::Basic, "Basic YWxpY2U6c2VzYW1l", "YWxpY2U6c2VzYW1l"),
    (Detector::PrivateKey, "-----BEGIN EC PRIVATE KEY-----MIIEow", "MIIEow"),
    (Detector::Cookie, "JSESSIONID=8F14E45FCEEA", "8F14E45FCEEA"),
    (Detector::ServiceKey, "AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    (Detector::UrlPassword, "amqp://app:s3cret@broker/x", "s3cret"),
    (Detector::Secret, "password=hunter2", "hunter2"),
    (Detector::SqlLiteral, "SELECT a FROM t WHERE b = 'Jane Roe'", "Jane Roe"),
    (Detector::UrlQuery, "/find?q=jane.roe", "jane.roe"),
];

/// Where a text is planted, and the position that its finding names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spot {
    Resource,
    ResourceKey,
    ScopeName,
    ScopeVersion,
    SpanName,
    Attribute,
    AttributeKey,
    Array,
    KeyValues,
    InnerKey,
    DeepInside,
    Bytes,
    StatusMessage,
    EventName,
    EventAttribute,
    EventKey,
    LinkAttribute,
    LinkKey,
    TraceState,
    LinkTraceState,
}

const SPOTS: [(Spot, Position); 20] = [
    (Spot::Resource, Position::Resource),
    (Spot::ResourceKey, Position::ResourceKey),
    (Spot::ScopeName, Position::Scope),
    (Spot::ScopeVersion, Position::Scope),
    (Spot::SpanName, Position::SpanName),
    (Spot::Attribute, Position::SpanAttribute),
    (Spot::AttributeKey, Position::SpanAttributeKey),
    (Spot::Array, Position::SpanAttribute),
    (Spot::KeyValues, Position::SpanAttribute),
    (Spot::InnerKey, Position::SpanAttribute),
    (Spot::DeepInside, Position::SpanAttribute),
    (Spot::Bytes, Position::SpanAttribute),
    (Spot::StatusMessage, Position::StatusMessage),
    (Spot::EventName, Position::EventName),
    (Spot::EventAttribute, Position::EventAttribute),
    (Spot::EventKey, Position::EventAttributeKey),
    (Spot::LinkAttribute, Position::LinkAttribute),
    (Spot::LinkKey, Position::LinkAttributeKey),
    (Spot::TraceState, Position::TraceState),
    (Spot::LinkTraceState, Position::TraceState),
];

/// The texts of a body: `planted` where `spot` is, something clean elsewhere.
struct Texts<'a> {
    spot: Spot,
    planted: &'a str,
}

impl Texts<'_> {
    fn at(&self, spot: Spot, clean: &'static str) -> &str {
        if self.spot == spot { self.planted } else { clean }
    }

    fn protobuf(&self) -> Vec<u8> {
        let text = |text: &str| bytes(1, text.as_bytes());
        let pair = |key: &str, value: &[u8]| [bytes(1, key.as_bytes()), bytes(2, value)].concat();
        let array = |value: &[u8]| bytes(5, &bytes(1, value));
        let pairs = |key: &str, value: &[u8]| bytes(6, &bytes(1, &pair(key, value)));
        let attributes = [
            pair(self.at(Spot::AttributeKey, "k"), &text("v")),
            pair("a", &text(self.at(Spot::Attribute, "v"))),
            pair("b", &array(&text(self.at(Spot::Array, "v")))),
            pair("c", &pairs(self.at(Spot::InnerKey, "k"), &text(self.at(Spot::KeyValues, "v")))),
            pair("d", &array(&pairs("e", &array(&text(self.at(Spot::DeepInside, "v")))))),
            pair("f", &bytes(7, self.at(Spot::Bytes, "v").as_bytes())),
        ];
        let event = [
            fixed64(1, 7),
            bytes(2, self.at(Spot::EventName, "event").as_bytes()),
            bytes(3, &pair(self.at(Spot::EventKey, "k"), &text(self.at(Spot::EventAttribute, "v")))),
        ];
        let link = [
            bytes(1, &[9; 16]),
            bytes(2, &[8; 8]),
            bytes(3, self.at(Spot::LinkTraceState, "a=b").as_bytes()),
            bytes(4, &pair(self.at(Spot::LinkKey, "k"), &text(self.at(Spot::LinkAttribute, "v")))),
        ];
        let span = [
            bytes(1, &[1; 16]),
            bytes(2, &[2; 8]),
            bytes(3, self.at(Spot::TraceState, "a=b").as_bytes()),
            attributes.iter().flat_map(|attribute| bytes(9, attribute)).collect(),
            bytes(11, &event.concat()),
            bytes(13, &link.concat()),
            bytes(15, &[bytes(2, self.at(Spot::StatusMessage, "ok").as_bytes()), varint(3, 2)].concat()),
            // Last, because then all that was found before waits for the operation.
            bytes(5, self.at(Spot::SpanName, "operation").as_bytes()),
        ];
        let scope = [
            bytes(1, self.at(Spot::ScopeName, "scope").as_bytes()),
            bytes(2, self.at(Spot::ScopeVersion, "1.0").as_bytes()),
        ];
        let resource = [
            bytes(1, &pair("service.name", &text("cart"))),
            bytes(1, &pair(self.at(Spot::ResourceKey, "k"), &text(self.at(Spot::Resource, "v")))),
        ];
        let scope_spans = [bytes(1, &scope.concat()), bytes(2, &span.concat())];
        bytes(1, &[bytes(1, &resource.concat()), bytes(2, &scope_spans.concat())].concat())
    }

    fn json(&self) -> Vec<u8> {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let at = |spot, clean| quoted(self.at(spot, clean));
        let text = |text: String| format!("{{\"stringValue\":{text}}}");
        // Value before key as often as after it.
        let pair = |key: String, value: String| format!("{{\"key\":{key},\"value\":{value}}}");
        let riap = |key: String, value: String| format!("{{\"value\":{value},\"key\":{key}}}");
        let array = |value: String| format!("{{\"arrayValue\":{{\"values\":[{value}]}}}}");
        let pairs = |pair: String| format!("{{\"kvlistValue\":{{\"values\":[{pair}]}}}}");
        let mut encoded = String::new();
        for group in self.at(Spot::Bytes, "v").as_bytes().chunks(3) {
            encoded.extend(verdigris_native::base64::quad(group).map(char::from));
        }
        let attributes = [
            pair(at(Spot::AttributeKey, "k"), text(quoted("v"))),
            riap(quoted("a"), text(at(Spot::Attribute, "v"))),
            pair(quoted("b"), array(text(at(Spot::Array, "v")))),
            pair(quoted("c"), pairs(riap(at(Spot::InnerKey, "k"), text(at(Spot::KeyValues, "v"))))),
            riap(quoted("d"), array(pairs(pair(quoted("e"), array(text(at(Spot::DeepInside, "v"))))))),
            pair(quoted("f"), format!("{{\"bytesValue\":\"{encoded}\"}}")),
        ]
        .join(",");
        let event = format!(
            "{{\"timeUnixNano\":7,\"name\":{},\"attributes\":[{}]}}",
            at(Spot::EventName, "event"),
            pair(at(Spot::EventKey, "k"), text(at(Spot::EventAttribute, "v")))
        );
        let link = format!(
            "{{\"traceId\":\"{}\",\"spanId\":\"{}\",\"traceState\":{},\"attributes\":[{}]}}",
            "09".repeat(16),
            "08".repeat(8),
            at(Spot::LinkTraceState, "a=b"),
            pair(at(Spot::LinkKey, "k"), text(at(Spot::LinkAttribute, "v")))
        );
        let span = format!(
            "{{\"traceId\":\"{}\",\"spanId\":\"{}\",\"traceState\":{},\"attributes\":[{attributes}],\"events\":[{event}],\"links\":[{link}],\"status\":{{\"message\":{},\"code\":2}},\"name\":{}}}",
            "01".repeat(16),
            "02".repeat(8),
            at(Spot::TraceState, "a=b"),
            at(Spot::StatusMessage, "ok"),
            at(Spot::SpanName, "operation")
        );
        let resource = [
            pair(quoted("service.name"), text(quoted("cart"))),
            pair(at(Spot::ResourceKey, "k"), text(at(Spot::Resource, "v"))),
        ]
        .join(",");
        // The scope comes after its spans here.
        format!(
            "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{resource}]}},\"scopeSpans\":[{{\"spans\":[{span}],\"scope\":{{\"name\":{},\"version\":{}}}}}]}}]}}",
            at(Spot::ScopeName, "scope"),
            at(Spot::ScopeVersion, "1.0")
        )
        .into_bytes()
    }
}

/// Whether any buffer of the array or of those inside it holds `needle`.
fn holds(data: &ArrayData, needle: &[u8]) -> bool {
    data.buffers().iter().any(|buffer| buffer.as_slice().windows(needle.len()).any(|window| window == needle))
        || data.child_data().iter().any(|child| holds(child, needle))
}

fn comes_out(decoded: &Decoded, secret: &str) -> bool {
    let data = StructArray::from(decoded.batch.clone()).to_data();
    let mut encoded = String::new();
    for group in secret.as_bytes().chunks(3) {
        encoded.extend(verdigris_native::base64::quad(group).map(char::from));
    }
    // The last digits of base64 depend on what follows.
    let encoded = &encoded[..encoded.len() - 4];
    holds(&data, secret.as_bytes())
        || (encoded.len() >= 8 && holds(&data, encoded.as_bytes()))
        || decoded.findings.list().iter().any(|finding| {
            [&finding.sample, &finding.service, &finding.operation].iter().any(|text| text.contains(secret))
        })
}

#[test]
fn nothing_planted_comes_out() {
    for (detector, planted, secret) in PLANTED {
        for (spot, position) in SPOTS {
            let texts = Texts { spot, planted };
            for (body, format) in [(texts.protobuf(), Format::Protobuf), (texts.json(), Format::Json)] {
                let decoded = decode(&body, format, Encoding::Identity, &Limits::default()).expect("a good body");
                assert_eq!(decoded.batch.num_rows(), 1);
                assert!(!comes_out(&decoded, secret), "{secret} of {detector:?} comes out of {spot:?} in {format:?}");
                let found = decoded.findings.list().iter().find(|finding| finding.detector == detector);
                let found = found.unwrap_or_else(|| panic!("no finding of {detector:?} in {spot:?} in {format:?}"));
                assert_eq!((found.position, &*found.service), (position, "cart"), "{detector:?} {spot:?}");
                // A key can say something about its value, so that this one goes too.
                assert!(found.count == 1 || spot == Spot::InnerKey, "{detector:?} {spot:?} counts {}", found.count);
                let operation = match position {
                    Position::Resource | Position::ResourceKey | Position::Scope => "",
                    Position::SpanName => &found.operation,
                    _ => "operation",
                };
                assert_eq!(found.operation, operation, "{detector:?} {spot:?}");
                // The test can fail: without masking it comes out.
                let raw = decode_masked(&body, format, Encoding::Identity, &Limits::default(), Masking::off())
                    .expect("a good body");
                assert!(comes_out(&raw, secret) || spot == Spot::Bytes, "{spot:?} is not where it seems");
                assert!(raw.findings.list().is_empty());
            }
        }
    }
}

#[test]
fn numbers_and_inner_keys_are_looked_at() {
    let pair = |key: &str, value: &[u8]| [bytes(1, key.as_bytes()), bytes(2, value)].concat();
    for (key, value, secret) in [
        ("n", varint(3, 4_111_111_111_111_111), "11111111111"),
        ("card.cvv", varint(3, 7381), "7381"),
        ("patient.ssn", varint(3, 123_456_789), "456789"),
        ("n", fixed64(4, 4_111_111_111_111_111_f64.to_bits()), "11111111111"),
        ("card", bytes(6, &bytes(1, &pair("cvv", &varint(3, 7381)))), "7381"),
        ("http.request.header.authorization", bytes(5, &bytes(1, &bytes(1, b"opaque-7381"))), "opaque-7381"),
        ("raw", bytes(7, b"\xff\x00 4111111111111111 \xfe"), "11111111111"),
        ("card.pan", varint(3, 411_111_111_111), "11111111"),
        ("list", bytes(5, &bytes(1, &varint(3, 4_111_111_111_111_111))), "11111111111"),
    ] {
        let span = [bytes(1, &[1; 16]), bytes(2, &[2; 8]), bytes(9, &pair(key, &value))].concat();
        let body = bytes(1, &bytes(2, &bytes(2, &span)));
        let decoded = decode(&body, Format::Protobuf, Encoding::Identity, &Limits::default()).expect("a good body");
        assert!(!comes_out(&decoded, secret), "{key}: {secret}");
        assert_eq!(decoded.findings.list().len(), 1, "{key}");
    }
}

#[test]
fn the_last_key_decides_in_json() {
    let json = |members: &str| {
        format!(
            "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{}\",\"spanId\":\"{}\",\"attributes\":[{{{members}}}]}}]}}]}}]}}",
            "01".repeat(16),
            "02".repeat(8)
        )
    };
    let value = "\"value\":{\"stringValue\":\"hunter2\"}";
    for members in [
        format!("\"key\":\"a\",{value},\"key\":\"password\""),
        format!("{value},\"key\":\"password\""),
        format!("\"value\":{{\"stringValue\":\"x\"}},\"key\":\"password\",{value}"),
    ] {
        let decoded = decode(json(&members).as_bytes(), Format::Json, Encoding::Identity, &Limits::default())
            .expect("a good body");
        assert!(!comes_out(&decoded, "hunter2"), "{members}");
    }
}

#[test]
fn ids_and_identity_stay() {
    let pair = |key: &str, value: &str| [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat();
    let identity = [
        ("service.name", "token-service"),
        ("service.version", "2.0.0+build.20240102"),
        ("deployment.environment.name", "green"),
        ("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"),
        ("k8s.pod.name", "checkout-6d4cf56db6-7qf5p"),
    ];
    let resource: Vec<u8> = identity.iter().flat_map(|(key, value)| bytes(1, &pair(key, value))).collect();
    // A trace id whose hexadecimal digits are a card number.
    let trace_id = [0x41, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x41, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11];
    let span = [bytes(1, &trace_id), bytes(2, &trace_id[..8])].concat();
    let body = bytes(1, &[bytes(1, &resource), bytes(2, &bytes(2, &span))].concat());
    let masked = decode(&body, Format::Protobuf, Encoding::Identity, &Limits::default()).expect("a good body");
    let raw = decode_masked(&body, Format::Protobuf, Encoding::Identity, &Limits::default(), Masking::off())
        .expect("a good body");
    assert_eq!(masked.batch, raw.batch);
    assert!(masked.findings.list().is_empty());
}

/// A body of one span of `service` with one attribute.
fn one(service: &str, key: &str, value: &str) -> Vec<u8> {
    let pair = |key: &str, value: &str| [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat();
    let span = [bytes(1, &[1; 16]), bytes(2, &[2; 8]), bytes(9, &pair(key, value))].concat();
    bytes(1, &[bytes(1, &bytes(1, &pair("service.name", service))), bytes(2, &bytes(2, &span))].concat())
}

fn with(definition: &str, body: &[u8]) -> Decoded {
    let masking = Masking::read(definition).expect("a good definition");
    decode_masked(body, Format::Protobuf, Encoding::Identity, &Limits::default(), masking).expect("a good body")
}

fn shows(decoded: &Decoded, text: &str) -> bool {
    holds(&StructArray::from(decoded.batch.clone()).to_data(), text.as_bytes())
}

#[test]
fn each_treatment_does_what_it_says() {
    let body = one("crm", "note", "mail jane@example.com now");
    let key = "\"hash_key\": \"MDEyMzQ1Njc4OWFiY2RlZg==\"";
    assert!(shows(&with("{}", &body), "mail [email] now"));
    assert!(shows(&with("{\"treatments\": {\"email\": \"drop\"}}", &body), "[email dropped]"));
    let hashed = with(&format!("{{\"treatments\": {{\"email\": \"hash\"}}, {key}}}"), &body);
    assert!(shows(&hashed, "mail [email~") && !shows(&hashed, "jane"));
    let sample = &hashed.findings.list()[0].sample;
    let again =
        with(&format!("{{\"treatments\": {{\"email\": \"hash\"}}, {key}}}"), &one("other", "to", "jane@example.com"));
    assert!(shows(&again, sample), "equal values have equal hashes");
    let refused = with("{\"treatments\": {\"email\": \"refuse\"}}", &body);
    assert_eq!((refused.batch.num_rows(), refused.tally.refused_spans()), (0, 1));
    assert_eq!(refused.findings.list().len(), 1);
    assert!(!shows(&refused, "jane"));
}

#[test]
fn a_resource_or_scope_that_is_refused_takes_its_spans_with_it() {
    for spot in [Spot::Resource, Spot::ScopeName] {
        let texts = Texts { spot, planted: "jane@example.com" };
        for (body, format) in [(texts.protobuf(), Format::Protobuf), (texts.json(), Format::Json)] {
            let clean = one("after", "a", "b");
            let body = if format == Format::Protobuf { [body, clean].concat() } else { body };
            let masking = Masking::read("{\"treatments\": {\"email\": \"refuse\"}}").expect("a good definition");
            let decoded =
                decode_masked(&body, format, Encoding::Identity, &Limits::default(), masking).expect("a good body");
            StructArray::from(decoded.batch.clone()).to_data().validate_full().expect("a valid batch");
            assert_eq!(decoded.batch.num_rows(), usize::from(format == Format::Protobuf), "{spot:?}");
            assert_eq!(decoded.tally.refused_spans(), 1);
            assert!(!comes_out(&decoded, "jane@"));
        }
    }
}

#[test]
fn an_allow_entry_holds_for_its_key_and_service_only() {
    let definition = "{\"allow\": [{\"detector\": \"email\", \"key\": \"support.*\", \"service\": \"crm\", \"reason\": \"public\"}]}";
    let allowed = with(definition, &one("crm", "support.mailbox", "help@example.com"));
    assert!(shows(&allowed, "help@example.com"));
    assert_eq!(
        allowed.findings.list().iter().map(|finding| (finding.allowed, &*finding.sample)).collect::<Vec<_>>(),
        [(true, "")]
    );
    assert!(!shows(&with(definition, &one("shop", "support.mailbox", "help@example.com")), "help@"));
    assert!(!shows(&with(definition, &one("crm", "user.mailbox", "help@example.com")), "help@"));
    // What one service may show another may not, in the same body and the same dictionary.
    let both = [one("crm", "support.mailbox", "help@example.com"), one("shop", "to", "help@example.com")].concat();
    let decoded = with(definition, &both);
    assert_eq!(decoded.findings.list().iter().map(|finding| finding.allowed).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn detectors_of_the_operator_are_run() {
    let definition = "{\"detectors\": [{\"name\": \"case_number\", \"pattern\": \"CASE-[0-9]{6}\", \"keys\": [\"case.*\"], \"checksum\": \"luhn\"}]}";
    assert!(shows(&with(definition, &one("a", "case.id", "see CASE-000018 x")), "see [case_number] x"));
    assert!(shows(&with(definition, &one("a", "case.id", "see CASE-000019 x")), "CASE-000019"));
    assert!(shows(&with(definition, &one("a", "other", "see CASE-000018 x")), "CASE-000018"));
    let many =
        with("{\"detectors\": [{\"name\": \"digit\", \"pattern\": \"[0-9]\"}]}", &one("a", "b", &"1 ".repeat(100)));
    assert!(shows(&many, "[digit]") && !shows(&many, "1 1"));
    assert!(shows(&with(definition, &one("a", "case.id", "see CASE%2D000018 x")), "see [case_number] x"));
}

#[test]
fn a_detector_of_the_operator_changes_who_a_span_is_of_only_where_it_names_the_key() {
    let detector =
        |keys: &str| format!("{{\"detectors\": [{{\"name\": \"shop\", \"pattern\": \"shop-[0-9]+\"{keys}}}]}}");
    let body = one("shop-1", "other", "shop-2");
    for (keys, service_stays, other_stays) in
        [("", true, false), (", \"keys\": [\"*\"]", true, false), (", \"keys\": [\"service.name\"]", false, true)]
    {
        let decoded = with(&detector(keys), &body);
        assert_eq!((shows(&decoded, "shop-1"), shows(&decoded, "shop-2")), (service_stays, other_stays), "{keys}");
    }
}

#[test]
fn a_bad_definition_is_refused_with_the_reason() {
    for (definition, reason) in [
        ("{", "no JSON"),
        ("{\"what\": 1}", "no member"),
        ("{\"treatments\": {\"cards\": \"mask\"}}", "no detector \"cards\""),
        ("{\"treatments\": {\"card\": \"show\"}}", "none of keep"),
        ("{\"treatments\": {\"card\": \"keep\"}}", "allow entry"),
        ("{\"treatments\": {\"sql_literal\": \"drop\"}}", "only be masked"),
        ("{\"treatments\": {\"failed\": \"mask\"}}", "no detector"),
        ("{\"treatments\": {\"card\": \"hash\"}}", "no hash_key"),
        ("{\"hash_key\": \"c2hvcnQ=\"}", "needs at least 16"),
        ("{\"hash_key\": \"?\"}", "not base64"),
        ("{\"allow\": [{\"detector\": \"email\", \"key\": \"a\", \"service\": \"b\"}]}", "\"reason\""),
        (
            "{\"allow\": [{\"detector\": \"email\", \"key\": \"*\", \"service\": \"*\", \"reason\": \"x\"}]}",
            "every key of every service",
        ),
        (
            "{\"allow\": [{\"detector\": \"e\", \"key\": \"a\", \"service\": \"*\", \"reason\": \"x\"}]}",
            "no detector \"e\"",
        ),
        ("{\"detectors\": [{\"name\": \"A b\", \"pattern\": \"x\"}]}", "no name"),
        ("{\"detectors\": [{\"name\": \"email\", \"pattern\": \"x\"}]}", "is taken"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"(\"}]}", "cannot be used"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"x*\"}]}", "empty text"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"\\\\b\"}]}", "empty text"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"[a-z]\"}]}", "the mark"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"(x{1000}){1000}\"}]}", "cannot be used"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"x(?=y)\"}]}", "cannot be used"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"x\", \"checksum\": \"crc\"}]}", "none of none, luhn"),
        ("{\"detectors\": [{\"name\": \"a\", \"pattern\": \"x\", \"treatment\": \"keep\"}]}", "none of mask"),
        ("{\"detectors\": [{\"name\": \"a\"}]}", "\"pattern\""),
    ] {
        let refused = Masking::read(definition).expect_err(definition).to_string();
        assert!(refused.contains(reason), "{definition}: {refused}");
        assert!(refused.contains("Safe:"), "{refused}");
    }
}
