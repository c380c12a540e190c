"""The tree of everything Verdigris raises on purpose. Each error says what went wrong, what is safe now and what to do.

The first level; `…` has further kinds below it, in the same module or room.

VerdigrisError
├── plan        InvalidIdentity, InvalidPolicy, InvalidPlan, MissingSecret
├── sensitive   InvalidDetectors
├── judge       NothingToLearn, InvalidReference, OutOfOrder
├── telemetry   StoreError …, SourceError …, ExportRefused …, ListenerFailed, TlsUnusable, UnknownSender, TooManyWatches
├── traffic     TrafficError …, InvalidToken
├── ledger      LedgerError …
├── approvals   ApprovalError …
├── rollout     CannotMask, IllegalTransition, UnknownFormat, CannotResume, RecordsUnavailable, Superseded, NotEntered, RolloutError …
├── server      CannotStart, CannotListen, InvalidActors, InvalidSettings, LedgerNotSetUp, CannotVerify
├── audit       NoRecord, NoSuchEntry, CannotExport
├── database    CannotBeRead
├── witness     CannotServe, StateUnusable
├── comparison  AmbiguousIdentity, UnreadableInput
├── demo        DemoError …
└── cli         CannotWrite, NoDetectors, NoSuchFile, Stopped, UnreadableFile, WrongLifetime
"""


class VerdigrisError(Exception):
    """Base of all errors that Verdigris raises on purpose."""
