"""The systems that the live cases roll out: real HTTP services in two versions, what they depend on, and their users.

`model` and `systems` are values; `host`, `outside` and `load` are programs that the case starts as separate processes. They
listen on loopback only, and stop when their standard input ends.
"""
