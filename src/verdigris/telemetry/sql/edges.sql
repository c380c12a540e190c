-- Per window, role and edge (caller operation, callee operation): how many of the caller's requests had the call, how
-- often, and in how many it was the last call that the caller made (what a request that stops short stopped after).
SELECT
    window_s, role, caller_service, caller_kind, caller_name, service, kind, name,
    sum(caller_weight) AS present,
    sumIf(caller_weight, last) AS last,
    sumMap(map(calls, caller_weight)) AS calls
FROM
(
    SELECT
        window_s, role, service, kind, name,
        any(parent_service) AS caller_service, any(parent_kind) AS caller_kind, any(parent_name) AS caller_name,
        any(parent_weight) AS caller_weight, toUInt32(count()) AS calls,
        max(start_ns) = max(max(start_ns)) OVER (PARTITION BY trace, parent) AS last
    FROM facts
    WHERE role > 0 AND parent_role = role
    GROUP BY window_s, role, trace, parent, service, kind, name
)
GROUP BY window_s, role, caller_service, caller_kind, caller_name, service, kind, name
ORDER BY window_s, role, caller_service, caller_kind, caller_name, service, kind, name
