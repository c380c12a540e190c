"""The record: an append-only log of signed statements that an auditor can verify without us.

Bytes in the middle, files at the edge. `merkle`, `tiles`, `note`, `checkpoint` and `proof_file` are arithmetic and formats by others
(RFC 6962, C2SP) and touch nothing; `storage` keeps bytes; `log` appends to it in one linear sequence. `statement` says what an entry is,
`signing` who signs it. The ledger knows no rollout and no judge.
"""
