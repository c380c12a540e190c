"""One comparison from end to end: `recordings` (read and summarise), `compare` (judge), `assemble` (the `document`), and how
it is shown: `terminal` and `html`. The document is the contract; both reports draw nothing that is not in it.
"""
