"""Check a manifest before anything is sent: each finding has its line, the reason and the fix."""

from sdctl.errors import InvalidRequest
from sdctl.manifest import Manifest
from sdctl.manifest_checks import exposure, pods, scaling, serve_keys, versions
from sdctl.manifest_checks.subject import Subject
from sdctl.targets.base import Finding


def check(manifest: Manifest, *, kuberay: tuple[int, int] | None = None) -> tuple[Finding, ...]:
    """Everything found in a manifest, by line; `fail` stops a deployment, `warn` does not.

    `kuberay` is the operator's version, where it is known. Raises InvalidRequest when there is not one RayService.
    """
    subject = Subject(manifest)
    findings = [
        *subject.unreadable(),
        *versions.check(subject, kuberay),
        *serve_keys.check(subject),
        *scaling.check(subject),
        *pods.check(subject),
        *exposure.check(subject),
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.line or 0, finding.what)))


def describe(finding: Finding, path: str) -> str:
    """One finding as text: `file:12: what: why. Fix`."""
    place = f"{path}:{finding.line}" if finding.line else path
    return f"{place}: {finding.what}: {finding.detail} {finding.fix}".rstrip()


def refuse_failures(findings: tuple[Finding, ...], path: str) -> None:
    """Raise InvalidRequest with all findings that stop a deployment, if there are any."""
    failures = [finding for finding in findings if finding.level == "fail"]
    if failures:
        lines = "\n".join(f"  {describe(finding, path)}" for finding in failures)
        raise InvalidRequest(
            f"{path} cannot work as it is ({len(failures)} finding{'s' if len(failures) > 1 else ''}):\n{lines}",
            hint="Nothing was sent to the cluster.",
            code="invalid_manifest",
        )
