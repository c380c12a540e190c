-- Example traces of a role in which the caller's operation did (role 1) or did not (role 2) call the callee's. Smallest trace ids first.
SELECT DISTINCT f.role AS role, lower(hex(reverse(reinterpretAsFixedString(f.trace)))) AS trace_id
FROM facts AS f
LEFT JOIN
(
    SELECT trace, parent, toUInt8(1) AS called FROM facts
    WHERE service = {callee_service:String} AND kind = {callee_kind:String} AND name = {callee_name:String}
    GROUP BY trace, parent
) AS c ON f.trace = c.trace AND f.span = c.parent
WHERE f.role > 0 AND f.service = {caller_service:String} AND f.kind = {caller_kind:String} AND f.name = {caller_name:String}
    AND c.called = if({absent:UInt8} = 1, f.role = 1, f.role = 2)
ORDER BY role, trace_id
LIMIT {limit:UInt32} BY role
