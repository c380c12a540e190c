"""What an auditor does offline, with nothing of ours running: verify a ledger, a proof or an evidence pack, and be told what stays open.

`verify` is one file that imports the standard library and `cryptography` and nothing of Verdigris, because a verifier that shared code
with the writer would share its mistakes; a copy of it travels in every evidence pack. It knows the formats (C2SP, RFC 6962, DSSE,
in-toto, RFC 8785) from their specifications, and what an entry may say from a table of its own that a test holds against the writer's.
"""
