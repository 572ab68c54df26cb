"""Loading: layers, and faults that say where and what to write."""

import jsonschema
import pytest

from segue.mapping.differences import differences
from segue.mapping.language import KINDS, json_schema
from segue.mapping.load import load
from segue.mapping.source import MappingError, read
from tests.unit.mapping.samples import HOSPA, MAPPINGS, PID, core, message, segment


def write(folder, **files):
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def faults_of(tmp_path, **files):
    write(tmp_path / "sites" / "north", **files)
    with pytest.raises(MappingError) as caught:
        load(MAPPINGS / "core", [tmp_path], "north")
    return [str(fault) for fault in caught.value.faults]


def test_an_unknown_datatype_is_named_with_file_line_and_a_suggestion(tmp_path):
    text = "rules:\n  visit-number:\n    { each: PV1-19, to: identifier, as: CXX, because: x }\n"
    assert faults_of(tmp_path, segments__PV1_Encounter=text) == [
        "mappings/sites/north/segments/PV1_Encounter.yaml:2  PV1_Encounter.visit-number: "
        "PV1-19 as CXX: no datatype 'CXX'. Did you mean 'CX'?"
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{ from: PV1-18, to: type, thru: X }", "thru: unknown key. Did you mean 'through'?"),
        ("{ from: PV1-18, to: type, through: HL70004_Act }", "Did you mean 'HL70004_ActCode'?"),
        ("{ from: PV1-18, to: type, using: paded }", "Did you mean 'padded'?"),
        ("{ from: PV1-18, to: type, as: CX, using: padded }", "exclude each other"),
        ("{ from: PV1.18, to: type }", "local: PV1.18 is no field. Did you mean 'PV1-18'?"),
        ("{ each: PV1-18, from: PV1-18, to: type }", "either `from:` or `each:`"),
        ("{ from: PV1-18 }", "`to:` needs an element"),
        ("{ from: PV1-18, to: type, as: CX, with: { typ: VN } }", "Did you mean 'type'?"),
        ("{ from: PV1-18, to: participant, using: participant }", "needs the option 'type'"),
        ("{ from: PV1-18, to: status, as: ST, unknown: omit }", "goes with `through:`"),
        ("{ from: PV1-18, to: 'value[x]', as: ST }", "only these functions choose a type"),
        (
            "{ from: PID-8, to: status, through: HL70001_AdministrativeGender, unknown: keep }",
            "required binding",
        ),
        ("{ from: PV1-18, to: status, null: forget }", "none of delete, keep"),
    ],
)
def test_each_fault_of_a_rule_has_its_line(tmp_path, rule, says):
    (fault,) = faults_of(tmp_path, segments__PV1_Encounter=f"rules:\n  local: {rule}\nbecause: x\n")
    assert fault.startswith("mappings/sites/north/segments/PV1_Encounter.yaml:2  ")
    assert says in fault


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"segments__PV1_Encounter": "rules:\n  class: { off: yes, because: x }\n"},
            "segments/PV1_Encounter.yaml:2  class: off: expected here: true or false",
        ),
        (
            {"segments__PV1_Encounter": "rules:\n  class: PV1-2\n"},
            "segments/PV1_Encounter.yaml:2  class: expected here: keys and values",
        ),
        (
            {"segments__PV1_Encounter": "because: x\nrules:\n  a: { from: PV1-2, to: clas }\n"},
            "segments/PV1_Encounter.yaml:3  PV1_Encounter.a: to clas: Encounter has no element "
            "clas. Did you mean 'class'?",
        ),
        (
            {"segments__PV1_Encounter": "because: x\nrules:\n  a: { from: PV1-2, to: class.a }\n"},
            "segments/PV1_Encounter.yaml:3  PV1_Encounter.a: to class.a: Coding has no element",
        ),
        (
            {"segments__PV1_Encounter": "because: x\nrules:\n  a: { from: PVI-2, to: class }\n"},
            "segments/PV1_Encounter.yaml:3  PVI-2: no segment PVI. Did you mean",
        ),
        (
            {
                "segments__PV1_Encounter": "because: x\nrules:\n  a: { from: PV1-2, to: class, "
                "through: HL70002_MaritalStatus }\n"
            },
            "segments/PV1_Encounter.yaml:3  PV1_Encounter.a: to class: it is of type Coding, and "
            "HL70002_MaritalStatus gives CodeableConcept.",
        ),
        (
            {"segments__PV1_Encounter": "because: x\nrules: { a: { from: PV1-9, to: type } }\n"},
            "2  PV1_Encounter.a: to type: type is a list: read the field with `each:`.",
        ),
        (
            {"segments__PV1_Encounter": "because: x\nrules: { a: { each: PV1-9, to: status } }\n"},
            "2  PV1_Encounter.a: to status: status holds one value: read the field with `from:`.",
        ),
        ({"segments__PV1_Encounter": "needs: [clas]\nbecause: x\n"}, "1  needs: Encounter has no"),
        ({"segments__PV1_Encounter": "key: [PV12]\nbecause: x\n"}, "1  key: PV12 is no field."),
        ({"segments__PV1_Encountr": "rules: {}\n"}, "Did you mean 'PV1_Encounter'?"),
        ({"segments__ZZZ_X": "maps: ZZZ -> Encountr\n"}, "1  maps: R4 has no resource Encountr."),
        ({"tables__X": "codes: { A: B }\n"}, "tables/X.yaml:1  the table X of a site: say why"),
        ({"tables__X": "because: x\ncodes:\n  A: [B]\n"}, "3  A: expected here: a text or"),
        (
            {"tables__X": "because: x\ncodes:\n  A: { cod: B, code: C }\n"},
            "3  A: cod: unknown key.",
        ),
        ({"tables__X": "because: x\ncodes: &a\n  A: *a\n"}, "an alias holds itself"),
        ({"tables__X": "because: x\n\tcodes: {}\n"}, "Indent with blanks, not with a tab."),
        ({"tables__X": "because: x\ncodes:{}\nsystem: y\n"}, "`codes: {}`"),
        ({"tables__X": ""}, "tables/X.yaml:1  the file says nothing. Keys: because, codes"),
        ({"table__X": "because: x\n"}, "is not read: no folder table/. Did you mean 'tables'?"),
        ({"X": "because: x\n"}, "X.yaml:1  is not read here: it belongs into one of"),
        ({"identity": "visit: [PV1-50]\n"}, "the identity of a site: say why with `because:`"),
        ({"identity": "because: x\nvisit: [PV150, PV1.50]\n"}, "visit: PV1.50 is no field. Did"),
        ({"identity": "because: x\nauthorities: [a]\n"}, "2  authorities: expected here: keys"),
        ({"messages__ADT": "message: SIU\nbecause: x\n"}, "1  message: the file is ADT.yaml"),
        (
            {"messages__ADT": "because: x\nsegments:\n  visitt: { off: true }\n"},
            "messages/ADT.yaml:3  visitt: nothing to switch off. Did you mean 'visit'?",
        ),
        ({"messages__ADT": "structural: [ZPV-1]\n"}, "the message ADT of a site: say why"),
    ],
)
def test_each_fault_of_a_file_says_where_it_is_and_what_to_write(tmp_path, files, says):
    found = faults_of(tmp_path, **files)
    assert all(one.startswith("mappings/sites/north/") for one in found)
    assert says in found[-1]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path):
    folder = tmp_path / "sites" / "north" / "tables"
    folder.mkdir(parents=True)
    (folder / "A.yaml").write_bytes(b"because: x\ncodes:\n  A: d\xe9but\n")
    (folder / "B.yaml").symlink_to("nowhere.yaml")
    (folder / "C.yml").write_text("because: x\n")
    (folder / ".#D.yaml").symlink_to("nowhere.yaml")
    assert faults_of(tmp_path) == [
        "mappings/sites/north/tables/A.yaml:3  no UTF-8 text. Save the file as UTF-8.",
        "mappings/sites/north/tables/B.yaml:1  cannot be read: No such file or directory",
        "mappings/sites/north/tables/C.yml:1  is not read: name it .yaml",
    ]


