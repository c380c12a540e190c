-- Per window, role, operation and instance. Weights are in units of 1/720720 request (see facts.sql).
-- Histograms are OpenTelemetry base-2 exponential, scale 5: bucket i holds (2^(i/32), 2^((i+1)/32)] ns; times below 1 ns count as 1 ns.
-- Sums of times exceed 64 bits when durations are absurd: they are summed in 128 and handed over as text.
SELECT window_s, role, service, kind, name, f.* EXCEPT (window_s, role, operation)
FROM
(
    SELECT
        window_s, role, operation, instance,
        count() AS spans,
        sum(weight) AS requests,
        sumIf(weight, failed) AS errors,
        sumIf(weight, origin) AS error_origins,
        sumIf(weight, refused) AS refused,
        sumIf(weight, rejected) AS rejected,
        sumIf(weight, orphan) AS orphans,
        sumIf(weight, childless) AS childless,
        sumMapIf(map(error_kind, weight), failed) AS error_kinds,
        sumMap(map(toInt32(ceil(log2(greatest(duration_ns, 1)) * 32) - 1), weight)) AS durations,
        sumMap(map(toInt32(ceil(log2(greatest(exclusive_ns, 1)) * 32) - 1), weight)) AS exclusives,
        toString(sum(intDiv(toInt128(duration_ns) * weight, 720720))) AS duration_ns_sum,
        toString(sum(intDiv(toInt128(exclusive_ns) * weight, 720720))) AS exclusive_ns_sum,
        toString(sum(intDiv(toInt128(trace_duration_ns) * weight, 720720))) AS trace_ns_sum,
        sumMapIf(map(peer, toUInt64(1)), peer != '' AND operation IN (SELECT operation FROM {operations:Identifier} WHERE kind IN ('Client', 'Producer'))) AS peers,
        sumMapIf(map(masked, weight), masked != '') AS masked_words
    FROM {facts:Identifier}
    INNER JOIN (SELECT trace, max(start_ns + duration_ns) - min(start_ns) AS trace_duration_ns FROM {facts:Identifier} GROUP BY trace) AS t USING (trace)
    WHERE role > 0
    GROUP BY window_s, role, operation, instance
) AS f
INNER JOIN {operations:Identifier} AS o ON f.operation = o.operation
ORDER BY window_s, role, service, kind, name, instance
