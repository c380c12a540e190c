"""What the record of one rollout says about controls of PCI DSS, HIPAA, GDPR, NIST SP 800-53 and SOC 2.

`facts` reads entries and the evidence they name, `consent` what people signed; `answers` is what can be said of a control; `rules` and
`approval_rules` decide it; `catalogue` is the list of controls, each with its rule; `assess` asks all of them. `oscal`, `sarif` and
`summary` write what was found in formats of others. Everything is a pure function of a ledger: the same entries and evidence give the same
bytes. Nobody is called compliant here: that word is the auditor's.
"""
