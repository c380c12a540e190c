-- Example traces per role and operation: the worst (failed first, then by exclusive time) of the candidate, the most
-- ordinary (not failed, exclusive time nearest to the median) of the baseline. Ties go to the smaller trace id.
SELECT role, service, kind, name, lower(hex(reverse(reinterpretAsFixedString(trace)))) AS trace_id
FROM
(
    SELECT role, service, kind, name, trace, max(failed) AS bad, max(exclusive_ns) AS slowest_ns, min(abs(exclusive_ns - median_ns)) AS distance_ns
    FROM
    (
        SELECT role, service, kind, name, trace, failed, exclusive_ns,
            quantileExactLow(0.5)(exclusive_ns) OVER (PARTITION BY role, service, kind, name) AS median_ns
        FROM facts
        WHERE role > 0 AND (service, kind, name) IN (SELECT arrayJoin(JSONExtract({operations:String}, 'Array(Tuple(String, String, String))')))
    )
    GROUP BY role, service, kind, name, trace
)
ORDER BY role, service, kind, name, toInt64(bad) * if(role = 2, -1, 1), if(role = 2, -slowest_ns, toInt64(distance_ns)), trace
LIMIT {limit:UInt32} BY role, service, kind, name
