-- Per window, role and edge (caller operation, callee operation): how many of the caller's requests had the call, how
-- often, and in how many it was the last call that the caller made (what a request that stops short stopped after).
SELECT
    window_s, role, p.service AS caller_service, p.kind AS caller_kind, p.name AS caller_name,
    c.service AS service, c.kind AS kind, c.name AS name, present, last, calls
FROM
(
    SELECT
        caller_window_s AS window_s, caller_role AS role, caller_operation, operation,
        sum(caller_weight) AS present,
        sumIf(caller_weight, latest_start_ns = last_start_ns) AS last,
        sumMap(map(calls, caller_weight)) AS calls
    FROM
    (
        SELECT
            trace, parent, operation, any(window_s) AS caller_window_s, any(role) AS caller_role,
            any(parent_operation) AS caller_operation, any(parent_weight) AS caller_weight, toUInt32(count()) AS calls, max(start_ns) AS latest_start_ns
        FROM {facts:Identifier}
        WHERE role > 0 AND parent_role = role
        GROUP BY trace, parent, operation
    ) AS call
    INNER JOIN
    (
        SELECT trace, parent, max(start_ns) AS last_start_ns
        FROM {facts:Identifier}
        WHERE role > 0 AND parent_role = role
        GROUP BY trace, parent
    ) AS caller USING (trace, parent)
    GROUP BY window_s, role, caller_operation, operation
) AS e
INNER JOIN {operations:Identifier} AS p ON e.caller_operation = p.operation
INNER JOIN {operations:Identifier} AS c ON e.operation = c.operation
ORDER BY window_s, role, caller_service, caller_kind, caller_name, service, kind, name
