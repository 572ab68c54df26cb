"""`segue check`: is everything that an engine is built from right, before it runs."""

import typer

from segue.cli.output import WRONG, Config, Json, print_json
from segue.cli.run import read_settings
from segue.model.hints import did_you_mean
from segue.settings.sections import Settings


def check(config: Config = None, json: Json = False) -> None:
    """Check the configuration, the mappings with their cases, profiles and protocols.

    Exit code 0 if all is well, 1 if something is wrong, 2 if the configuration itself
    cannot be read. Warnings do not change the exit code.
    """
    settings = read_settings(config)
    found = {
        "configuration": _configuration(settings),
        "mappings": _mappings(settings),
        "profiles": _profiles(settings),
        "protocols": _protocols(settings),
    }
    wrong = any(problem["severity"] == "error" for part in found.values() for problem in part)
    if json:
        print_json({"ok": not wrong} | found)
    else:
        typer.echo(f"{settings.source or 'no segue.yaml here: the defaults'}")
        for name, problems in found.items():
            errors = sum(p["severity"] == "error" for p in problems)
            typer.echo(f"{name:14} {'ok' if not errors else f'{errors} wrong'}")
            for problem in problems:
                typer.echo(f"  {problem['severity']:11} {problem['text']}")
    if wrong:
        raise typer.Exit(WRONG)


def _problem(severity: str, text: str) -> dict[str, str]:
    return {"severity": severity, "text": text}


def _configuration(settings: Settings) -> list[dict[str, str]]:
    from segue.bootstrap.start import clients_without_token, unusable_files

    problems = [_problem("error", line) for line in unusable_files(settings)]
    for key in ("mappings", "profiles"):
        for folder in getattr(settings, key):
            if not folder.is_dir():
                problems.append(_problem("warning", f"{settings.at(key)}: no folder {folder}"))
    problems += [_problem("warning", line) for line in clients_without_token(settings)]
    for site in settings.sites.values():
        if site.zone is None and settings.source is not None:
            problems.append(
                _problem(
                    "warning",
                    f"sites.{site.name}.zone: none: times without offset take MSH-7's, or are "
                    "dates only",
                )
            )
    for one in settings.destinations.values():
        if one.site not in settings.sites:
            hint = did_you_mean(one.site, settings.sites)
            problems.append(
                _problem(
                    "warning",
                    f"destinations.{one.name}.site: {one.site!r} is no configured site: nothing "
                    f"is held back from it as its own.{hint}",
                )
            )
    return problems


def _mappings(settings: Settings) -> list[dict[str, str]]:
    from segue.bootstrap.mappings import Mappings
    from segue.cli.map_test import run_cases
    from segue.mapping.cases import find_cases
    from segue.mapping.load import shipped
    from segue.mapping.source import MappingError

    try:
        mappings = Mappings(settings)
    except MappingError as error:
        return [_problem("error", line) for line in str(error).splitlines()]
    doubts = dict.fromkeys(str(one) for made in mappings.sets.values() for one in made.doubts)
    problems = [_problem("warning", line) for line in doubts]
    for root in (shipped(), *settings.mappings):
        for result in run_cases(find_cases(root), root):
            problems += [_problem("error", str(fault)) for fault in result.failures]
    return problems


def _profiles(settings: Settings) -> list[dict[str, str]]:
    from segue.bootstrap.stores import install_search_parameters
    from segue.fhir.search.custom import SearchParameterError

    try:
        install_search_parameters(settings)
    except SearchParameterError as error:
        return [_problem("error", line) for line in str(error).splitlines()]
    return []


def _protocols(settings: Settings) -> list[dict[str, str]]:
    """What is wrong with the protocols, and which of them are in force."""
    from segue.bootstrap.hub import protocols_of
    from segue.care.protocols import ProtocolError
    from segue.care.vectors import check as run_vectors
    from segue.fhir.profiles import definitions
    from segue.fhir.validate import Gate

    try:
        protocols = protocols_of(settings)
        issues = [*protocols.issues, *run_vectors(protocols)]
    except ProtocolError as error:
        return [_problem("error", str(error))]
    except ValueError as error:
        return [_problem("error", f"protocols: {error}")]
    idle = [name for name in protocols.names if name not in settings.protocols]
    told = f"in force: {', '.join(settings.protocols) or 'none'}"
    if idle:
        told += f"; not in force: {', '.join(idle)}"
    gate = Gate(definitions())
    unfit = [
        _problem("warning", f"{one['url']}: it cannot be shown over FHIR: {issue.text}")
        for one in (*protocols.definitions, *protocols.activities)
        for issue in gate.issues(one)
    ]
    return [
        *(_problem(issue.severity, f"{issue.where}: {issue.text}") for issue in issues),
        *unfit,
        _problem("information", told),
    ]
