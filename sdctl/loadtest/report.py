"""The report: one HTML file that needs nothing else, drawn from the result folder's raw files."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sdctl.loadtest import sections, strip
from sdctl.loadtest.clocks import corrected, taken_off
from sdctl.loadtest.node_lanes import node_lanes_part
from sdctl.loadtest.over_time import over_time_part
from sdctl.loadtest.records import Record
from sdctl.loadtest.transitions import Transition
from sdctl.loadtest.verdict import verdict

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1c20;--dim:#5b616b;--line:#d7dbe0;--card:#f5f6f8;
--a:#1f6feb;--b:#b35900;--c:#1a7f37;--bad:#c0262d;--b0:#8fb8ff;--b1:#ffc48a;--b2:#97dba8;--b3:#d8b4fe;
--b4:#ff9d9d;--b5:#f2e27a;--b6:#8ee0e0;--b7:#c3c9d4}
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--fg:#e8eaed;--dim:#a2a9b4;--line:#363b44;--card:#1d2026;
--a:#79b0ff;--b:#ffb366;--c:#6fd08c;--bad:#ff7b82;--b0:#2f5597;--b1:#8a5420;--b2:#2d6b40;--b3:#6b4a94;--b4:#93434a;--b5:#7a6d1d;
--b6:#26696e;--b7:#555c68}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:1rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.8rem 0 .4rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.6rem}
.card{background:var(--card);border-radius:8px;padding:.6rem .8rem}.card b{display:block;font-size:1.35rem}
.card span,.dim{color:var(--dim);font-size:.9rem}.bad{color:var(--bad)}
.lead{font-size:1.1rem;margin:.6rem 0 1rem}.mark{stroke:var(--dim);stroke-dasharray:2 3}
.wide{overflow-x:auto}.wide .chart{min-width:700px}
.chart{width:100%;height:auto;font:12px system-ui,sans-serif}.chart text{fill:var(--fg)}
.chart .n{text-anchor:end;fill:var(--dim)}
.chart .none{fill:var(--dim)}
.chart .x{text-anchor:middle;fill:var(--dim)}.chart .t{font-weight:600}.grid{stroke:var(--line)}
.goal{stroke:var(--bad);stroke-dasharray:5 4}.line{fill:none;stroke-width:1.8}.line.a{stroke:var(--a)}
.line.b{stroke:var(--b)}
.line.c{stroke:var(--c)}.dot.a{fill:var(--a);opacity:.55}.dot.bad{fill:var(--bad)}.chart .key.a{fill:var(--a)}
.chart .key.b{fill:var(--b)}.chart .key.c{fill:var(--c)}.chart .key.bad{fill:var(--bad)}
.b0{fill:var(--b0)}.b1{fill:var(--b1)}.b2{fill:var(--b2)}.b3{fill:var(--b3)}
.b4{fill:var(--b4)}.b5{fill:var(--b5)}.b6{fill:var(--b6)}.b7{fill:var(--b7)}.b8{fill:var(--card);stroke:var(--line)}.band{opacity:.28}
.chart .in{font-size:11px}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}.scroll{overflow-x:auto}
.scroll+.scroll{margin-top:1rem}.short{white-space:nowrap}
.strip{display:flex;flex-wrap:wrap;gap:.5rem}.strip img{width:96px;height:96px;object-fit:cover;border-radius:6px}
summary{cursor:pointer;color:var(--dim)}@media print{body{max-width:none}details{display:block}}
"""


def render(
    summary: Mapping[str, Any],
    every: Sequence[Record],
    transitions: Sequence[Transition],
    samples: Sequence[Path] = (),
    other: Mapping[str, Any] | None = None,
) -> str:
    """The whole page, and the summary of another run beside it where there is one.

    Every part of it is escaped, and nothing in it refers outside.
    """
    transitions = corrected(transitions, taken_off(summary.get("clocks", {})))
    begin = float(summary["started"])
    end = max([begin + 1.0, *(r.done for r in every if r.done), *(t.observed for t in transitions)])
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1"><title>sdctl load test</title>',
        f'<link rel=icon href="data:,"><style>{STYLE}</style></head><body><main>',
        _head(summary),
        over_time_part(summary, every, transitions, (begin, end)),
        sections.lanes_part(summary, begin, end),
        node_lanes_part(transitions, begin, end),
        sections.attainment_part(summary),
        sections.scaling_part(summary),
        sections.latency_part(summary, every),
        sections.outcomes_part(summary),
        sections.cost_part(summary),
        sections.beside_part(summary, other),
        strip.strip_part(samples),
        sections.how_part(summary),
        "</main></body></html>",
    ]
    return "".join(parts)


def _head(summary: Mapping[str, Any]) -> str:
    heads = summary["timeline"]["headlines"]
    latency = summary["latency_s"]
    good = summary["outcomes"]["ok"]
    cards = [
        (f"{good} / {summary['sent']}", "good images / requests"),
        (sections.seconds(latency["p50"]), "median latency"),
        (sections.seconds(latency["p95"]), "p95 latency"),
        (sections.number(summary["goodput_per_s"], "/s"), "good images"),
        (sections.number(summary["replicas"]["max_running"], ""), "most replicas"),
        (sections.seconds(heads["burst_to_decided_s"]), "burst → scale decided"),
        (sections.seconds(heads["burst_to_first_new_image_s"]), "burst → first image of a new replica"),
        (_recovered(summary), "burst → SLO recovered"),
        (sections.seconds(heads["drain_s"]), "drain time"),
        ((summary["timeline"]["dominant_phase"] or "unknown").replace("_", " "), "dominant phase"),
        (sections.money(summary["cost"]["total_usd"]), "cost of the run"),
    ]
    body = "".join(f"<div class=card><b>{escape(str(v))}</b><span>{escape(k)}</span></div>" for v, k in cards)
    slo = "".join(
        f'<li class="{"" if row["met"] else "bad"}">{escape(row["objective"])}: '
        f"{'met' if row['met'] else 'missed'} ({_value(row['value'])})</li>"
        for row in summary["slo"]
    )
    notes = [*summary["notes"]]
    if summary["via"] == "tunnel":
        most = "" if summary.get("tunnel_compared") else "at most "
        notes.append(
            f"Reached through a tunnel, which adds {most}{sections.milliseconds(summary['tunnel_latency_s'])}."
        )
    noted = "".join(f"<li>{escape(str(note))}</li>" for note in notes)
    return (
        f"<h1>Load test of {escape(str(summary['target']))}</h1><p class=dim>{escape(summary['plan'])}</p>"
        f"<p class=lead>{escape(' '.join(verdict(summary)))}</p>"
        f"<div class=cards>{body}</div>" + (f"<ul>{slo}{noted}</ul>" if slo or noted else "")
    )


def _recovered(summary: Mapping[str, Any]) -> str:
    if summary["latency_goal_s"] is None:
        return "no goal set"
    after = summary["timeline"]["headlines"]["burst_to_slo_recovered_s"]
    return "never missed" if after == 0 else "not again" if after is None else sections.seconds(after)


def _value(value: Any) -> str:
    return "nothing to judge" if value is None else f"{value:.4g}"
