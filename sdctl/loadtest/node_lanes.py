"""The report's lanes of nodes that came during the run: what each was at, and where one got stuck."""

from collections.abc import Mapping, Sequence

from sdctl.loadtest.charts import Band, lanes
from sdctl.loadtest.sections import SERVING, seconds, table, wide
from sdctl.loadtest.timeline import PHASES
from sdctl.loadtest.transitions import Transition

# What a node is at after each mark; the colours are those of the same phases of replicas.
STAGES = {"created": "provision", "launched": "boot", "registered": "gpu", "initialized": "ready", "alive": "ready"}
ORDER = {name: place for place, (name, _, _) in enumerate(PHASES)}


def node_lanes_part(transitions: Sequence[Transition], begin: float, end: float) -> str:
    """The lanes as bars and as a table; nothing where no node came."""
    found = node_lanes(transitions, end)
    if not found:
        return ""
    drawn = [(name[-8:], bands) for name, bands in found.items()]
    rows = [
        [name, *(_length(bands, stage) for stage in ("provision", "boot", "gpu", "ready"))]
        for name, bands in found.items()
    ]
    chart = wide(lanes(drawn, "Phases of each new node", begin=begin, end=end))
    return (
        f"<h2>New nodes</h2>{chart}{table(['node', 'provision', 'boot', 'gpu', 'ready'], rows, 'The nodes as a table')}"
    )


def node_lanes(transitions: Sequence[Transition], end: float) -> Mapping[str, list[Band]]:
    """Each new node's stages until it was gone or the watch ended: of NodeClaims, else of Ray's own nodes."""
    ordered = sorted(transitions, key=lambda change: change.time)
    kinds = {change.kind for change in ordered}
    kind = "nodeclaim" if "nodeclaim" in kinds else "ray_node"
    there = {change.name for change in ordered if change.kind == kind and change.detail.get("baseline")}
    marks: dict[str, list[tuple[float, str]]] = {}
    for change in ordered:
        stage = "gone" if change.what == "gone" else STAGES.get(change.what, "")
        if change.kind == kind and change.name not in there and stage:
            marks.setdefault(change.name, []).append((change.time, stage))
    return {name: _bands(mine, end) for name, mine in marks.items()}


def _bands(marks: Sequence[tuple[float, str]], end: float) -> list[Band]:
    bands = []
    for (time, stage), (until, _) in zip(marks, [*marks[1:], (end, "")], strict=True):
        if stage != "gone" and until >= time:
            bands.append(Band(stage, time, until, ORDER.get(stage, SERVING)))
    return bands


def _length(bands: Sequence[Band], stage: str) -> str:
    """How long a node was at a stage; unknown where it never got there."""
    mine = [band.end - band.begin for band in bands if band.name == stage]
    return seconds(sum(mine) if mine else None)
