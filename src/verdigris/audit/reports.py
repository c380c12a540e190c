"""The report of one rollout, from a record, in both forms."""

import importlib
from collections.abc import Sequence

from verdigris.audit.erased import erased_by
from verdigris.audit.record import Entry, Record
from verdigris.audit.report import Control, Report
from verdigris.audit.report_html import html_report
from verdigris.audit.report_sections import report_of
from verdigris.audit.story import Evidence, tell
from verdigris.audit.traffic import unexplained
from verdigris.ledger.evidence import EvidenceDamaged

COMPLIANCE = "verdigris.compliance"


def made_report(record: Record, entries: Sequence[Entry]) -> Report:
    """What the report says. Raises: NoRecord."""
    ledger, as_of_unix_s = record.reviews()
    told = tell(
        entries, record.evidence, checkpoint=str(record.head), keys=[str(key) for key in record.keys], log_size=record.checkpoint.size,
        erased=erased_by(record.erasures()),
        moved=[one for one in unexplained(record.entries()) if one.rollout == entries[0].statement.rollout],
        ledger=ledger, as_of_unix_s=as_of_unix_s,
    )  # fmt: skip
    return report_of(told, controls_told(entries, record.evidence, ledger, as_of_unix_s))


def as_html(report: Report) -> bytes:
    """The HTML file."""
    return html_report(report).encode()


def as_pdf(report: Report) -> bytes:
    """The PDF file."""
    # What makes PDFs takes long to import, and only this needs it.
    from verdigris.audit.report_pdf import pdf_report  # noqa: PLC0415

    return pdf_report(report)


def report_files(record: Record, entries: Sequence[Entry]) -> dict[str, bytes]:
    """Both files, by name. The same record gives the same bytes. Raises: NoRecord."""
    report = made_report(record, entries)
    return {"report.html": as_html(report), "report.pdf": as_pdf(report)}


def controls_told(
    entries: Sequence[Entry], evidence: Evidence, ledger: Sequence[Entry] = (), as_of_unix_s: float | None = None
) -> tuple[Control, ...]:
    """What the rollout shows of controls; nothing where this installation has no catalogue of them."""
    try:
        assessment = importlib.import_module(f"{COMPLIANCE}.assess")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(COMPLIANCE):
            raise
        return ()

    def kept(digest: str) -> bytes | None:
        """A damaged blob shows nothing; that it is damaged stands in the report already."""
        try:
            return evidence(digest)
        except EvidenceDamaged:
            return None

    return tuple(
        Control(
            one.control.key, one.control.title, one.answer.state.value, one.answer.why, tuple(one.answer.entries), tuple(one.answer.lacking)
        )
        for one in assessment.assess(entries, kept, ledger=ledger, as_of_unix_s=as_of_unix_s).controls
    )
