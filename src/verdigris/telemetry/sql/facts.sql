-- From raw spans to one row of facts per distinct span: role, window, operation, exclusive time, parent, outcome.
-- The windows are sums over these rows. Every choice between several values is made by an order of the values themselves
-- (min, max, ORDER BY all of them), never by arrival: any order and any batching of the same spans give the same windows.

-- 1. Distinct spans of the period, each with the role that its own resource claims (1 baseline, 2 candidate, 0 neither).
--    An export that was retried delivers the same span twice: it counts once.
CREATE TEMPORARY TABLE period_spans ENGINE = Memory AS
WITH
    JSONExtract({baseline:String}, 'Map(String, String)') AS baseline_match,
    JSONExtract({candidate:String}, 'Map(String, String)') AS candidate_match
SELECT
    reinterpretAsUInt128(reverse(unhex(TraceId))) AS trace,
    reinterpretAsUInt64(reverse(unhex(SpanId))) AS span,
    -- A span that names itself as its parent (seen in real data) is a root.
    if(ParentSpanId = SpanId, 0, reinterpretAsUInt64(reverse(unhex(ParentSpanId)))) AS parent,
    toUnixTimestamp64Nano(Timestamp) AS start_ns,
    toInt64(greatest(Duration, 0)) AS duration_ns,
    multiIf(
        notEmpty(baseline_match) AND arrayAll(k -> ResourceAttributes[k] LIKE baseline_match[k], mapKeys(baseline_match)), 1,
        notEmpty(candidate_match) AND arrayAll(k -> ResourceAttributes[k] LIKE candidate_match[k], mapKeys(candidate_match)), 2,
        0) AS own_role,
    CAST(ServiceName AS String) AS service,
    transform(CAST(SpanKind AS String),
        ['SPAN_KIND_UNSPECIFIED', 'SPAN_KIND_INTERNAL', 'SPAN_KIND_SERVER', 'SPAN_KIND_CLIENT', 'SPAN_KIND_PRODUCER', 'SPAN_KIND_CONSUMER', ''],
        ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer', 'Unspecified'], CAST(SpanKind AS String)) AS kind,
    -- Ids inside names would make every request an operation of its own. RE2 has no look-ahead, hence the two ways to say
    -- "sixteen hex digits or more with a decimal digit among them".
    CAST(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(SpanName,
        '[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}', '{uuid}'),
        '\\b(?:0x[0-9A-Fa-f]+|[0-9A-Fa-f]{0,15}[0-9][0-9A-Fa-f]{15,}|[0-9A-Fa-f]{15,}[0-9][0-9A-Fa-f]*)\\b', '{hex}'),
        '\\b[0-9]+\\b', '{n}') AS String) AS span_name,
    CAST(match(SpanName, '^(?i:http )?(?i:get|head|post|put|patch|delete|options)$') AS UInt8) AS bare_method,
    SpanAttributes['http.route'] AS route,
    coalesce(nullIf(SpanAttributes['http.request.method'], ''), SpanAttributes['http.method']) AS method,
    coalesce(nullIf(SpanAttributes['peer.service'], ''), nullIf(SpanAttributes['server.address'], ''), nullIf(SpanAttributes['net.peer.name'], ''),
             nullIf(SpanAttributes['db.system.name'], ''), nullIf(SpanAttributes['db.system'], ''), SpanAttributes['messaging.system']) AS peer,
    coalesce(nullIf(ResourceAttributes['service.instance.id'], ''), nullIf(ResourceAttributes['k8s.pod.name'], ''),
             nullIf(ResourceAttributes['container.id'], ''), ResourceAttributes['host.name']) AS instance,
    toUInt16OrZero(coalesce(nullIf(SpanAttributes['http.response.status_code'], ''), SpanAttributes['http.status_code'])) AS http_code,
    coalesce(nullIf(SpanAttributes['rpc.grpc.status_code'], ''), SpanAttributes['rpc.response.status_code']) AS grpc_code,
    coalesce(nullIf(arrayFirst((a, n) -> n = 'exception' AND a['exception.type'] != '', `Events.Attributes`, `Events.Name`)['exception.type'], ''),
             SpanAttributes['error.type']) AS exception,
    grpc_code IN ('7', '16', 'PERMISSION_DENIED', 'UNAUTHENTICATED') OR http_code IN (401, 403) AS refused,
    -- A server answers 4xx when the caller is at fault: counted apart (rejected), not as the server's error.
    CAST(StatusCode AS String) IN ('Error', 'STATUS_CODE_ERROR') OR (http_code >= 500 AND kind = 'Server')
        OR (kind = 'Server' AND grpc_code IN ('2', '4', '12', '13', '14', '15', 'UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS')) AS failed,
    NOT refused AND NOT failed AND http_code BETWEEN 400 AND 499 AS rejected,
    extract(TraceState, '(?:^|,)\\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})') AS threshold