def test_a_table_that_cannot_be_used_is_not_said_to_be_missing(tmp_path):
    (fault,) = faults_of(
        tmp_path,
        tables__Own="because: x\ncods: {}\n",
        segments__PV1_Encounter="because: x\n"
        "rules: { a: { from: PV1-9, to: type, through: Own } }\n",
    )
    assert fault.startswith("mappings/sites/north/tables/Own.yaml:2  cods: unknown key.")


def test_what_probably_is_not_meant_so_is_a_doubt(tmp_path):
    write(
        tmp_path / "sites" / "north",
        site="because: x\nsnapshot: [DGX]\n",
        segments__PV1_Encounter="because: x\nrules:\n"
        "  adm-source: { from: PV1-114, to: hospitalization.admitSource }\n"
        "  z: { from: ZXX-1, to: details.clas }\n",
        segments__ZPV_Encounter="maps: ZPV -> Encounter\nbecause: x\n",
        tables__HL70004_Act="because: x\ncodes: { A: B }\n",
        tables__Own="because: x\ngives: Coding\ncodes:\n  A: B\n",
    )
    doubts = [str(one) for one in load(MAPPINGS / "core", [tmp_path], "north").doubts]
    texts = "\n".join(sorted(one.removeprefix("mappings/sites/north/") for one in doubts))
    assert texts == (
        "segments/PV1_Encounter.yaml:3  PV1-114: PV1 has 54 fields in the standard\n"
        "segments/PV1_Encounter.yaml:3  PV1_Encounter.adm-source: fills "
        "hospitalization.admitSource, as the core's rule 'admit-source' does. "
        "Name it 'admit-source' to take its place.\n"
        "segments/PV1_Encounter.yaml:4  PV1_Encounter.z: nothing reads details.clas. "
        "Did you mean 'details.class'?\n"
        "segments/PV1_Encounter.yaml:4  ZXX-1: no message places ZXX\n"
        "segments/ZPV_Encounter.yaml:1  ZPV_Encounter: no message uses it: add it to a placement "
        "in messages/\n"
        "site.yaml:2  snapshot: no segment DGX. Did you mean 'DRG'?\n"
        "tables/HL70004_Act.yaml:1  HL70004_Act: no rule goes through this table. "
        "Did you mean 'HL70004_ActCode'?\n"
        "tables/Own.yaml:1  Own: no rule goes through this table.\n"
        "tables/Own.yaml:4  Own.A: a code without a `system:`"
    )
    assert core().doubts == []


