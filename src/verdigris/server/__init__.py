"""The guard as a process: its settings, the HTTP API that people and programs use, and a client of it."""
