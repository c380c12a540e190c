-- How many spans start in each window: what a chunk of windows will cost.
SELECT toUnixTimestamp64Nano(Timestamp) - positiveModulo(toUnixTimestamp64Nano(Timestamp), {window_ns:Int64}) AS start_ns, count() AS spans
FROM {table:Identifier}
GROUP BY start_ns
ORDER BY start_ns
