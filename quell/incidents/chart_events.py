"""What happened on a chart: a line and a label for each event, in rows where no label touches another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from quell.incidents.chart_frame import Frame

TOP = 34  # above the first row
LANE = 16  # height of one row of event labels
_LETTER = 6.1  # mean width of a letter at 11 px, rather too wide than too narrow
_LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    left: float
    lane: int
    text: str
    full: str


def place_labels(
    events: Sequence[tuple[datetime, str]], start: float, end: float, left: float, right: float
) -> list[Label]:
    """Each label in the first row where it touches no other; to the left of its line where the right edge is near."""
    taken: list[list[tuple[float, float]]] = []
    labels: list[Label] = []
    for at, full in sorted(events, key=lambda event: event[0]):
        if not start <= at.timestamp() <= end:
            continue
        x = left + (at.timestamp() - start) / (end - start) * (right - left)
        text = full if len(full) <= _LONGEST_LABEL else full[: _LONGEST_LABEL - 1] + "…"
        size = len(text) * _LETTER + 8
        box = (x - 4, x + 6 + size) if x + 6 + size <= right or x - 6 - size < left else (x - 6 - size, x + 4)
        lane = next((i for i, row in enumerate(taken) if all(box[1] < a or box[0] > b for a, b in row)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(box)
        labels.append(Label(x, box[0] + 10 if box[0] == x - 4 else box[0], lane, text, full))
    return labels


def draw_events(frame: Frame, labels: Sequence[Label]) -> list[str]:
    lines: list[str] = []
    texts: list[str] = []
    for label in labels:
        y = TOP + label.lane * LANE + 4
        lines.append(f'<path class="qc-event" d="M{label.x:.1f} {y:.1f}V{frame.bottom:.1f}"/>')
        texts.append(f'<rect class="qc-back" x="{label.left:.1f}" y="{y - 7:.1f}" height="14"')
        texts.append(f' width="{len(label.text) * _LETTER:.1f}"/>')
        texts.append(f'<circle class="qc-mark" cx="{label.x:.1f}" cy="{y:.1f}" r="3"/>')
        texts.append(f'<text class="qc-text qc-label" x="{label.left + 1:.1f}" y="{y + 4:.1f}">{escape(label.text)}')
        texts.append(f"<title>{escape(label.full)}</title></text>")
    return lines + texts
