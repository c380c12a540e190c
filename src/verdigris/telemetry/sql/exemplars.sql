-- Example traces per role and operation: the worst (by exclusive time; failed ones first, or last) of the candidate, the most
-- ordinary (not failed, exclusive time nearest to the median) of the baseline. Ties go to the smaller trace id.
SELECT role, service, kind, name, lower(hex(reverse(reinterpretAsFixedString(trace)))) AS trace_id
FROM
(
    SELECT role, operation, trace, max(failed) AS bad, max(exclusive_ns) AS slowest_ns, min(abs(exclusive_ns - median_ns)) AS distance_ns
    FROM
    (
        SELECT role, operation, trace, failed, exclusive_ns, quantileExactLow(0.5)(exclusive_ns) OVER (PARTITION BY role, operation) AS median_ns
        FROM {facts:Identifier}
        WHERE role > 0 AND operation IN
        (
            SELECT operation FROM {operations:Identifier}
            WHERE (service, kind, name) IN (SELECT arrayJoin(JSONExtract({wanted:String}, 'Array(Tuple(String, String, String))')))
        )
    )
    GROUP BY role, operation, trace
) AS e
INNER JOIN {operations:Identifier} AS o ON e.operation = o.operation
ORDER BY role, service, kind, name, toInt64(bad) * if(role = 2 AND {failed_first:UInt8} = 1, -1, 1), if(role = 2, -slowest_ns, toInt64(distance_ns)), trace
LIMIT {limit:UInt32} BY role, service, kind, name
