"""`sdctl doctor`."""

from dataclasses import asdict

from sdctl.options import (
    JsonOption,
    on_target,
)
from sdctl.output import Output
from sdctl.targets.base import Finding, Selection
from sdctl.targets.select import select


@on_target("token_file", "ca_file")
def command(
    where: Selection,
    as_json: JsonOption = False,
) -> int:
    """Check what the target needs and lacks, each with its fix; exit code 1 when a check fails."""
    output = Output(as_json=as_json)
    chosen = select(where)
    output.info(f"Checking the target {chosen.name}.")
    findings = []
    for finding in chosen.doctor():
        findings.append(finding)
        if not as_json:
            output.text(finding_line(finding))
    healthy = all(finding.level != "fail" for finding in findings)
    if as_json:
        output.json_line({"target": chosen.name, "ok": healthy, "findings": list(map(asdict, findings))}, indent=2)
    return 0 if healthy else 1


def finding_line(finding: Finding) -> str:
    """`fail     KubeRay's CRDs: …`, with the fix below it where there is something to mend."""
    line = f"{finding.level:8} {finding.what}" + (f": {finding.detail}" if finding.detail else "")
    mend = finding.fix and finding.level != "ok"
    return f"{line}\n{'':8} → {finding.fix}" if mend else line
