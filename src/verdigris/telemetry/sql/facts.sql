-- From raw spans to one row of facts per distinct span: role, window, operation, exclusive time, parent, outcome.
-- The windows are sums over these rows. Every choice between several values is made by an order of the values themselves
-- (min, max, ORDER BY all of them), never by arrival: any order and any batching of the same spans give the same windows.
-- What each rule means, and why each bound, stands in docs/windows.md. Between {{ }} the store puts conditions of the identity.

-- 1. The traces that start in the period: ids and times alone are read of the horizon around it. Ids of up to 32 and 16 hex
--    digits are numbers (some tools leave leading zeros away or write capitals); any other text stands for itself by its
--    SHA-256. Spans without an id cannot be placed: they are counted in the row of trace 0.
CREATE TEMPORARY TABLE period_traces ENGINE = Memory AS
WITH (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,32}$'), reinterpretAsUInt128(reverse(unhex(id))), id = '', toUInt128(0), reinterpretAsUInt128(SHA256(id)))) AS trace_number
SELECT
    if(match(SpanId, '^0*$'), toUInt128(0), trace_number(TraceId)) AS trace,
    min(toUnixTimestamp64Nano(Timestamp)) AS start_ns,
    countIf(toUnixTimestamp64Nano(Timestamp) >= {from_ns:Int64} AND toUnixTimestamp64Nano(Timestamp) < {to_ns:Int64}) AS spans
FROM {table:Identifier}
WHERE Timestamp >= fromUnixTimestamp64Nano({read_from_ns:Int64}) AND Timestamp < fromUnixTimestamp64Nano({read_to_ns:Int64})
GROUP BY trace
HAVING trace = 0 OR (start_ns >= {from_ns:Int64} AND start_ns < {to_ns:Int64});

-- 2. The spans of these traces, each with the role that its own resource claims (1 baseline, 2 candidate, 0 neither or both).
CREATE TEMPORARY TABLE period_spans ENGINE = Memory AS
WITH
    (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,32}$'), reinterpretAsUInt128(reverse(unhex(id))), id = '', toUInt128(0), reinterpretAsUInt128(SHA256(id)))) AS trace_number,
    (id -> multiIf(match(id, '^[0-9A-Fa-f]{1,16}$'), reinterpretAsUInt64(reverse(unhex(id))), id = '', toUInt64(0), reinterpretAsUInt64(SHA256(id)))) AS span_number,
    -- As a dictionary each distinct value of a block is looked at once. Values are cut, or a few could fill the memory.
    (value -> leftUTF8(toValidUTF8(CAST(value AS LowCardinality(String))), {chars_max:UInt32})) AS bounded,
    -- Ids inside names would make every request an operation of its own.
    (value -> leftUTF8(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(toValidUTF8(CAST(value AS LowCardinality(String))),
        '[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}', '{uuid}'),
        '\\b(?:0x[0-9A-Fa-f]+|[0-9A-Fa-f]{16,})\\b', '{hex}'),
        '\\b[0-9]+\\b', '{n}'), {chars_max:UInt32})) AS templated,
    {{baseline}} AS claims_baseline,
    {{candidate}} AS claims_candidate,
    coalesce(nullIf(SpanAttributes['rpc.grpc.status_code'], ''), SpanAttributes['rpc.response.status_code']) AS grpc_code
