-- How many spans start in each window: what a chunk of windows will cost.
SELECT toUnixTimestamp64Nano(Timestamp) - positiveModulo(toUnixTimestamp64Nano(Timestamp), {window_ns:Int64}) AS start_ns, count() AS spans
FROM {table:Identifier}
WHERE Timestamp >= fromUnixTimestamp64Nano({from_ns:Int64}) AND Timestamp <= fromUnixTimestamp64Nano({last_ns:Int64})
GROUP BY start_ns
ORDER BY start_ns
