"""Sensitive values, on the Python side: what an operator says about them, what was found, and which rules speak of it.

Finding and masking itself is in the decoder (`native/src/sensitive/`). Nothing in here ever sees a value: findings come masked.
"""
