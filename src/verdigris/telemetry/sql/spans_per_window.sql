-- How many spans start in each window: what a chunk of windows will cost.
SELECT toInt64(intDiv(toUnixTimestamp64Nano(Timestamp), {window_ns:Int64})) * intDiv({window_ns:Int64}, 1000000000) AS window_s, count() AS spans
FROM {table:Identifier}
GROUP BY window_s
ORDER BY window_s