def test_a_difference_is_told_of_whatever_is_otherwise(tmp_path):
    write(
        tmp_path / "sites" / "north",
        segments__DG1_Condition="because: a\ndefaults: { recordedDate: 2026 }\n",
        tables__HL70004_ActCode="because: b\ndefault: AMB\n",
        messages__ADT="because: c\nstructural: [ZPV-1]\nsegments:\n  accident: { off: true }\n",
    )
    found = differences(core(), load(MAPPINGS / "core", [tmp_path], "north"))
    assert [(one.what, one.name, one.change, one.because) for one in found] == [
        ("map", "DG1_Condition.defaults", "changed", "a"),
        ("placement", "ADT.accident", "off", "c"),
        ("structural", "ADT.ZPV-1", "added", "c"),
        ("table", "HL70004_ActCode.default", "changed", "b"),
    ]


def test_all_faults_of_all_files_come_at_once(tmp_path):
    found = faults_of(
        tmp_path,
        segments__PV1_Encounter="rules:\n  class: { from: PV1-18, to: class }\n",
        tables__HL70004_ActCode="codes: { OBS: OBSENC }\n",
        tables__Other="sytem: x\n",
        messages__ADT="because: x\nsegments:\n  z: { segment: ZCL, use: [ZCL_Encounter] }\n",
        identity="patent: []\n",
        site="extends: vendors/acme\n",
    )
    text = "\n".join(found)
    assert "class replaces core/PV1_Encounter.class: say why with `because:`" in text
    assert "the table HL70004_ActCode of a site: say why with `because:`" in text
    assert "sytem: unknown key. Did you mean 'system'?" in text
    assert "use ZCL_Encounter: no such map" in text
    assert "patent: unknown key. Did you mean 'patient'?" in text
    assert "extends vendors/acme: no such layer" in text


def test_what_is_no_yaml_is_a_fault_with_its_line(tmp_path):
    (fault,) = faults_of(tmp_path, tables__X="codes:\n  A: [\n")
    assert fault.startswith("mappings/sites/north/tables/X.yaml:")
    assert "no YAML" in fault


def test_a_site_layer_overrides_by_name_over_vendor_over_core(tmp_path):
    write(
        tmp_path / "vendors" / "acme",
        segments__PID_Patient="rules:\n  gender: { off: true, because: x }\n"
        "  religion: { off: true, because: never asked }\n",
        tables__HL70004_ActCode="because: local\ncodes: { OBS: OBSENC, SDS: SS }\n",
    )
    write(
        tmp_path / "sites" / "north",
        site="extends: vendors/acme\n",
        tables__HL70004_ActCode="because: ours\ncodes: { OBS: AMB }\n",
        segments__PV1_Encounter="rules:\n  class: { from: PV1-18, to: class, "
        "through: HL70004_ActCode, because: PV1-2 is always I here }\n",
    )
    made = load(MAPPINGS / "core", [tmp_path], "north")
    assert made.layers == ["core", "vendors/acme", "sites/north"]
    assert "gender" not in made.maps["PID_Patient"].rules
    assert made.tables["HL70004_ActCode"].codes["OBS"] == {"code": "AMB"}
    assert made.tables["HL70004_ActCode"].codes["SDS"] == {"code": "SS"}
    assert made.maps["PV1_Encounter"].rules["class"].place.layer == "sites/north"
    assert made.digest != core().digest


