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
        ("{ from: PV1.18, to: type }", "no field. Write SEG-field"),
        ("{ each: PV1-18, from: PV1-18, to: type }", "either `from:` or `each:`"),
        ("{ from: PV1-18 }", "`to:` needs an element"),
        ("{ from: PV1-18, to: x, as: CX, with: { typ: VN } }", "Did you mean 'type'?"),
        ("{ from: PV1-18, to: x, using: participant }", "needs the option 'type'"),
        ("{ from: PV1-18, to: x, as: ST, unknown: omit }", "goes with `through:`"),
        ("{ from: PV1-18, to: 'value[x]', as: ST }", "only these functions choose a type"),
        (
            "{ from: PID-8, to: x, through: HL70001_AdministrativeGender, unknown: keep }",
            "required binding",
        ),
        ("{ from: PV1-18, to: x, null: forget }", "none of delete, keep"),
    ],
)
def test_each_fault_of_a_rule_has_its_line(tmp_path, rule, says):
    (fault,) = faults_of(tmp_path, segments__PV1_Encounter=f"rules:\n  local: {rule}\n")
    assert fault.startswith("mappings/sites/north/segments/PV1_Encounter.yaml:2  ")
    assert says in fault


def test_all_faults_of_all_files_come_at_once(tmp_path):
    found = faults_of(
        tmp_path,
        segments__PV1_Encounter="rules:\n  class: { from: PV1-18, to: class }\n",
        tables__HL70004_ActCode="codes: { OBS: OBSENC }\nsytem: x\n",
        messages__ADT="segments:\n  z: { segment: ZCL, use: [ZCL_Encounter] }\n",
        identity="patent: []\n",
        site="extends: vendors/acme\n",
    )
    text = "\n".join(found)
    assert "class replaces core/PV1_Encounter.class: say why with `because:`" in text
    assert "changes the table HL70004_ActCode of a lower layer" in text
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
    write(tmp_path / "sites" / "south", site="extends: vendors/acme\nsnapshot: [DG1]\n")
    write(tmp_path / "sites" / "west", site="extends: vendors/acme\nsnapshot: []\n")
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
        ("snapshot: AL1\n", "1  snapshot: names of segments are expected, [DG1, AL1]"),
        ("snapshot: [al1]\n", "1  snapshot: names of segments are expected, [DG1, AL1]"),
        ("because: x\nextends: vendors/zeta\n", "2  extends: a vendor's layer stands on the core"),
        ("[AL1]\n", "1  file: keys and values are expected here"),
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
        "when: { PV1-2: [I, E], PID-8: F } }\n",
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
