"""A witness: remembers the last head of other people's logs, and cosigns a new one only if it continues that (C2SP tlog-witness).

It belongs on a machine that the logs' operators cannot write: what it remembers is what shows that a log was cut off or rewritten. The
rules are `ledger.witness`; here they get a folder (`state`), a clock and a key (`app`) and an address (`serving`). It knows no rollout.
"""
