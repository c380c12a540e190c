"""Verdigris guards blue-green rollouts: it judges a candidate against its baseline from distributed traces."""