FROM {table:Identifier}
WHERE Timestamp >= fromUnixTimestamp64Nano({from_ns:Int64} - {horizon_ns:Int64}) AND Timestamp < fromUnixTimestamp64Nano({to_ns:Int64} + {horizon_ns:Int64})
ORDER BY trace, span, start_ns, duration_ns, parent, own_role, service, kind, span_name, route, method, peer, instance, http_code, grpc_code, exception, failed, threshold
LIMIT 1 BY trace, span;

-- 2. A trace belongs to the window in which its earliest span starts; it touches the roles that its spans claim.
CREATE TEMPORARY TABLE period_traces ENGINE = Memory AS
SELECT
    trace,
    toInt64(intDiv(min(start_ns), {window_ns:Int64})) * intDiv({window_ns:Int64}, 1000000000) AS window_s,
    max(own_role = 1) AND max(own_role = 2) AS mixed,
    if(mixed, 0, max(own_role)) AS trace_role
FROM period_spans
GROUP BY trace
HAVING min(start_ns) >= {from_ns:Int64} AND min(start_ns) < {to_ns:Int64};

-- 3. The spans of these traces with their role: their own claim, else what their trace touches (a shared gateway above,
--    a shared database client below). A shared span of a mixed trace has no role.
CREATE TEMPORARY TABLE role_spans ENGINE = Memory AS
SELECT s.*, t.window_s AS window_s, t.mixed AS mixed, if(s.own_role > 0, s.own_role, t.trace_role) AS role
FROM period_spans AS s INNER JOIN period_traces AS t ON s.trace = t.trace;

-- 4. What its children cover of each span, whom it called and whether any of them failed. A server's span that another
--    host's clock puts outside its caller is moved by the least that makes it fit; others are cut to the parent.
--    Asynchronous frameworks hang an internal span and the calls made inside it on the same parent: a call that starts
--    while an internal sibling runs covers that sibling too, or the waiting would be taken for the sibling's own work.
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
        s.trace AS trace, s.span AS span, c.service AS child_service, c.kind AS child_kind, c.failed AS child_failed, toUInt8(0) AS is_child,
        s.start_ns AS low, s.start_ns + s.duration_ns AS high, c.start_ns AS placed,
        c.start_ns AS cut_start, least(high, c.start_ns + c.duration_ns) AS cut_end
    FROM (SELECT * FROM role_spans WHERE parent != 0 AND kind = 'Internal') AS s
    INNER JOIN (SELECT * FROM role_spans WHERE parent != 0 AND kind IN ('Client', 'Producer')) AS c
        ON s.trace = c.trace AND s.parent = c.parent AND s.service = c.service
    WHERE c.start_ns >= s.start_ns AND c.start_ns < s.start_ns + s.duration_ns
)
GROUP BY trace, span;

-- 5. The operation of each span, and its weight: a request counts once per operation however often it calls it, so each
--    of m spans weighs 1/m, in units of 1/720720 (the least common multiple of 1 to 16) to stay in whole numbers.
CREATE TEMPORARY TABLE operation_spans ENGINE = Memory AS
SELECT
    s.trace AS trace, s.span AS span, s.parent AS parent, s.window_s AS window_s, s.role AS role, s.mixed AS mixed, s.own_role AS own_role,
    s.service AS service, s.kind AS kind, s.instance AS instance, s.peer AS peer, s.threshold AS threshold,
    multiIf(
        s.kind = 'Server' AND s.route != '', if(s.method != '', concat(s.method, ' ', s.route), s.route),
        s.kind = 'Client' AND s.bare_method AND c.callee != '', concat(s.span_name, ' ', c.callee),
        s.kind = 'Client' AND s.bare_method AND s.peer != '', concat(s.span_name, ' ', s.peer),
        s.span_name) AS name,
    s.start_ns AS start_ns, s.duration_ns AS duration_ns,
    s.duration_ns - toInt64(c.covered_ns) AS exclusive_ns,
    NOT c.has_child AS childless,
    s.failed AS failed, s.failed AND NOT c.child_failed AS origin, s.refused AS refused, s.rejected AS rejected,
    multiIf(s.exception != '', s.exception, s.http_code >= 400, concat('HTTP ', toString(s.http_code)),
            s.grpc_code NOT IN ('', '0', 'OK'), concat('gRPC ', s.grpc_code), 'status Error') AS error_kind,
    toUInt64(intDiv(720720, count() OVER (PARTITION BY trace, role, service, kind, name))) AS weight
FROM role_spans AS s LEFT JOIN covered AS c ON s.trace = c.trace AND s.span = c.span;

-- 6. Facts: the above with the parent's operation. A span that names a parent nobody sent is an orphan.
CREATE TEMPORARY TABLE facts ENGINE = Memory AS
SELECT
    s.*,
    s.parent = 0 AS root,
    s.parent != 0 AND p.span = 0 AS orphan,
    p.service AS parent_service, p.kind AS parent_kind, p.name AS parent_name, p.role AS parent_role, p.weight AS parent_weight
FROM operation_spans AS s LEFT JOIN operation_spans AS p ON s.trace = p.trace AND s.parent = p.span
