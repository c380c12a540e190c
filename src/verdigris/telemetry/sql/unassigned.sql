-- What of the period is in no role's windows, and why.
SELECT * FROM {left_out:Identifier}
