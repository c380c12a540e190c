"""The command line: one module per command, `main` for what they share, `exit_codes` for what their exit says."""
