-- One trace for people to look at. The operations are those of the windows; the status is the span's own.
SELECT
    lower(hex(reverse(reinterpretAsFixedString(span)))) AS span_id,
    if(parent = 0, '', lower(hex(reverse(reinterpretAsFixedString(parent))))) AS parent_id,
    role, service, kind, name, instance, start_ns, duration_ns, exclusive_ns, failed OR refused OR rejected AS bad, if(failed OR refused OR rejected, error_kind, '') AS status
FROM facts
WHERE trace = reinterpretAsUInt128(reverse(unhex({trace_id:String})))
ORDER BY start_ns, duration_ns DESC, span_id
LIMIT {limit:UInt32}
