-- What is forgotten together, and when its spans start. Answered from what each part says of itself, without reading spans.
SELECT _partition_id AS slice, toUnixTimestamp64Nano(min(Timestamp)) AS first_ns, toUnixTimestamp64Nano(max(Timestamp)) AS last_ns, count() AS spans
FROM {table:Identifier}
GROUP BY slice
ORDER BY first_ns, slice
