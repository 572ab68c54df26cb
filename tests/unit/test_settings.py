"""The configuration: every fault is one line that says where, what, and what was meant."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from segue.settings.load import load
from segue.settings.nodes import ConfigError
from segue.settings.sections import Address

WHOLE = """\
version: 1
data_dir: ./segue-data
database: sqlite
workers: 2
zone: null
mappings: [./mappings]
profiles: [./fhir_profiles]
http:
  listen: 127.0.0.1:8080
  base_url: null
  tokens: null
keep: {messages: forever, duplicates: 30d}
sites:
  hospa:
    name: Hospital A
    authority: HOSPA
    system: urn:oid:2.16.840.1.113883.19.5
    zone: America/New_York
    sends_as: [HOSPA]
    control_id_reuse: process
    links_by: [MR, PI]
    practices: {PCPB: pcpb}
    charset_fallback: [cp1250, latin-1]
    lag: 72h
    unknown_visit: park
feeds:
  hospa-adt:
    kind: mllp
    listen: 127.0.0.1:2575
    site: hospa
    ack: delivered
    replies: lab
    accept: {processing_ids: [P, T], types: [ADT, ORU^R01], versions: ["2.5.1"]}
    limits: {idle: 5m, frame: 10s, bytes: 100000, connections: 10, answer: 20s}
    allow: [127.0.0.0/8]
    tls: null
    history: false
    part2: none
destinations:
  pcpb:
    kind: fhir_rest
    url: http://127.0.0.1:9101/fhir
    site: pcpb
    send: [Encounter, CarePlan, Task]
    headers: {Authorization: "Bearer ${PCPB_TOKEN}"}
    bundle: 50
    receipt: gateway
    bed_moves: false
    timeout: 10s
    retry: {first: 1s, factor: 2, ceiling: 15m, give_up: 72h}
  lab:
    kind: mllp
    address: 127.0.0.1:2601
    site: lab
    send: [adt, careplan]
    tls: {ca: ca.pem, cert: c.pem, key: k.pem}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "segue.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environment)
    return [problem.replace(str(folder) + "/", "") for problem in caught.value.problems]


def test_every_key_of_the_documented_file_is_read(tmp_path: Path) -> None:
    settings = load(write(tmp_path, WHOLE), {"PCPB_TOKEN": "secret"})
    site = settings.sites["hospa"]
    assert (site.title, site.authority, str(site.zone)) == (
        "Hospital A", "HOSPA", "America/New_York",
    )  # fmt: skip
    assert site.lag == timedelta(hours=72)
    assert settings.feeds["hospa-adt"].listen == Address("127.0.0.1", 2575)
    pcpb = settings.destinations["pcpb"]
    assert pcpb.headers == {"Authorization": "Bearer secret"}
    assert pcpb.retry.ceiling == timedelta(minutes=15)
    assert pcpb.send == {"Encounter", "CarePlan", "Task"}
    assert settings.keep.duplicates == timedelta(days=30)
    assert settings.data_dir == tmp_path / "segue-data"


def test_without_a_file_there_is_one_site_with_an_mllp_and_an_http_feed() -> None:
    settings = load(None, {})
    assert settings.http.listen == Address("127.0.0.1", 8080)
    assert {f.name: f.kind for f in settings.feeds.values()} == {"mllp": "mllp", "http": "http"}
    assert settings.feeds["mllp"].listen == Address("127.0.0.1", 2575)
    assert settings.destinations == {}


def test_an_unknown_key_names_its_line_and_what_was_meant(tmp_path: Path) -> None:
    text = WHOLE.replace("    ack: delivered", "    ackk: durable")
    assert problems(tmp_path, text, PCPB_TOKEN="x") == [
        "segue.yaml:31  feeds.hospa-adt.ackk: unknown key. Did you mean 'ack'?"
    ]