SELECT
    trace_number(TraceId) AS trace,
    span_number(SpanId) AS span,
    -- A span that names itself as its parent (seen in real data) is a root.
    if(span_number(ParentSpanId) = span, 0, span_number(ParentSpanId)) AS parent,
    toUnixTimestamp64Nano(Timestamp) AS start_ns,
    -- No end lies beyond what 63 bits hold.
    toInt64(greatest(0, least(toInt128(Duration), {duration_max_ns:Int128}, 9223372036854775807 - toInt128(greatest(start_ns, 0))))) AS duration_ns,
    toUInt8(multiIf(claims_baseline AND claims_candidate, 0, claims_baseline, 1, claims_candidate, 2, 0)) AS own_role,
    toUInt8(claims_baseline AND claims_candidate) AS ambiguous,
    CAST(bounded(ServiceName) AS String) AS service,
    transform(CAST(SpanKind AS String),
        ['SPAN_KIND_INTERNAL', 'SPAN_KIND_SERVER', 'SPAN_KIND_CLIENT', 'SPAN_KIND_PRODUCER', 'SPAN_KIND_CONSUMER', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'],
        ['Internal', 'Server', 'Client', 'Producer', 'Consumer', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'], 'Unspecified') AS kind,
    CAST(templated(SpanName) AS String) AS span_name,
    CAST(match(SpanName, '^(?i:http )?(?i:get|head|post|put|patch|delete|options)$') AS UInt8) AS bare_method,
    CAST(templated(SpanAttributes['http.route']) AS String) AS route,
    CAST(templated(coalesce(nullIf(SpanAttributes['http.request.method'], ''), SpanAttributes['http.method'])) AS String) AS method,
    CAST(templated(coalesce(nullIf(SpanAttributes['peer.service'], ''), nullIf(SpanAttributes['server.address'], ''), nullIf(SpanAttributes['net.peer.name'], ''),
             nullIf(SpanAttributes['db.system.name'], ''), nullIf(SpanAttributes['db.system'], ''), SpanAttributes['messaging.system'])) AS String) AS peer,
    CAST(bounded(coalesce(nullIf(ResourceAttributes['service.instance.id'], ''), nullIf(ResourceAttributes['k8s.pod.name'], ''),
             nullIf(ResourceAttributes['container.id'], ''), ResourceAttributes['host.name'])) AS String) AS instance,
    toUInt16OrZero(extract(coalesce(nullIf(SpanAttributes['http.response.status_code'], ''), SpanAttributes['http.status_code']), '^[1-5][0-9][0-9]$')) AS http_code,
    CAST(bounded(multiIf(
        arrayExists((a, n) -> n = 'exception' AND a['exception.type'] != '', `Events.Attributes`, `Events.Name`),
            arrayFirst((a, n) -> n = 'exception' AND a['exception.type'] != '', `Events.Attributes`, `Events.Name`)['exception.type'],
        SpanAttributes['error.type'] != '', SpanAttributes['error.type'],
        http_code >= 400, concat('HTTP ', toString(http_code)),
        grpc_code NOT IN ('', '0', 'OK'), concat('gRPC ', grpc_code),
        'status Error')) AS String) AS error_kind,
    toUInt8(grpc_code IN ('7', '16', 'PERMISSION_DENIED', 'UNAUTHENTICATED') OR http_code IN (401, 403)) AS refused,
    -- A server answers 4xx when the caller is at fault: counted apart (rejected), not as the server's error.
    toUInt8(CAST(StatusCode AS String) IN ('Error', 'STATUS_CODE_ERROR') OR (kind = 'Server' AND (http_code >= 500
        OR grpc_code IN ('2', '4', '12', '13', '14', '15', 'UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS')))) AS failed,
    toUInt8(NOT refused AND NOT failed AND http_code BETWEEN 400 AND 499) AS rejected,
    extract(TraceState, '(?:^|,)\\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})') AS threshold,
    -- What the decoder masked in the span. It drops a sender's own attribute of that name.
    CAST(bounded(SpanAttributes['verdigris.masked']) AS String) AS masked
FROM {table:Identifier}
PREWHERE Timestamp >= fromUnixTimestamp64Nano({read_from_ns:Int64}) AND Timestamp < fromUnixTimestamp64Nano({read_to_ns:Int64})
    AND trace IN (SELECT trace FROM period_traces WHERE trace != 0) AND NOT match(SpanId, '^0*$');

-- 3. An export that was retried delivers the same span twice: it counts once. Different spans under one id cannot be told
--    apart by their children: the first in order counts, the others are reported as clashing.
CREATE TEMPORARY TABLE repeated ENGINE = Memory AS
SELECT trace, span FROM period_spans GROUP BY trace, span HAVING count() > 1;

CREATE TEMPORARY TABLE distinct_spans ENGINE = Memory AS
SELECT *, toUInt64(0) AS clashing FROM period_spans WHERE (trace, span) NOT IN (SELECT trace, span FROM repeated)
UNION ALL
SELECT *, toUInt64(count() OVER (PARTITION BY trace, span) - 1) AS clashing
FROM (SELECT DISTINCT * FROM period_spans WHERE (trace, span) IN (SELECT trace, span FROM repeated))
ORDER BY trace, span, start_ns, duration_ns, parent, own_role, ambiguous, service, kind, span_name, bare_method, route, method, peer,
    instance, http_code, error_kind, refused, failed, threshold, masked
LIMIT 1 BY trace, span;
DROP TABLE period_spans;

-- 4. A trace belongs to the window in which its earliest span starts, and touches the roles that its spans claim. A span's
--    role is its own claim, else what its trace touches (a shared gateway above, a shared database client below). A shared
--    span of a mixed trace has no role.
CREATE TEMPORARY TABLE role_spans ENGINE = Memory AS
SELECT s.*, t.window_s AS window_s, t.mixed AS mixed, if(s.own_role > 0, s.own_role, t.trace_role) AS role
FROM distinct_spans AS s
INNER JOIN
(
    SELECT
        trace,
        toInt64(intDiv(min(start_ns) - positiveModulo(min(start_ns), {window_ns:Int64}), 1000000000)) AS window_s,
        toUInt8(max(own_role = 1) AND max(own_role = 2)) AS mixed,
        toUInt8(if(mixed, 0, max(own_role))) AS trace_role
    FROM distinct_spans
    GROUP BY trace
) AS t ON s.trace = t.trace;
DROP TABLE distinct_spans;

-- 5. What its children cover of each span, whom it called and whether any of them failed. A server's span that another
--    host's clock puts outside its caller is moved by the least that makes it fit; others are cut to the parent.
--    Asynchronous frameworks hang an internal span and the calls made inside it on the same parent: a call that starts
--    while an internal sibling runs covers that sibling too, or the waiting would be taken for the sibling's own work.
--    Only the first internal siblings are looked at, or a caller with n of them and n calls would cost n².
CREATE TEMPORARY TABLE covered ENGINE = Memory AS
SELECT
    trace, span,
    intervalLengthSumIf(cut_start, cut_end, cut_end > cut_start) AS covered_ns,
    minIf(child_service, is_child AND child_kind = 'Server') AS callee,
    maxIf(child_failed, is_child) AS child_failed,
    max(is_child) AS has_child
FROM
(
    SELECT
        p.trace AS trace, p.span AS span, c.service AS child_service, c.kind AS child_kind, c.failed AS child_failed, toUInt8(1) AS is_child,
        p.start_ns AS low, p.start_ns + p.duration_ns AS high,
        if(c.kind = 'Server' AND c.duration_ns <= p.duration_ns, greatest(low, least(c.start_ns, high - c.duration_ns)), c.start_ns) AS placed,
        least(high, greatest(low, placed)) AS cut_start,
        least(high, greatest(low, placed + c.duration_ns)) AS cut_end
    FROM role_spans AS p INNER JOIN (SELECT * FROM role_spans WHERE parent != 0) AS c ON p.trace = c.trace AND p.span = c.parent
    UNION ALL
    SELECT
        s.trace AS trace, s.span AS span, '' AS child_service, '' AS child_kind, toUInt8(0) AS child_failed, toUInt8(0) AS is_child,
        s.start_ns AS low, s.start_ns + s.duration_ns AS high, c.start_ns AS placed,
        c.start_ns AS cut_start, least(high, c.start_ns + c.duration_ns) AS cut_end
    FROM
    (
        SELECT trace, span, parent, service, start_ns, duration_ns FROM role_spans WHERE parent != 0 AND kind = 'Internal'
        ORDER BY start_ns, span LIMIT {siblings_max:UInt32} BY trace, parent, service
    ) AS s
    INNER JOIN (SELECT * FROM role_spans WHERE parent != 0 AND kind IN ('Client', 'Producer')) AS c
        ON s.trace = c.trace AND s.parent = c.parent AND s.service = c.service
    WHERE c.start_ns >= s.start_ns AND c.start_ns < s.start_ns + s.duration_ns
)
GROUP BY trace, span;

CREATE TEMPORARY TABLE named_spans ENGINE = Memory AS
SELECT
    s.trace AS trace, s.span AS span, s.parent AS parent, s.window_s AS window_s, s.role AS role, s.mixed AS mixed,
    s.ambiguous AS ambiguous, s.clashing AS clashing, s.service AS service, s.kind AS kind, s.instance AS instance, s.peer AS peer, s.threshold AS threshold, s.masked AS masked,
    multiIf(
        s.kind = 'Server' AND s.route != '', if(s.method != '', concat(s.method, ' ', s.route), s.route),
        s.kind = 'Client' AND s.bare_method AND c.callee != '', concat(s.span_name, ' ', c.callee),
        s.kind = 'Client' AND s.bare_method AND s.peer != '', concat(s.span_name, ' ', s.peer),
        s.span_name) AS name,
    s.start_ns AS start_ns, s.duration_ns AS duration_ns,
    s.duration_ns - toInt64(c.covered_ns) AS exclusive_ns,
    toUInt8(NOT c.has_child) AS childless,
    s.failed AS failed, toUInt8(s.failed AND NOT c.child_failed) AS origin, s.refused AS refused, s.rejected AS rejected, s.error_kind AS error_kind
FROM role_spans AS s LEFT JOIN covered AS c ON s.trace = c.trace AND s.span = c.span;
DROP TABLE role_spans;
DROP TABLE covered;

-- 6. The operations, numbered in their order. Beyond the busiest services, and the busiest operations, the rest is pooled
--    under {other}: names come from outside, and each one costs memory, time and attention.
CREATE TEMPORARY TABLE pooled_operations ENGINE = Memory AS
SELECT
    *, dense_rank() OVER (ORDER BY pooled_service, kind, pooled_name) AS operation
FROM
(
    SELECT
        service, kind, name,
        if(service_rank <= {services_max:UInt32}, service, '{other}') AS pooled_service,
        if(service_rank <= {services_max:UInt32} AND operation_rank <= {operations_max:UInt32}, name, '{other}') AS pooled_name
    FROM
    (
        SELECT
            service, kind, name,
            row_number() OVER (ORDER BY spans DESC, service, kind, name) AS operation_rank,
            dense_rank() OVER (ORDER BY service_spans DESC, service) AS service_rank
        FROM
        (
            SELECT service, kind, name, countIf(role > 0) AS spans, sum(spans) OVER (PARTITION BY service) AS service_spans
            FROM named_spans
            GROUP BY service, kind, name
        )
    )
);

CREATE TEMPORARY TABLE {operations:Identifier} ENGINE = Memory AS
SELECT DISTINCT operation, pooled_service AS service, kind, pooled_name AS name FROM pooled_operations;

CREATE TEMPORARY TABLE operation_spans ENGINE = Memory AS
SELECT
    s.* EXCEPT (service, kind, name), o.pooled_service AS service, o.kind AS kind, o.operation AS operation,
    -- A request counts once per operation however often it calls it: each of its m spans weighs 1/m, in units of 1/720720
    -- (the least common multiple of 1 to 16) to stay in whole numbers.
    toUInt64(greatest(1, intDiv(720720, count() OVER (PARTITION BY s.trace, s.role, o.operation)))) AS weight
FROM named_spans AS s INNER JOIN pooled_operations AS o ON s.service = o.service AND s.kind = o.kind AND s.name = o.name;
DROP TABLE named_spans;
DROP TABLE pooled_operations;

-- 7. Other values from outside that a window lists: the busiest per role and service stay, the rest is pooled as well.
CREATE TEMPORARY TABLE pooled_values ENGINE = Memory AS
SELECT role, service, what, value
FROM
(
    SELECT role, service, what, value, row_number() OVER (PARTITION BY role, service, what ORDER BY spans DESC, value) AS busy
    FROM
    (
        SELECT role, service, 'instance' AS what, instance AS value, count() AS spans FROM operation_spans GROUP BY role, service, value
        UNION ALL
        SELECT role, service, 'error' AS what, error_kind AS value, count() AS spans FROM operation_spans WHERE failed GROUP BY role, service, value
        UNION ALL
        SELECT role, service, 'peer' AS what, peer AS value, count() AS spans FROM operation_spans WHERE peer != '' AND kind IN ('Client', 'Producer') GROUP BY role, service, value
        UNION ALL
        SELECT role, service, 'masked' AS what, masked AS value, count() AS spans FROM operation_spans WHERE masked != '' GROUP BY role, service, value
        UNION ALL
        SELECT role, '' AS service, 'threshold' AS what, threshold AS value, count() AS spans FROM operation_spans WHERE threshold != '' GROUP BY role, value
    )
)
WHERE busy > {values_max:UInt32};

-- 8. Facts: the above with the parent's operation. A span that names a parent nobody sent is an orphan.
CREATE TEMPORARY TABLE {facts:Identifier} ENGINE = Memory AS
SELECT
    s.* EXCEPT (service, instance, error_kind, peer, masked, threshold),
    if((s.role, s.service, s.instance) IN (SELECT role, service, value FROM pooled_values WHERE what = 'instance'), '{other}', s.instance) AS instance,
    if((s.role, s.service, s.error_kind) IN (SELECT role, service, value FROM pooled_values WHERE what = 'error'), '{other}', s.error_kind) AS error_kind,
    if((s.role, s.service, s.peer) IN (SELECT role, service, value FROM pooled_values WHERE what = 'peer'), '{other}', s.peer) AS peer,
    if((s.role, s.service, s.masked) IN (SELECT role, service, value FROM pooled_values WHERE what = 'masked'), '{other}', s.masked) AS masked,
    if((s.role, s.threshold) IN (SELECT role, value FROM pooled_values WHERE what = 'threshold'), '{other}', s.threshold) AS threshold,
    toUInt8(s.parent = 0) AS root,
    toUInt8(s.parent != 0 AND p.span = 0) AS orphan,
    p.operation AS parent_operation, p.role AS parent_role, p.weight AS parent_weight
FROM operation_spans AS s LEFT JOIN operation_spans AS p ON s.trace = p.trace AND s.parent = p.span;
DROP TABLE operation_spans;
DROP TABLE pooled_values;

CREATE TEMPORARY TABLE {left_out:Identifier} ENGINE = Memory AS
SELECT
    countIf(role = 0 AND NOT mixed) AS spans, countIf(role = 0 AND mixed) AS shared_spans_of_mixed_traces, uniqExactIf(trace, mixed) AS mixed_traces,
    countIf(ambiguous) AS ambiguous, sum(clashing) AS clashing, (SELECT sum(spans) FROM period_traces WHERE trace = 0) AS without_id
FROM {facts:Identifier};
DROP TABLE period_traces;
DROP TABLE repeated
