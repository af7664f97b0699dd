"""What a run cost: node time from launch to gone × a dated list price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdctl.errors import InvalidRequest
from sdctl.loadtest.transitions import Transition

# On-demand Linux, USD per hour, us-east-1: Karpenter's price table for the AWS provider, generated 2026-07-20.
PRICES_AS_OF = "2026-07-20"
PRICES_REGION = "us-east-1"
PRICES = {
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "g6e.xlarge": 1.861,
    "g6e.2xlarge": 2.24208,
    "p4d.24xlarge": 21.957642,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
}


@dataclass(frozen=True)
class NodeTime:
    """One node's paid time within the run (epoch s); `price` in USD per hour, None when not known."""

    name: str
    instance_type: str
    capacity_type: str
    begin: float
    end: float
    price: float | None
    shared: bool = False

    @property
    def cost(self) -> float | None:
        """USD, or None when the price is not known."""
        return None if self.price is None else (self.end - self.begin) / 3600 * self.price


@dataclass(frozen=True)
class Cost:
    """The run's cost; None with `why` where it cannot be told."""

    total_usd: float | None
    per_1000_images_usd: float | None
    cold_start_usd: float | None
    tail_usd: float | None
    nodes: tuple[NodeTime, ...]
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The `cost` of summary.json."""
        nodes = [{**vars(node), "cost_usd": node.cost} for node in self.nodes]
        known = None not in (self.total_usd, self.cold_start_usd, self.tail_usd)
        steady = (self.total_usd or 0.0) - (self.cold_start_usd or 0.0) - (self.tail_usd or 0.0) if known else None
        prices = {"region": PRICES_REGION, "as_of": PRICES_AS_OF}
        return {**vars(self), "steady_usd": steady, "nodes": nodes, "prices": prices}


def price_option(text: str) -> tuple[str, float]:
    """Read `--price g5.xlarge=1.006` as (instance type, USD per hour)."""
    kind, _, amount = text.partition("=")
    try:
        value = float(amount)
    except ValueError:
        value = -1.0
    if not kind or not 0 <= value < 10_000:
        raise InvalidRequest(f"--price {text} is no price.", hint="Use --price g5.xlarge=1.006 (USD per hour).")
    return kind, value


def price(instance_type: str, capacity_type: str, region: str, given: Mapping[str, float]) -> float | None:
    """USD per hour: what the user gave, else the list price of on-demand nodes in the table's region; else None."""
    if instance_type in given:
        return given[instance_type]
    if capacity_type == "on-demand" and region in ("", PRICES_REGION):
        return PRICES.get(instance_type)
    return None


def node_times(
    transitions: Sequence[Transition], given: Mapping[str, float], *, begin: float, end: float
) -> list[NodeTime]:
    """The paid time of every NodeClaim seen in the run, cut to the run; launched until gone (or the run's end)."""
    facts: dict[str, dict[str, Any]] = {}
    for change in sorted((t for t in transitions if t.kind == "nodeclaim"), key=lambda t: t.time):
        known = facts.setdefault(change.name, {})
        known |= {key: value for key, value in change.detail.items() if value not in (None, "")}
        if change.what in ("launched", "gone"):
            known.setdefault(change.what, change.time)
    return [
        NodeTime(
            name=name,
            instance_type=str(known.get("instance_type", "")),
            capacity_type=str(known.get("capacity_type", "")),
            begin=max(begin, known["launched"]),
            end=max(begin, known["launched"], min(end, known.get("gone", end))),
            price=price(
                str(known.get("instance_type", "")),
                str(known.get("capacity_type", "")),
                str(known.get("region", "")),
                given,
            ),
            shared=bool(known.get("shared")),
        )
        for name, known in facts.items()
        if "launched" in known
    ]


def total(
    nodes: Sequence[NodeTime], good_images: int, *, first_images: Mapping[str, float], last_image: float | None
) -> Cost:
    """Add up a run; `first_images` maps a node to its first image, `last_image` is the run's last (epoch s)."""
    if not nodes:
        return Cost(None, None, None, None, (), "no Karpenter node was seen in the run")
    missing = sorted({node.instance_type or node.name for node in nodes if node.price is None})
    if missing:
        why = f"no price is known for {', '.join(missing)}; give --price TYPE=USD_PER_HOUR"
        return Cost(None, None, None, None, tuple(nodes), why)
    spent = sum(node.cost or 0.0 for node in nodes)
    warm = {node.name: min(node.end, max(node.begin, first_images.get(node.name, node.end))) for node in nodes}
    cold = sum(_usd(node, node.begin, warm[node.name]) for node in nodes)
    tail = sum(_usd(node, max(warm[node.name], last_image), node.end) for node in nodes) if last_image else None
    why = "a node was shared with others" if any(node.shared for node in nodes) else ""
    return Cost(spent, spent / good_images * 1000 if good_images else None, cold, tail, tuple(nodes), why)


def _usd(node: NodeTime, begin: float, end: float) -> float:
    return max(0.0, end - begin) / 3600 * (node.price or 0.0)
