"""Who may say what about a rollout, bound by signature to what it is said about.

The room owns the approval document, the people who may sign one, and the rules by which a gate opens. `ssh_wire`, `ssh_key` and
`ssh_signature` are OpenSSH's formats, so that nobody needs a new secret; `people` is who is known; `approval` is the document and its
proof; `gate` decides. All of these are values and touch nothing: time comes in as an argument. Only `ssh_agent` and `signing` reach for
a socket, a file or a program. The room knows no rollout, no ledger's storage and no command line.
"""
