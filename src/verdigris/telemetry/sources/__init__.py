"""Recordings on disk become record batches: `expand` finds them, `Reading` reads them.

From the outside in: `inputs` (which files) → `unpack` (gzip, zstd, xz) → `recognise` (how it is framed) → `lines`,
`json_elements`, `protobuf_frames` (parts of bounded size) → `documents` (what a JSON value is) → `jaeger`, `zipkin`
(translation to OTLP) → `bodies` (the native decoder) → `batches` (large batches); `reading` connects them and
`problems` keeps account. Everything streams, everything is bounded, and nothing is skipped in silence.

Knows nothing of stores, roles, windows or screens.
"""

from verdigris.telemetry.sources.errors import (
    AlreadyRead,
    InputNotFound,
    NothingToRead,
    SourceError,
)
from verdigris.telemetry.sources.inputs import Source, expand, file_source
from verdigris.telemetry.sources.parts import PART_BYTES
from verdigris.telemetry.sources.problems import KEPT_PROBLEMS, Problem, ReadCounts
from verdigris.telemetry.sources.reading import Reading
from verdigris.telemetry.sources.recognise import READABLE

__all__ = [
    "KEPT_PROBLEMS",
    "PART_BYTES",
    "READABLE",
    "AlreadyRead",
    "InputNotFound",
    "NothingToRead",
    "Problem",
    "ReadCounts",
    "Reading",
    "Source",
    "SourceError",
    "expand",
    "file_source",
]
