"""Spans in, windows out: `sources` reads recordings, `store` is the port of a span store and `chdb_store` the embedded one.

What windows are is said in SQL (`sql/`), so that a ClickHouse server makes the same ones. Knows nothing of verdicts.
"""
