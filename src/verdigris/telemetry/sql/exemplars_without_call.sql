-- Example traces of a role in which the caller's operation did (role 1) or did not (role 2) call the callee's; the other way
-- round when `absent` is 0. Smallest trace ids first.
WITH
    (SELECT max(operation) FROM {operations:Identifier}
        WHERE service = {caller_service:String} AND kind = {caller_kind:String} AND name = {caller_name:String}) AS caller,
    (SELECT max(operation) FROM {operations:Identifier}
        WHERE service = {callee_service:String} AND kind = {callee_kind:String} AND name = {callee_name:String}) AS callee
SELECT DISTINCT role, lower(hex(reverse(reinterpretAsFixedString(trace)))) AS trace_id
FROM {facts:Identifier}
WHERE role > 0 AND operation = caller
    AND ((role, trace, span) IN (SELECT role, trace, parent FROM {facts:Identifier} WHERE operation = callee)) = if({absent:UInt8} = 1, role = 1, role = 2)
ORDER BY role, trace_id
LIMIT {limit:UInt32} BY role
