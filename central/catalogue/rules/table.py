"""All rules, by number."""

from __future__ import annotations

from typing import Final

from central.catalogue.rules import around, data, text
from central.catalogue.rules.rule import Needs, Rule, Severity

_T, _C, _D = Needs.TEXT, Needs.CATALOGUE, Needs.DATA
_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

RULES: Final[tuple[Rule, ...]] = (
    Rule("V01", _T, _E, "required fields", "fill it in", text.required_fields),
    Rule("V02", _T, _E, "code and class", "class code / number, as the guide counts", text.code_pattern),
    Rule("V03", _C, _E, "code belongs to one provider", "take another number", around.code_taken),
    Rule("V04", _T, _E, "credit code", "copy it from the certificate of registration", text.credit_code),
    Rule("V05", _C, _E, "names told apart", "say in the name what differs", around.same_name),
    Rule("V06", _T, _W, "no system's name", "name what the data is about", text.system_name),
    Rule("V07", _T, _E, "format and mode agree", "change one of them", text.format_and_mode),
    Rule("V08", _T, _E, "conditional has a condition", "say the condition", text.conditions),
    Rule("V09", _T, _E, "not shared has a basis", "name the law and its article", text.legal_basis),
    Rule("V09", _C, _E, "not shared is verified", "catalogue verify CODE", text.verified),
    Rule("V10", _T, _E, "items", "at least one, each with its own name", text.items),
    Rule("V11", _D, _E, "items exist in the table", "change the entry, or the table", data.items_exist),
    Rule("V12", _D, _I, "columns outside the catalogue", "nothing, unless needed", data.columns_outside),
    Rule("V13", _T, _E, "key declared", "mark the items that are the key", text.key_declared),
    Rule("V13", _D, _E, "key unique", "mark the items that really are the key", data.key_unique),
    Rule("V14", _T, _E, "cycle and limit", "give the limit that goes with the cycle", text.cycle_and_limit),
    Rule("V15", _D, _E, "updated in time", "exchange-central explain NODE", data.updated),
    Rule("V16", _D, _E, "interface answers", "connect the source and copy it", data.interface_answers),
    Rule(
        "V16",
        _C,
        _E,
        "document is of this contract",
        "make it anew: catalogue document",
        data.document_current,
    ),
    Rule("V17", _T, _E, "dates", "write CCYY-MM-DD, not in the future", text.dates),
    Rule("V18", _T, _E, "survey numbers", "count again", text.survey_numbers),
    Rule("V19", _C, _E, "related codes exist", "correct the code, or leave it out", around.related_codes),
    Rule("V20", _T, _E, "not secret", "keep it off this platform", text.secret),
    Rule("V21", _C, _E, "offices filled", "exchange-central person add", around.offices),
    Rule("V22", _T, _E, "seven elements", "fill it in", text.seven_elements),
    Rule("V23", _T, _W, "personal data", "make it conditional, or say why not", text.personal_data),
    Rule("V24", _C, _W, "filed with the province", "catalogue filed CODE NUMBER", around.filed),
    Rule("V25", _D, _W, "deletes as declared", "compare more often, or mark the entry", data.deletes_seen),
    Rule("V26", _T, _E, "customised product", "name its sources, or another mode", text.customised),
)


def rules_needing(*needs: Needs) -> tuple[Rule, ...]:
    """Those that look at nothing but *needs*."""
    return tuple(rule for rule in RULES if rule.needs in needs)
