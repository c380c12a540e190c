-- Spans of the period that speak for neither role, and traces that touch both.
SELECT countIf(role = 0 AND NOT mixed) AS spans, countIf(role = 0 AND mixed) AS shared_spans_of_mixed_traces, uniqExactIf(trace, mixed) AS mixed_traces
FROM facts
