-- The columns that a batch must have: other people's tables may lack some of ours.
SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position
