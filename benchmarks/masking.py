"""What masking costs: spans a second of one core with the default detectors, and without any, on clean telemetry.

    python benchmarks/masking.py [--seconds-per-case 4]

The body is that of `decode.py`: 1,000 spans with 8 attributes each and nothing sensitive in them. With and without are measured
alternating in this one process; the ratio is the median of the ratios of neighbouring runs. A second body has a card number, an
e-mail address, a URL with a query and an SQL statement on every tenth span.
"""

import argparse
import platform
import random
import sys
from functools import partial
from pathlib import Path
from typing import Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from verdigris._native import Masking, decode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.decode import SPANS, as_otlp_json, attribute, compare, processor, request

LEAKS = (
    ("payment.note", "paid with 4111 1111 1111 1111"),
    ("enduser.mail", "jane.doe@example.com"),
    ("url.full", "https://shop.example.com/find?q=jane&page=2"),
    ("db.query.text", "SELECT id FROM customers WHERE name = 'Jane Doe' AND age > 41"),
)


def leaking(body: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """The same body with something sensitive on every tenth span."""
    for span in body.resource_spans[0].scope_spans[0].spans[::10]:
        span.attributes.extend(attribute(key, value) for key, value in LEAKS)
    return body


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds-per-case", type=float, default=4.0)
    case_s = parser.parse_args().seconds_per_case

    strict, off = Masking(), Masking.off()
    clean, leaks = request(random.Random(0), SPANS), leaking(request(random.Random(0), SPANS))
    print(f"machine: {platform.node()}, {processor()}, Python {platform.python_version()}")
    print(f"{'body':<24} {'with spans/s':>14} {'without spans/s':>16} {'kept':>7} {'findings':>9}")
    for name, message in (("clean", clean), ("leaking", leaks)):
        bodies: list[tuple[Literal["protobuf", "json"], bytes]] = [
            ("protobuf", message.SerializeToString()),
            ("json", as_otlp_json(message)),
        ]
        for form, body in bodies:
            masked = partial(decode, body, format=form, masking=strict)
            found = sum(finding.count for finding in masked().findings)
            with_s, without_s, ratio = compare(masked, partial(decode, body, format=form, masking=off), case_s)
            print(f"{name + ', ' + form:<24} {SPANS / with_s:>14,.0f} {SPANS / without_s:>16,.0f} {ratio:>6.0%} {found:>9}")


if __name__ == "__main__":
    main()
