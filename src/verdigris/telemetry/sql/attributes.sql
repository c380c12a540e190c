-- How often each attribute value stands on the candidate's bad spans of an operation (failed, or longer by themselves than
-- slow_ns) and on its other spans. Only the named keys are looked at; the row with the empty key counts the spans.
WITH
    (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,32}$'), reinterpretAsUInt128(reverse(unhex(id))), reinterpretAsUInt128(SHA256(id)))) AS trace_number,
    (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,16}$'), reinterpretAsUInt64(reverse(unhex(id))), reinterpretAsUInt64(SHA256(id)))) AS span_number
SELECT pair.1 AS key, leftUTF8(toValidUTF8(pair.2), {chars_max:UInt32}) AS value, countIf(is_bad) AS bad, countIf(NOT is_bad) AS good
FROM
(
    SELECT
        f.failed OR f.exclusive_ns > {slow_ns:Int64} AS is_bad,
        arrayJoin(arrayPushBack(arrayFilter(p -> has(JSONExtract({keys:String}, 'Array(String)'), p.1), t.pairs), ('', ''))) AS pair
    FROM {facts:Identifier} AS f
    INNER JOIN
    (
        SELECT
            trace_number(TraceId) AS trace, span_number(SpanId) AS span,
            arrayConcat(
                arrayMap((k, v) -> (toString(k), v), mapKeys(ResourceAttributes), mapValues(ResourceAttributes)),
                arrayMap((k, v) -> (toString(k), v), mapKeys(SpanAttributes), mapValues(SpanAttributes))) AS pairs
        FROM {table:Identifier}
        WHERE ServiceName = {service:String}
            AND Timestamp >= fromUnixTimestamp64Nano({read_from_ns:Int64}) AND Timestamp < fromUnixTimestamp64Nano({read_to_ns:Int64})
    ) AS t ON f.trace = t.trace AND f.span = t.span
    WHERE f.role = 2 AND f.operation IN
        (SELECT operation FROM {operations:Identifier} WHERE service = {service:String} AND kind = {kind:String} AND name = {name:String})
)
GROUP BY key, value
ORDER BY key != '', bad DESC, key, value
LIMIT {limit:UInt32}
