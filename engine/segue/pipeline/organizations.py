"""The Organizations that tasks and plans refer to: the hub, the sites, the practices."""

from segue.care.parties import organizations
from segue.model.changes import Cause
from segue.model.facts import Fragment
from segue.pipeline.engine import Hub
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step


def register_organizations(hub: Hub) -> None:
    """Write them as the setting names them now; what is there already stays."""

    def compute(draft: Draft) -> None:
        recorder = Recorder(draft, Step(Cause("steward", "setting")), history=True)
        fragments = [
            Fragment(
                one["resourceType"],
                one["id"],
                "directory",
                {k: v for k, v in one.items() if k not in {"resourceType", "id"}},
            )
            for one in organizations(hub.setting)
        ]
        recorder.directory(fragments, (draft.now, ""))
        if recorder.registers:
            recorder.close()

    transact(hub, compute)
