"""The controls that a rollout may give evidence for, by identifier and version of their framework, each with the rule that decides.

Titles are in our own words and short: they help to find a control, and say nothing that its framework does not say better. Sources: PCI DSS
v4.0.1 (June 2024); 45 CFR Part 164 with the amendments of 78 FR 5566 (2013); Regulation (EU) 2016/679; NIST SP 800-53 Revision 5; AICPA
Trust Services Criteria 2017. A control stays here when its framework has a new version; the new version is added beside it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from verdigris.compliance.approval_rules import moves_need_signatures, roles_are_separate, security_took_part, words_are_signed
from verdigris.compliance.rules import (
    Rule,
    anomalies_are_watched_for,
    change_is_controlled,
    change_is_evaluated,
    checked,
    clock_is_synchronised,
    entries_are_signed,
    entries_have_all_fields,
    every_act_is_recorded,
    foreign_weights_are_answered,
    impact_is_documented,
    leaks_are_answered,
    outage_of_the_log_is_recorded,
    outside,
    privileged_acts_are_recorded,
    returned_to_known_state,
    suspected_intrusion_is_answered,
    tested_before_it_was_final,
    times_are_exact,
)


@dataclass(frozen=True, slots=True)
class Edition:
    """A framework in one version. `key` is how controls of it are named here."""

    key: str
    name: str
    version: str


class Framework(Enum):
    """The frameworks."""

    PCI_DSS = Edition("PCI-DSS-4.0.1", "PCI DSS", "v4.0.1")
    HIPAA = Edition("HIPAA-45CFR", "HIPAA 45 CFR", "Part 164, as amended by 78 FR 5566 (2013)")
    GDPR = Edition("GDPR-2016-679", "GDPR", "Regulation (EU) 2016/679")
    NIST_800_53 = Edition("NIST-800-53r5", "NIST SP 800-53", "Revision 5")
    SOC_2 = Edition("SOC2-2017", "SOC 2", "Trust Services Criteria 2017")


@dataclass(frozen=True, slots=True)
class Control:
    """One control: its framework, its identifier there, what it is about in our words, and its rule."""

    framework: Framework
    identifier: str
    title: str
    rule: Rule

    @property
    def key(self) -> str:
        """Framework, version and identifier: `PCI-DSS-4.0.1:6.5.1`."""
        return f"{self.framework.value.key}:{self.identifier}"

    @property
    def oscal_id(self) -> str:
        """A token of OSCAL: as in NIST's own catalogue (`cm-3.2`), else made from the key (`pci-dss-4.0.1_6.5.1`)."""
        if self.framework is Framework.NIST_800_53:
            return self.identifier.lower().replace("(", ".").replace(")", "")
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.identifier).strip("-")
        return f"{self.framework.value.key.lower()}_{plain}"


PERSONAL = ("ssn", "nhs_number", "mrn", "email", "phone", "birth_date", "ip_address", "card", "iban")
"""Detectors of what says who somebody is, or is theirs alone. A provider's identifier (`npi`) is public."""

CREDENTIALS = ("jwt", "bearer", "basic", "private_key", "cookie", "service_key", "url_password", "secret", "pin", "card_code")
"""Detectors of what lets somebody in, or pay."""

