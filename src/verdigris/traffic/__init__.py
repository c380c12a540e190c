"""Splits traffic between baseline and candidate: one file per data plane, one contract (`data_plane`) for all."""
