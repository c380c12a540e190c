"""What the operator asks for. Pure.

`plan`, `identity`, `policy` and `objectives` are its values. `document` reads them from text: `yaml_text` (values and where each
stands), `scalars`, `settings` and `fields` (what each may be), `validation` (what does not fit, in sentences), `checks` (what must
agree). `example` and `reference` are for people.
"""
