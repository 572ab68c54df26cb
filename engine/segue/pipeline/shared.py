"""Accounts of several persons: families, a newborn on the mother's account.

An Account is known by its number (PID-18), whoever names it, so it is one resource with
several subjects. It stays in the chart of one of them; each of them knows the others,
and whoever's word of it changes puts together anew what all of them say.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from msgspec.structs import replace as with_changes

from segue.care.assemble import shared_account
from segue.care.parting import account_of
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, parse_key
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft

ACCOUNT = "Account/"


def share(
    recorder: Recorder, chart: Chart, names: Collection[str] | None, wanted: Iterable[Resource]
) -> set[str]:
    """Write the Accounts of a person that others share.

    Args:
        recorder: of the step.
        chart: of the person; what is said of their Accounts may be new.
        names: resources of theirs that may be different; None: any.
        wanted: what is to be written of this person.

    Returns:
        References of the Accounts that are dealt with.
    """
    draft, known = recorder.draft, chart.margin.shared
    found = {name for name in known if names is None or name in names}
    found |= {
        name
        for one in wanted
        if one["resourceType"] == "Account"
        and (name := f"{ACCOUNT}{one['id']}") not in known
        and _others(draft, chart, name)
    }
    for name in sorted(found):
        _write(recorder, chart, name)
    return found


def foresee(draft: Draft, facts: Iterable[Fact]) -> None:
    """Look up who has the Accounts that are new to those who name them now.

    A commit would find it out, but the whole batch would have to be computed again.
    """
    new = set()
    for fact in facts:
        if (account := account_of(fact)) is not None:
            key, chart = ResourceKey("Account", account), draft.person(fact.identity)
            if chart is None or (key not in chart.heads and not chart.margin.shared):
                new.add(key)
    draft.contested |= draft.reader.heads(new - draft.contested.keys())


def holders(draft: Draft, account: str, identity: str) -> set[int]:
    """Who else has an Account, as far as it was new to this one, by pk."""
    key, chart = ResourceKey("Account", account), draft.person(identity)
    if chart is not None and key in chart.heads:
        return set()
    head = draft.contested.get(key)
    found = {head.owner} if head is not None and head.owner is not None else set()
    if key.reference in draft.begun:
        found |= {one.pk for one in draft.charts.values() if key in one.heads}
    return found


def _others(draft: Draft, chart: Chart, name: str) -> list[Chart]:
    """Others who name an Account; nobody where this person is alone with it."""
    key = parse_key(name)
    if (identities := chart.margin.shared.get(name)) is not None:
        draft.load(identities)
        found = [one for identity in identities if (one := draft.person(identity)) is not None]
    elif key in chart.heads:
        return []
    else:
        strangers = draft.strangers([name], draft.who_has(key.type))
        found = [one for one in strangers if key in one.heads]
        # Who has it knows all who share it.
        also = {one for other in found for one in other.margin.shared.get(name, ())}
        draft.load(also)
        found += [one for identity in also if (one := draft.person(identity)) is not None]
    others = {one.pk: one for one in found if one.pk != chart.pk}
    return [others[pk] for pk in sorted(others)]


def _write(recorder: Recorder, chart: Chart, name: str) -> None:
    key, everybody = parse_key(name), [chart, *_others(recorder.draft, chart, name)]
    naming = [one for one in everybody if one.names(name)]
    for one in everybody:
        others = {other.person.key for other in naming if other is not one}
        shared = {ref: kept for ref, kept in one.margin.shared.items() if ref != name}
        if one in naming and others:
            shared[name] = tuple(sorted(others))
        one.margin = replace(one.margin, shared=shared)
        # What each of them says is in it: nobody may say anything else meanwhile.
        one.touched = True
    holder = _holder(recorder.draft, key, naming or everybody, everybody)
    account = shared_account([one.person for one in naming], name)
    if account is None:
        recorder.retire(holder, [key])
        return
    tellers = {
        told.site
        for one in naming
        for told in one.person.sources.values()
        if name in told.resources
    }
    recorder.put(holder, [account], {key: frozenset(tellers)})


def _holder(draft: Draft, key: ResourceKey, naming: list[Chart], everybody: list[Chart]) -> Chart:
    """In whose chart the Account is: of one who names it."""
    holder = next((one for one in everybody if key in one.heads), None)
    if holder is None or holder in naming:
        return holder or naming[0]
    head = holder.heads.pop(key)
    draft.owners[head.pk] = naming[0].pk
    naming[0].heads[key] = with_changes(head, owner=naming[0].pk)
    return naming[0]
