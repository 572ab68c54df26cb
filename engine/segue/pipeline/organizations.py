"""The Organizations that tasks and plans refer to: the hub, the sites, the practices."""

from segue.care.parties import organizations
from segue.pipeline.hub import Hub
from segue.pipeline.record import register


def register_organizations(hub: Hub) -> None:
    """Write them as the setting names them now; what is there already stays."""
    register(hub, "setting", organizations(hub.setting))
