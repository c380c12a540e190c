"""Recordings scanned for sensitive values, from the files to the report: `scan` reads, `document` is the result, `terminal` and `sarif`
show it. Nothing is stored, and no value is shown."""