def test_a_missing_site_is_one_clear_line(tmp_path: Path) -> None:
    text = WHOLE.replace("    site: hospa\n", "    site: hospaa\n")
    assert problems(tmp_path, text, PCPB_TOKEN="x") == [
        "segue.yaml:30  feeds.hospa-adt.site: no site 'hospaa'. Did you mean 'hospa'?"
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("timeout: 10s", "timeout: 10", "destinations.pcpb.timeout: expected a duration"),
        ("zone: America/New_York", "zone: America/NewYork", "sites.hospa.zone: no IANA time zone"),
        (
            "unknown_visit: park",
            "unknown_visit: parc",
            "segue.yaml:25  sites.hospa.unknown_visit: expected one of create, park, reject. "
            "Did you mean 'park'?",
        ),
        ("workers: 2", "workers: two", "workers: expected a whole number"),
        ("kind: mllp\n    listen", "kind: mlp\n    listen", "Did you mean 'mllp'?"),
        ("practices: {PCPB: pcpb}", "practices: {PCPB: pcbp}", "Did you mean 'pcpb'?"),
        ("version: 1", "version: 2", "this Segue reads version 1"),
        ("database: sqlite", "database: mysql://x", "expected sqlite or a postgresql:// address"),
        ("  hospa-adt:", "  Hospa_ADT:", "a name is lower case"),
        ("${PCPB_TOKEN}", "${NO_TOKEN}", "the environment has no NO_TOKEN"),
        ("send: [adt, careplan]", "send: [Task]", "mllp sends adt, careplan"),
        ("replies: lab", "replies: labb", "no destination 'labb'. Did you mean 'lab'?"),
        ("replies: lab", "replies: pcpb", "acknowledgements go to a destination of mllp"),
        ("types: [ADT, ORU^R01]", "types: [A1]", "write ADT or ORU^R01"),
        ("[cp1250, latin-1]", "[klingon]", "'klingon' is no character set"),
        ("cert: c.pem, key: k.pem", "cert: c.pem", "cert and key belong together"),
        ("bytes: 100000", "bytes: 1", "feeds.hospa-adt.limits.bytes"),
        ("[127.0.0.0/8]", "[127.0.0.0/99]", "'127.0.0.0/99' is no network, such as 10.0.0.0/8"),
        ("url: http://", "url: ftp://", "destinations.pcpb.url: expected an address, such as"),
        ("CarePlan, Task]", "CarePlan, Taskk]", "'Taskk' is no FHIR resource type. Did you mean"),
    ],
)
def test_a_wrong_value_says_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in WHOLE
    found = problems(tmp_path, WHOLE.replace(old, new, 1), PCPB_TOKEN="x")
    assert any(expected in problem for problem in found), found
    assert all(problem.startswith("segue.yaml:") for problem in found)


def test_whose_resources_a_client_may_change_is_named_by_site(tmp_path: Path) -> None:
    steward = "feeds:\n  steward: {{kind: fhir, client: steward, site: hospa, edits: [{}]}}\n"
    settings = load(write(tmp_path, WHOLE.replace("feeds:\n", steward.format('"*"'))),
                    {"PCPB_TOKEN": "x"})  # fmt: skip
    assert settings.feeds["steward"].edits == ("*",)
    (problem,) = problems(tmp_path, WHOLE.replace("feeds:\n", steward.format("hospaa")),
                          PCPB_TOKEN="x")  # fmt: skip
    assert problem.endswith("feeds.steward.edits: no site 'hospaa'. Did you mean 'hospa'?")


def test_a_message_bundle_destination_is_sent_alerts(tmp_path: Path) -> None:
    hie = "destinations:\n  hie: {{kind: message_bundle, url: http://x/fhir, send: [{}]}}\n"
    text = WHOLE.replace("destinations:\n", hie.format("alerts"))
    assert load(write(tmp_path, text), {"PCPB_TOKEN": "x"}).destinations["hie"].kind == (
        "message_bundle"
    )
    (problem,) = problems(
        tmp_path, WHOLE.replace("destinations:\n", hie.format("Task")), PCPB_TOKEN="x"
    )
    assert problem.endswith("destinations.hie.send: 'Task': message_bundle sends alerts")


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace("workers: 2", "workers: 0").replace("bundle: 50", "bundle: 0")
    assert len(problems(tmp_path, text, PCPB_TOKEN="x")) == 2


def test_the_protocols_in_force_are_a_list_of_names(tmp_path: Path) -> None:
    assert load(None, {}).protocols == ("PD-01", "PD-02", "PD-03", "PD-04", "PD-05")
    chosen = load(write(tmp_path, "version: 1\nprotocols: [PD-00, PD-01]\n"), {})
    assert chosen.protocols == ("PD-00", "PD-01")
    assert load(write(tmp_path, "version: 1\nprotocols: []\n"), {}).protocols == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("protocols: [PD-01, PD01]", "2  protocols: no protocol 'PD01'. Did you mean 'PD-01'?"),
        (
            "protocols: [cough]",
            "2  protocols: no protocol 'cough'. Known: PD-00, PD-01, PD-02, PD-03, PD-04, PD-05.",
        ),
        ("protocols: [PD-01, PD-01]", "2  protocols: PD-01 given twice"),
        ("protocols: PD-01", "2  protocols: expected a list, [a, b]"),
        ("protocol: [PD-01]", "2  protocol: unknown key. Did you mean 'protocols'?"),
        ("profiles: [./own]\nprotocols: [OUR-1]", "own/plan_definitions/one.json: not JSON"),
    ],
)
def test_a_protocol_that_is_not_there_is_one_clear_line(
    tmp_path: Path, line: str, expected: str
) -> None:
    (tmp_path / "own" / "plan_definitions").mkdir(parents=True)
    (tmp_path / "own" / "plan_definitions" / "one.json").write_text("{", encoding="utf-8")
    (problem,) = problems(tmp_path, f"version: 1\n{line}\n")
    assert expected in problem