def test_a_site_lists_whole_what_its_vendor_does_unless_it_says_otherwise(tmp_path):
    write(tmp_path / "vendors" / "acme", site="because: all of ours do\nsnapshot: [AL1, DG1]\n")
    write(tmp_path / "sites" / "north", site="extends: vendors/acme\n")
    write(tmp_path / "sites" / "south", site="extends: vendors/acme\nbecause: x\nsnapshot: [DG1]\n")
    write(tmp_path / "sites" / "west", site="extends: vendors/acme\nbecause: x\nsnapshot: []\n")
    made = {name: load(MAPPINGS / "core", [tmp_path], name) for name in ("north", "south", "west")}
    assert {name: sorted(one.snapshot) for name, one in made.items()} == {
        "north": ["AL1", "DG1"],
        "south": ["DG1"],
        "west": [],
    }
    assert made["north"].plan("ADT").snapshot == {"AL1", "DG1"}
    found = [one for one in differences(core(), made["north"]) if one.what == "snapshot"]
    assert [(one.where, one.because) for one in found] == [
        ("mappings/vendors/acme/site.yaml:2", "all of ours do")
    ] * 2
    assert len({core().digest, *(one.digest for one in made.values())}) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("because: x\nsnapshots: [AL1]\n", "2  snapshots: unknown key. Did you mean 'snapshot'?"),
        ("because: x\nsnapshot: 1\n", "2  snapshot: names of segments are expected, [DG1, AL1]"),
        (
            "because: x\nsnapshot: [al1]\n",
            "2  snapshot: names of segments are expected, [DG1, AL1]",
        ),
        ("because: x\nextends: vendors/zeta\n", "2  extends: a vendor's layer stands on the core"),
        ("snapshot: [AL1]\n", "1  snapshot of vendors/acme: say why with `because:`"),
        ("[AL1]\n", "1  the file holds a list, not keys and values. Keys: because, extends"),
    ],
)
def test_each_fault_of_a_vendors_settings_has_its_line(tmp_path, text, says):
    write(tmp_path / "vendors" / "acme", site=text)
    (fault,) = faults_of(tmp_path, site="extends: vendors/acme\n")
    assert fault.startswith(f"mappings/vendors/acme/site.yaml:{says}")


def test_switching_off_a_rule_that_is_not_there_is_a_fault(tmp_path):
    (fault,) = faults_of(tmp_path, segments__PID_Patient="rules:\n  relig: { off: true }\n")
    assert "nothing to switch off. Did you mean 'religion'?" in fault


def test_a_rule_with_when_reads_only_where_the_field_holds_the_value(tmp_path):
    write(
        tmp_path / "sites" / "north",
        segments__PV1_Encounter="rules:\n  special: { from: PV1-18, to: details.special, "
        "when: { PV1-2: [I, E], PID-8: F }, because: x }\n",
    )
    made = load(MAPPINGS / "core", [tmp_path], "north")
    details = []
    for klass in ("I", "O"):
        pv1 = segment("PV1", f2=klass, f18="X", f19="V1")
        details.append(_details(made, message("A01", PID, pv1)).get("special"))
    assert details == ["X", None]


def test_null_keep_leaves_the_element_alone(tmp_path):
    write(
        tmp_path / "sites" / "north",
        segments__PID_Patient="rules:\n  address: { each: PID-11, to: address, as: XAD, "
        'null: keep, because: "north sends null for unknown" }\n',
    )
    made = load(MAPPINGS / "core", [tmp_path], "north")
    fact = _fact(made, message("A08", segment("PID", f3="1^^^HOSPA^MR", f11='""')))
    assert "address#address" not in fact.person[0].elements


def _fact(mapping, text):
    from segue.hl7v2.parse import parse
    from segue.mapping.apply import apply
    from segue.mapping.context import Context

    return apply(mapping, parse(text), Context(site=HOSPA, feed="t", received=0)).facts[0]


def _details(mapping, text):
    return _fact(mapping, text).details


def test_yaml_words_that_look_like_booleans_and_numbers_stay_text():
    document = read("N: off\n'01': 01\nY: yes\n7: 7\n", "x.yaml")
    assert document.data == {"N": "off", "01": "01", "Y": "yes", "7": 7}


def test_a_key_that_is_named_twice_is_a_fault():
    document = read("codes:\n  A: x\n  A: y\n", "x.yaml")
    assert [str(fault) for fault in document.faults] == ["x.yaml:3  A: named twice"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_shipped_file_agrees_with_the_generated_schema(kind):
    schema = json_schema(kind)
    validator = jsonschema.Draft202012Validator(schema)
    pattern = f"**/{kind}.yaml" if kind in ("identity", "site") else f"**/{kind}/*.yaml"
    files = sorted(MAPPINGS.glob(pattern))
    assert files
    for path in files:
        errors = [e.message for e in validator.iter_errors(read(path.read_text(), path.name).data)]
        assert not errors, f"{path}: {errors}"


def test_the_shipped_maps_use_every_map_and_name_no_code_twice():
    mapping = core()
    used = {
        name
        for plan in mapping.plans.values()
        for options in plan.options.values()
        for option in options
        for name in option.placement.use
    }
    assert used == set(mapping.maps)
