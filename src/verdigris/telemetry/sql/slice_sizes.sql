-- Bytes on disk by slice, those included that wait to be removed.
SELECT partition_id AS slice, sum(bytes_on_disk) AS size_bytes
FROM system.parts
WHERE database = currentDatabase() AND table = {table:String}
GROUP BY slice