def test_two_listeners_at_one_address_are_refused(tmp_path: Path) -> None:
    text = WHOLE.replace("listen: 127.0.0.1:2575", "listen: 127.0.0.1:8080")
    assert problems(tmp_path, text, PCPB_TOKEN="x") == [
        "segue.yaml:29  feeds.hospa-adt.listen: 127.0.0.1:8080 is http.listen's already"
    ]
    found = problems(tmp_path, WHOLE, PCPB_TOKEN="x", SEGUE_MLLP_PORT="8080")
    assert found == [
        "SEGUE_MLLP_PORT  feeds.hospa-adt.listen: 127.0.0.1:8080 is http.listen's already"
    ]


def test_listening_beyond_loopback_needs_authentication(tmp_path: Path) -> None:
    text = WHOLE.replace("listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080").replace(
        "listen: 127.0.0.1:2575", "listen: 0.0.0.0:2575"
    )
    text = text.replace("    allow: [127.0.0.0/8]\n", "")
    found = problems(tmp_path, text, PCPB_TOKEN="x")
    assert any("set http.tokens" in problem for problem in found)
    assert any("set allow: [network] or tls.client_ca" in problem for problem in found)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(
        write(tmp_path, WHOLE),
        {
            "PCPB_TOKEN": "x",
            "SEGUE_DATA_DIR": "/var/lib/segue",
            "SEGUE_DATABASE_URL": "postgresql://db/segue",
            "SEGUE_HTTP_PORT": "9000",
            "SEGUE_MLLP_PORT": "9001",
        },
    )
    assert settings.data_dir == Path("/var/lib/segue")
    assert settings.database == "postgresql://db/segue"
    assert settings.http.listen.port == 9000
    assert settings.feeds["hospa-adt"].listen == Address("127.0.0.1", 9001)


def test_one_environment_port_cannot_serve_two_feeds(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "destinations:",
        "  hospb-adt: {kind: mllp, listen: 127.0.0.1:2576, site: hospa}\ndestinations:",
    )
    (problem,) = problems(tmp_path, text, PCPB_TOKEN="x", SEGUE_MLLP_PORT="9001")
    assert "hospa-adt" in problem
    assert "hospb-adt" in problem


def test_what_is_not_yaml_says_where(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "version: 1\nsites: [\n")
    assert problem.startswith("segue.yaml:")


def test_a_file_without_sites_has_the_default_one(tmp_path: Path) -> None:
    file = tmp_path / "segue.yaml"
    file.write_text("version: 1\nfeeds: {}\n")
    assert list(load(file, {}).sites) == ["default"]


def test_a_fault_between_sections_is_told_at_the_line_of_its_key(tmp_path: Path) -> None:
    text = WHOLE.replace("listen: 127.0.0.1:2575", "listen: 0.0.0.0:2575").replace("allow:", "#")
    found = problems(tmp_path, text.replace("replies: lab", "replies: lap"), PCPB_TOKEN="t")
    lines = text.splitlines()
    replies, listen = (
        lines.index("    replies: lab") + 1,
        lines.index("    listen: 0.0.0.0:2575") + 1,
    )
    assert f"segue.yaml:{replies}  feeds.hospa-adt.replies: no destination 'lap'." in found[0]
    assert f"segue.yaml:{listen}  feeds.hospa-adt.listen: 0.0.0.0:2575 is reachable" in found[1]


def test_a_destination_with_tls_null_has_no_tls(tmp_path: Path) -> None:
    text = WHOLE.replace("tls: {ca: ca.pem, cert: c.pem, key: k.pem}", "tls: null")
    assert load(write(tmp_path, text), {"PCPB_TOKEN": "t"}).destinations["lab"].tls is None


def test_a_key_can_be_traced_to_its_line(tmp_path: Path) -> None:
    settings = load(write(tmp_path, WHOLE), {"PCPB_TOKEN": "x", "SEGUE_HTTP_PORT": "9000"})
    assert settings.at("feeds.hospa-adt.listen").endswith("segue.yaml:29  feeds.hospa-adt.listen")
    assert settings.at("http.listen") == "SEGUE_HTTP_PORT  http.listen"
    assert settings.at("sites.hospa.nothing") == "sites.hospa.nothing"


def test_the_roles_of_a_host_say_which_parts_must_live_there(tmp_path: Path) -> None:
    settings = replace(load(None, {}), workers=2)
    assert settings.parts == ("front", "worker-0", "worker-1", "sender")
    assert replace(settings, roles=("front",)).parts == ("front",)
    assert replace(settings, roles=("worker", "sender")).parts == ("worker-0", "worker-1", "sender")
