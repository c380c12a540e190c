"""A small hospital's appointment system: three real HTTP services that trace themselves, and an insurer outside.

    load ──► portal ──► scheduling ──► eligibility ──► insurer-api.example (no telemetry)
                └───────────────────────►┘

`deployment` wires one role of it; everything listens on loopback only, on ports that the kernel chooses. How the
candidate differs stands in one place, `behaviour`. OpenTelemetry is an optional extra: `behaviour`, `chance`, `load`
and `drive` do without it; import the rest after asking for it (`verdigris.demo.extra`).
"""
