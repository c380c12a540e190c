//! Bodies that use every part of OTLP traces, small enough that most mutations hit something.

/// A length-delimited protobuf field.
pub fn bytes(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = varint_raw(u64::from(number << 3 | 2));
    field.extend(varint_raw(content.len() as u64));
    field.extend(content);
    field
}

/// A varint protobuf field.
pub fn varint(number: u32, value: u64) -> Vec<u8> {
    [varint_raw(u64::from(number << 3)), varint_raw(value)].concat()
}

/// An eight-byte protobuf field.
pub fn fixed64(number: u32, value: u64) -> Vec<u8> {
    [varint_raw(u64::from(number << 3 | 1)), value.to_le_bytes().to_vec()].concat()
}

fn varint_raw(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

fn key_value(key: &str, value: &[u8]) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value)].concat()
}

/// An export with two resources, one of them after its spans, and every kind of value.
pub fn protobuf() -> Vec<u8> {
    let array =
        bytes(5, &[bytes(1, &bytes(1, "a\"\u{e9}\n".as_bytes())), bytes(1, &varint(3, 7)), bytes(1, &[])].concat());
    let pairs = bytes(6, &bytes(1, &key_value("inner", &bytes(5, &bytes(1, &fixed64(4, f64::NAN.to_bits()))))));
    let attributes = [
        key_value("http.route", &bytes(1, b"/cart/{id}")),
        key_value("ok", &varint(2, 1)),
        key_value("negative", &varint(3, u64::MAX)),
        key_value("ratio", &fixed64(4, 0.1_f64.to_bits())),
        key_value("list", &array),
        key_value("map", &pairs),
        key_value("raw", &bytes(7, &[0, 255, 16])),
        key_value("http.route", &bytes(1, b"again")),
        key_value("empty", &[]),
    ];
    let listed = |number: u32| attributes.iter().flat_map(move |value| bytes(number, value)).collect::<Vec<u8>>();
    let event = [fixed64(1, 1_000), bytes(2, b"exception"), listed(3), varint(4, 1)].concat();
    let link = [bytes(1, &[9; 16]), bytes(2, &[8; 8]), bytes(3, b"a=b"), listed(4)].concat();
    let span = |id: u8| {
        [
            bytes(1, &[id; 16]),
            bytes(2, &[id; 8]),
            bytes(3, b"ot=th:8"),
            bytes(4, &[1; 8]),
            bytes(5, b"GET /cart/{id}"),
            varint(6, 2),
            fixed64(7, 1_700_000_000_000_000_000),
            fixed64(8, 1_700_000_000_000_500_000),
            listed(9),
            varint(10, 3),
            bytes(11, &event),
            bytes(11, &event),
            bytes(13, &link),
            bytes(15, &[bytes(2, b"broken"), varint(3, 2)].concat()),
        ]
        .concat()
    };
    let scope = bytes(1, &[bytes(1, b"lib"), bytes(2, b"1.0")].concat());
    let scope_spans = [scope, bytes(2, &span(1)), bytes(2, &span(2)), bytes(2, &span(0))].concat();
    let resource = bytes(1, &bytes(1, &key_value("service.name", &bytes(1, b"cart"))));
    let before = [resource.clone(), bytes(2, &scope_spans), bytes(3, b"schema")].concat();
    let after = [bytes(2, &bytes(2, &span(3))), resource].concat();
    [bytes(1, &before), bytes(1, &after)].concat()
}

/// Much the same in JSON.
pub const JSON: &str = r#" {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}],
"droppedAttributesCount":0},"scopeSpans":[{"scope":{"name":"lib","version":"1.0"},"spans":[
{"traceId":"0123456789abcdef0123456789ABCDEF","spanId":"0123456789abcdef","parentSpanId":"","traceState":"ot=th:8",
"name":"GET \u002fcart \ud83d\ude00 \ud800","kind":2,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":1700000000000500000,
"attributes":[{"key":"http.route","value":{"stringValue":"/cart/{id}"}},{"value":{"intValue":"-12"},"key":"n"},
{"key":"d","value":{"doubleValue":1.5e-9}},{"key":"nan","value":{"doubleValue":"NaN"}},{"key":"b","value":{"boolValue":true}},
{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a\"b"},null,{},{"intValue":7}]}}},
{"key":"map","value":{"kvlistValue":{"values":[{"key":"x","value":{"arrayValue":{}}},{"value":{"bytesValue":"AP8Q"},"key":"y"}]}}},
{"key":"raw","value":{"bytesValue":"AP8QIA=="}},{"key":"http.route","value":{"stringValue":"again"}}],
"events":[{"timeUnixNano":"1000","name":"exception","attributes":[{"key":"k","value":{"stringValue":"v"}}]}],
"links":[{"traceId":"0123456789abcdef0123456789abcdef","spanId":"0123456789abcdef","attributes":[]}],
"status":{"code":"STATUS_CODE_ERROR","message":"broken"},"flags":257,"unknown":{"a":[1,2,{"b":null}]}},
{"traceId":"AAAAAAAAAAAAAAAAAAAAAA==","spanId":"0123456789abcdef","name":null,"kind":"SPAN_KIND_CLIENT"},
{"trace_id":"0123456789abcdef0123456789abcdef","span_id":"0123456789abcdef","start_time_unix_nano":5,"end_time_unix_nano":4}
]}]},{"scope_spans":[{"spans":[{"traceId":"0123456789abcdef0123456789abcdef","spanId":"0123456789abcde0"}]}],
"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"late"}}]}}]} "#;
