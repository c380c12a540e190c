"""Asks for the optional dependencies of the demonstration before anything needs them."""

from importlib.util import find_spec

from verdigris.demo.errors import DemoExtraMissing

NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.common", "google.protobuf")


def require_opentelemetry() -> None:
    """Nothing, if the extra is installed.

    Raises: DemoExtraMissing: it is not; the message has the command.
    """
    missing = [name for name in NEEDED if not _is_installed(name)]
    if missing:
        msg = (
            f"the demo traces a real system with OpenTelemetry's SDK, which is not installed ({', '.join(missing)}). "
            "Install it with: pip install 'verdigris[demo]'"
        )
        raise DemoExtraMissing(msg)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False  # a parent package is missing