_LISTS: Mapping[Framework, tuple[tuple[str, str, Rule], ...]] = MappingProxyType({
    Framework.PCI_DSS: (
        ("1.2.2", "Changes to network controls follow change control", outside("a candidate's weight is no network control's setting")),
        ("2.2.1", "Configuration standards for components", outside("no check compares the environments with a standard")),
        ("3.3.1.1", "No full track data is kept", outside("no detector looks for track data")),
        ("3.3.1.2", "No card verification code is kept", leaks_are_answered("card verification codes", "card_code")),
        ("3.3.1.3", "No PIN is kept", leaks_are_answered("PINs", "pin")),
        ("3.4.1", "Card numbers are masked when shown", leaks_are_answered("card numbers", "card")),
        ("3.5.1", "Card numbers are unreadable where they are kept", outside("where a candidate keeps card numbers is not in the entries")),
        ("6.2.3", "Software is reviewed before release", outside("an approval of a rollout is no review of its code")),
        ("6.3.1", "Vulnerabilities are identified and managed", checked("vulnerabilities")),
        ("6.3.2", "An inventory of own and third-party software", outside("no inventory of the candidate's software is in the entries")),
        ("6.3.3", "Known vulnerabilities are patched", outside("entries do not say which patches the candidate has")),
        ("6.5.1", "Changes to production are controlled", change_is_controlled),
        ("6.5.2", "Requirements hold after a significant change", outside("a rollout confirms behaviour, not PCI DSS requirements")),
        ("6.5.3", "Pre-production is apart from production", outside("a rollout sees production only")),
        ("6.5.4", "Roles are separate between production and pre-production", roles_are_separate),
        ("6.5.5", "No live card numbers in pre-production", outside("a rollout sees production only")),
        ("6.5.6", "Test data and accounts are gone before production", outside("no check of data or accounts is in the entries")),
        ("8.2.1", "Every user has an ID of their own", outside("entries name who acted; that nobody shares a name is not shown")),
        ("10.2.1", "Audit logs are on", every_act_is_recorded),
        ("10.2.2", "Audit logs have all fields of an event", entries_have_all_fields),
        ("10.3.1", "Few may read audit logs", outside("who may read the ledger is not in it")),
        ("10.3.2", "Audit logs cannot be modified by individuals", outside("the ledger shows modification, and does not prevent it")),
        ("10.3.3", "Audit logs are backed up promptly", outside("copies and witnesses of the ledger are not in a rollout's entries")),
        ("10.3.4", "Changes of audit logs are detected", entries_are_signed),
        ("10.4.1.1", "Audit logs are reviewed by automated means", outside("no review of the ledger is in a rollout's entries")),
        ("10.5.1", "Audit logs are kept for twelve months", outside("how long the record is kept is not in a rollout's entries")),
        ("10.6", "Clocks are synchronised", clock_is_synchronised),
        ("10.7.2", "Failures of critical controls are detected and answered", outage_of_the_log_is_recorded),
        ("11.5.2", "Critical files are watched for change", outside("no files are watched in a rollout")),
    ),
    Framework.HIPAA: (
        ("164.308(a)(1)(ii)(D)", "Records of system activity are reviewed", outside("no review of records is in the entries")),
        ("164.308(a)(3)", "Workforce has access as appropriate", outside("who may do what is not in the entries")),
        ("164.308(a)(4)", "Access to health information is authorised", outside("who may do what is not in the entries")),
        ("164.308(a)(6)(ii)", "Security incidents are answered and documented", suspected_intrusion_is_answered),
        ("164.308(a)(7)", "A contingency plan", outside("going back from a change is no plan for emergencies")),
        ("164.308(a)(8)", "Evaluation after an operational change", change_is_evaluated),
        ("164.312(a)(2)(i)", "Every user has an identifier", outside("entries name who acted; that nobody shares a name is not shown")),
        ("164.312(b)", "Activity is recorded and can be examined", every_act_is_recorded),
        ("164.312(c)(1)", "Health information is protected from alteration", outside("the ledger holds no health information")),
        ("164.312(c)(2)", "Health information is authenticated", outside("the ledger holds no health information")),
        ("164.312(d)", "Persons are authenticated", outside("how people are authenticated is not in the entries")),
        ("164.312(e)", "Transmission is secured", outside("no check of connections is in the entries")),
        ("164.316(b)(2)(i)", "Documentation is kept six years", outside("how long the record is kept is not in a rollout's entries")),
        ("164.502(b)", "Uses and disclosures are the minimum necessary", leaks_are_answered("patients' data", *PERSONAL)),
    ),
    Framework.GDPR: (
        ("5(1)(c)", "Data minimisation", leaks_are_answered("personal data", *PERSONAL)),
        ("5(1)(f)", "Integrity and confidentiality of personal data", outside("a rollout's entries do not speak of personal data")),
        ("5(2)", "Accountability for the principles", outside("a rollout's entries do not speak of personal data")),
        ("25", "Data protection by design and by default", outside("a rollout's entries do not speak of personal data")),
        ("30", "Records of processing activities", outside("a rollout is no processing activity")),
        ("32(1)(b)", "Lasting confidentiality, integrity, availability, resilience", leaks_are_answered(
            "personal data or credentials", *PERSONAL, *CREDENTIALS)),
        ("32(1)(d)", "Security measures are tested regularly", outside("behaviour of one change is judged, not security measures")),
        ("33(5)", "Breaches of personal data are documented", outside("entries do not say whether personal data were affected")),
        ("35(11)", "Impact assessments are reviewed when risk changes", outside("an impact assessment is not in the entries")),
    ),
    Framework.NIST_800_53: (
        ("AC-5", "Duties are separate", roles_are_separate),
        ("AC-6(9)", "Use of privileged functions is logged", privileged_acts_are_recorded),
        ("AU-2", "Which events are logged is decided", outside("which events an organisation wants logged is not in the entries")),
        ("AU-3", "Audit records have their content", entries_have_all_fields),
        ("AU-5", "Failures of logging are answered", outage_of_the_log_is_recorded),
        ("AU-6", "Audit records are reviewed and reported", outside("no review of records is in the entries")),
        ("AU-7", "Audit records can be reduced and reported", outside("what reports can be made is not in the entries")),
        ("AU-8", "Audit records have time stamps", times_are_exact),
        ("AU-9", "Audit information is protected", outside("who may reach the ledger's files is not in the entries")),
        ("AU-9(2)", "Audit records are kept on another system", outside("copies and witnesses of the ledger are not in its entries")),
        ("AU-9(3)", "Audit information is protected by cryptography", entries_are_signed),
        ("AU-9(4)", "Few privileged users manage logging", outside("who may manage the guard is not in the entries")),
        ("AU-10", "Nobody can deny what they did", words_are_signed),
        ("AU-11", "Audit records are retained", outside("how long the record is kept is not in a rollout's entries")),
        ("AU-12", "Audit records are generated", every_act_is_recorded),
        ("CA-2", "Controls are assessed", outside("a rollout judges a change, not controls")),
        ("CA-5", "Plan of action and milestones", outside("a draft can be made from a rollout; whether anybody works on it is not shown")),
        ("CA-7", "Controls are monitored continuously", outside("a rollout watches a change, not controls")),
        ("CM-2", "A baseline configuration is kept", outside("the environments' configuration is not in the entries")),
        ("CM-2(3)", "Earlier configurations are kept for going back", returned_to_known_state),
        ("CM-3", "Configuration changes are controlled", change_is_controlled),
        ("CM-3(1)", "Unapproved changes are prevented automatically", moves_need_signatures),
        ("CM-3(2)", "Changes are tested before they are final", tested_before_it_was_final),
        ("CM-3(4)", "Security and privacy people take part", security_took_part),
        ("CM-4", "Impact of changes is analysed", impact_is_documented),
        ("CM-4(1)", "Changes are analysed in a separate test environment", outside("a rollout sees production only")),
        ("CM-4(2)", "Controls are verified after changes", outside("a rollout judges behaviour, not controls")),
        ("CM-5", "Access to make changes is restricted", moves_need_signatures),
        ("CM-5(1)", "Restriction of changes is enforced and recorded", outside("refused attempts are not in a rollout's entries")),
        ("CM-6", "Configuration settings are set and watched", outside("the environments' configuration is not in the entries")),
        ("CM-6(2)", "Unauthorised changes are answered", foreign_weights_are_answered),
        ("CM-8", "Components are inventoried", outside("no inventory is in the entries")),
        ("CP-10", "Recovery to a known state", returned_to_known_state),
        ("IA-2", "Users are identified and authenticated", outside("how people are authenticated is not in the entries")),
        ("IR-4", "Incidents are handled", suspected_intrusion_is_answered),
        ("IR-5", "Incidents are tracked", suspected_intrusion_is_answered),
        ("IR-6", "Incidents are reported", outside("who was told of an incident is not in the entries")),
        ("RA-5", "Vulnerabilities are scanned for", checked("vulnerabilities")),
        ("SA-10", "Developers manage configuration", outside("how the candidate was made is not in the entries")),
        ("SA-11", "Developers test", outside("how the candidate was tested before is not in the entries")),
        ("SI-2", "Flaws are remediated", outside("whether the change corrects a flaw is not in the entries as a fact")),
        ("SI-4", "Systems are monitored for attack", outside("the judge looks for what got worse, not for attacks")),
        ("SI-7", "Integrity of software and information", outside("the candidate's software is not verified in a rollout")),
        ("SI-7(1)", "Integrity is checked", outside("the candidate's software is not verified in a rollout")),
        ("SI-7(7)", "Detected changes are part of incident response", outside("the candidate's software is not verified in a rollout")),
        ("SI-12", "Information is managed and retained", outside("how long the record is kept is not in a rollout's entries")),
        ("SI-19", "Personal data are removed from data sets", outside("no scan of the telemetry is in the entries")),
    ),
    Framework.SOC_2: (
        ("CC3.4", "Changes that could matter to internal control are assessed", outside("risk of the organisation is not in the entries")),
        ("CC6.1", "Logical access is restricted", outside("who may do what is not in the entries")),
        ("CC6.8", "Unauthorised software is prevented or found", outside("the candidate's software is not verified in a rollout")),
        ("CC7.1", "New vulnerabilities from changes are found", checked("vulnerabilities")),
        ("CC7.2", "Systems are monitored for anomalies", anomalies_are_watched_for),
        ("CC7.3", "Security events are evaluated", outside("whether people evaluated an event is not in the entries")),
        ("CC7.4", "Security incidents are answered", suspected_intrusion_is_answered),
        ("CC7.5", "Recovery from security incidents", suspected_intrusion_is_answered),
        ("CC8.1", "Changes are authorised, tested, documented", change_is_controlled),
        ("PI1.5", "Inputs and outputs are stored completely and on time", outside("the systems' own data are not in the entries")),
    ),
})  # fmt: skip

CATALOGUE: tuple[Control, ...] = tuple(Control(framework, *row) for framework, rows in _LISTS.items() for row in rows)
"""All controls, in the order of their frameworks."""

_BY_KEY = {control.key.lower(): control for control in CATALOGUE}


def control_of(key: str) -> Control | None:
    """A control by its key, in upper or lower case; None where there is none."""
    return _BY_KEY.get(key.strip().lower())
