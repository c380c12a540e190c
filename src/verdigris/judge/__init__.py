"""Windows in, judgement out. Pure: no clock, disk, network or randomness; equal input gives equal bytes.

From the outside in: `judge` (the steps of a judgement) asks `streams` what to ask of `tallies` (windows regrouped),
`evidence` how strong each answer is (`betting` side by side, likelihood ratios from `divergence` apart), `assurance` what a
PASS rests on, `blame` whose fault it is, `effects` how large it is, and `sentences` how to say so.
"""
