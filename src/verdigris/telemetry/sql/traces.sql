-- Per window and role: traces and what speaks for or against believing them. A mixed trace counts in both roles.
SELECT
    window_s, role,
    count() AS traces,
    sum(spans) AS spans,
    sum(orphans) AS orphans,
    sum(roots) AS roots,
    countIf(mixed) AS mixed,
    sumMap(service_map) AS services,
    sumMapIf(map(threshold, toUInt64(1)), threshold != '') AS thresholds
FROM
(
    SELECT
        window_s, role, trace,
        toUInt64(count()) AS spans, toUInt64(countIf(orphan)) AS orphans, toUInt64(countIf(root)) AS roots, max(mixed) AS mixed, max(threshold) AS threshold,
        CAST((groupUniqArray(service) AS services, arrayMap(s -> toUInt64(1), services)), 'Map(String, UInt64)') AS service_map
    FROM {facts:Identifier} AS f INNER JOIN {operations:Identifier} AS o ON f.operation = o.operation
    WHERE role > 0
    GROUP BY window_s, role, trace
)
GROUP BY window_s, role
ORDER BY window_s, role
