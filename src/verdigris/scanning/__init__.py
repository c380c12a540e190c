"""Recordings scanned for sensitive values, from the files to the report. Nothing is stored, and no value is shown.

`scan` reads, `document` is the result, `terminal` and `sarif` show it.
"""
