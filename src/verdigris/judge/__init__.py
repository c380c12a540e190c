"""Windows in, judgement out. Pure: no clock, disk, network or randomness; equal input gives equal bytes.

From the outside in: `judge` (the steps of a judgement) asks `streams` what to ask of `tallies` (windows regrouped),
`evidence` how strong each answer is (`betting` side by side, likelihood ratios from `divergence` apart), `findings` which of
them say that something is wrong, `assurance` what a PASS rests on, `blame` whose fault it is, `effects` how large it is, and
`sentences` how to say so.

The live judge does the same one window at a time: `reference` (what the baseline was like before, with its `dispersion`),
`live_streams` (the questions), `live_banks` (their evidence), `telemetry_trust` (can requests be seen at all), `merged` (windows added
up) and `live_findings`, all behind `live`. `fast_path` is the absolute guard beside it.
"""
