"""Moves traffic step by step: the transition table (pure), the durable workflow that carries it out, and who may act."""
