"""Charlson comorbidity points, with the weights that LACE uses.

Groups by ICD-10-CM prefix after Quan et al., Med Care 2005; weights as in van
Walraven et al., CMAJ 2010 (PMC2845681), appendix. A few SNOMED CT codes of the
same groups are read too. Codes are facts of the classification; no text of it is
copied here.
"""

from collections.abc import Iterable
from functools import lru_cache

_WEIGHTS = {
    "prior MI": 1,
    "cerebrovascular disease": 1,
    "peripheral vascular disease": 1,
    "diabetes": 1,
    "heart failure": 2,
    "diabetes with end-organ damage": 2,
    "chronic pulmonary disease": 2,
    "mild liver or renal disease": 2,
    "cancer": 2,
    "dementia": 3,
    "connective tissue disease": 3,
    "AIDS": 4,
    "moderate or severe liver or renal disease": 4,
    "metastatic cancer": 6,
}

# The milder group is not counted beside the graver one.
_GRAVER = {
    "diabetes": "diabetes with end-organ damage",
    "mild liver or renal disease": "moderate or severe liver or renal disease",
    "cancer": "metastatic cancer",
}

_PREFIXES = {
    "prior MI": "I21 I22 I252",
    "heart failure": ("I099 I110 I130 I132 I255 I420 I425 I426 I427 I428 I429 I43 I50 P290"),
    "peripheral vascular disease": (
        "I70 I71 I731 I738 I739 I771 I790 I792 K551 K558 K559 Z958 Z959"
    ),
    "cerebrovascular disease": ("G45 G46 H340 I60 I61 I62 I63 I64 I65 I66 I67 I68 I69"),
    "dementia": "F00 F01 F02 F03 F051 G30 G311",
    "chronic pulmonary disease": (
        "I278 I279 J40 J41 J42 J43 J44 J45 J46 J47 J60 J61 J62 J63 J64 J65 J66 J67 J684 J701 J703"
    ),
    "connective tissue disease": "M05 M06 M315 M32 M33 M34 M351 M353 M360",
    "diabetes": (
        "E080 E081 E086 E088 E089 E090 E091 E096 E098 E099 E100 E101 E106 E108 E109 "
        "E110 E111 E116 E118 E119 E130 E131 E136 E138 E139 E140 E141 E146 E148 E149"
    ),
    "diabetes with end-organ damage": (
        "E082 E083 E084 E085 E087 E092 E093 E094 E095 E097 E102 E103 E104 E105 E107 "
        "E112 E113 E114 E115 E117 E132 E133 E134 E135 E137 E142 E143 E144 E145 E147"
    ),
    "mild liver or renal disease": (
        "B18 K700 K701 K702 K703 K709 K713 K714 K715 K717 K73 K74 K760 K762 K763 K764 "
        "K768 K769 Z944 N181 N182 N183"
    ),
    "moderate or severe liver or renal disease": (
        "I850 I859 I864 I982 K704 K711 K721 K729 K765 K766 K767 I120 I131 N032 N033 N034 "
        "N035 N036 N037 N052 N053 N054 N055 N056 N057 N184 N185 N186 N189 N19 N250 Z490 "
        "Z491 Z492 Z940 Z992"
    ),
    "cancer": (
        "C0 C10 C11 C12 C13 C14 C15 C16 C17 C18 C19 C20 C21 C22 C23 C24 C25 C26 C30 C31 "
        "C32 C33 C34 C37 C38 C39 C40 C41 C43 C45 C46 C47 C48 C49 C50 C51 C52 C53 C54 C55 "
        "C56 C57 C58 C60 C61 C62 C63 C64 C65 C66 C67 C68 C69 C70 C71 C72 C73 C74 C75 C76 "
        "C81 C82 C83 C84 C85 C88 C90 C91 C92 C93 C94 C95 C96 C97"
    ),
    "metastatic cancer": "C77 C78 C79 C80",
    "AIDS": "B20 B21 B22 B24",
}

_SNOMED = {
    "22298006": "prior MI",
    "399211009": "prior MI",
    "84114007": "heart failure",
    "42343007": "heart failure",
    "88805009": "heart failure",
    "230690007": "cerebrovascular disease",
    "13645005": "chronic pulmonary disease",
    "195967001": "chronic pulmonary disease",
    "44054006": "diabetes",
    "46635009": "diabetes",
    "52448006": "dementia",
    "69896004": "connective tissue disease",
}

_BY_PREFIX = {prefix: group for group, prefixes in _PREFIXES.items() for prefix in prefixes.split()}


@lru_cache(maxsize=4096)
def group(system: str, code: str) -> str | None:
    """The Charlson group of a diagnosis code, None where it is in none.

    >>> group("http://hl7.org/fhir/sid/icd-10-cm", "I50.23")
    'heart failure'
    >>> group("http://hl7.org/fhir/sid/icd-10-cm", "R06.02") is None
    True
    """
    if "snomed" in system:
        return _SNOMED.get(code)
    plain = code.replace(".", "").upper()
    for length in (4, 3, 2):
        found = _BY_PREFIX.get(plain[:length])
        if found is not None:
            return found
    return None


def points(codes: Iterable[tuple[str, str]]) -> int:
    """The Charlson total of (system, code) pairs; each group counts once.

    >>> icd = "http://hl7.org/fhir/sid/icd-10-cm"
    >>> points([(icd, "I50.23"), (icd, "E11.9"), (icd, "E11.9")])
    3
    """
    groups = {found for system, code in codes if (found := group(system, code)) is not None}
    return sum(_WEIGHTS[name] for name in groups if _GRAVER.get(name) not in groups)
