"""A visit's history as an SVG picture: what held when, and when each message told of it.

Bars show status, class and places over the time in which they held. Below them every
message has a line: a dot where it occurred, a ring where it was learnt, struck through
where it was undone. The further apart the two, the later the message.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from html import escape

from segue.care.states import Run
from segue.care.timeline import Timeline, Told, shown
from segue.model.instants import instant_of

WIDTH, LEFT, ROW, BAR = 960, 130, 22, 16
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#72b7b2")
_STRUCK = "#999"
LEGEND = "● occurred  ○ learnt  struck through: undone"


def svg(history: Timeline) -> str:
    """Draw a history.

    Args:
        history: of a visit that some message tells of.

    Returns:
        A whole SVG document.
    """
    state = history.state
    lanes: list[tuple[str, list[Run]]] = [("status", state.statuses)]
    lanes += [("class", runs) for track, runs in state.tracks.items() if track == "class"]
    lanes += [("place", runs) for track, runs in state.tracks.items() if track[0] == "l"]
    scale = _Scale([run for _, runs in lanes for run in runs], history.told)
    height = ROW * (len(lanes) + len(history.told) + 3)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(state.key)}: {escape(state.status)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    y = ROW
    for name, runs in lanes:
        out.append(f'<text x="4" y="{y + 12}">{name}</text>')
        out += _bars(runs, y, scale)
        y += ROW
    out.append(f'<line x1="{LEFT}" y1="{y + 4}" x2="{WIDTH}" y2="{y + 4}" stroke="#ccc"/>')
    y += ROW // 2
    for one in history.told:
        out += _message(one, y, scale)
        y += ROW
    zone = _zone(history.told)
    for at, anchor, x in ((scale.low, "start", LEFT), (scale.high, "end", WIDTH - 4)):
        day = instant_of(at).astimezone(zone).isoformat(" ", "minutes")
        out.append(f'<text x="{x}" y="{y + 14}" text-anchor="{anchor}" fill="#666">{day}</text>')
    middle = (LEFT + WIDTH) // 2
    out.append(f'<text x="{middle}" y="{y + 14}" text-anchor="middle" fill="#666">{LEGEND}</text>')
    return "\n".join([*out, "</svg>", ""])


def _zone(told: Iterable[Told]) -> tzinfo:
    """The offset that the messages give their times in; UTC where they give none."""
    for one in told:
        if "T" in one.occurred.text and (zone := datetime.fromisoformat(one.occurred.text).tzinfo):
            return zone
    return UTC


class _Scale:
    """Microseconds to pixels."""

    def __init__(self, runs: Iterable[Run], told: Iterable[Told]) -> None:
        instants = [at.us for _, since, until in runs for at in (since, until) if at is not None]
        for one in told:
            instants += [one.occurred.us, one.learnt]
        self.low, self.high = min(instants), max(instants)

    def x(self, us: int) -> float:
        """Where an instant is."""
        share = (us - self.low) / max(1, self.high - self.low)
        return round(LEFT + share * (WIDTH - LEFT - 10), 1)


def _bars(runs: Iterable[Run], y: int, scale: _Scale) -> list[str]:
    out: list[str] = []
    colours: dict[str, str] = {}
    for value, since, until in runs:
        items = value if isinstance(value, list) else [value]
        word = ", ".join(one if isinstance(one, str) else shown(one) for one in items)
        colour = colours.setdefault(word, _COLOURS[len(colours) % len(_COLOURS)])
        left = scale.x(since.us if since else scale.low)
        right = max(left + 2, scale.x(until.us if until else scale.high))
        out.append(
            f'<rect x="{left}" y="{y}" width="{round(right - left, 1)}" height="{BAR}" '
            f'fill="{colour}"><title>{escape(word)}</title></rect>'
        )
        if right - left > 7 * len(word):
            out.append(f'<text x="{left + 3}" y="{y + 12}" fill="white">{escape(word)}</text>')
    return out


def _message(one: Told, y: int, scale: _Scale) -> list[str]:
    colour = _STRUCK if one.undone is not None else "#333"
    line = ' text-decoration="line-through"' if one.undone is not None else ""
    there, here = scale.x(one.occurred.us), scale.x(one.learnt)
    words = escape(f"{one.event} {one.title}: {'; '.join(one.changed) or 'nothing new'}")
    return [
        f'<text x="4" y="{y + 4}" fill="{colour}"{line}>{escape(one.event)} '
        f"{escape(one.control_id[:12])}</text>",
        f'<line x1="{there}" y1="{y}" x2="{here}" y2="{y}" stroke="{colour}"/>',
        f'<circle cx="{there}" cy="{y}" r="4" fill="{colour}"><title>{words}</title></circle>',
        f'<circle cx="{here}" cy="{y}" r="4" fill="white" stroke="{colour}"/>',
    ]
