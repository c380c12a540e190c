-- One trace for people to look at. The operations are those of the windows; the status is the span's own.
WITH (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,32}$'), reinterpretAsUInt128(reverse(unhex(id))), reinterpretAsUInt128(SHA256(id)))) AS trace_number
SELECT
    lower(hex(reverse(reinterpretAsFixedString(span)))) AS span_id,
    if(parent = 0, '', lower(hex(reverse(reinterpretAsFixedString(parent))))) AS parent_id,
    role, service, kind, name, instance, start_ns, duration_ns, exclusive_ns, if(failed OR refused OR rejected, error_kind, '') AS status
FROM {facts:Identifier} AS f INNER JOIN {operations:Identifier} AS o ON f.operation = o.operation
WHERE trace = trace_number({trace_id:String})
ORDER BY start_ns, duration_ns DESC, span_id
LIMIT {limit:UInt32}
