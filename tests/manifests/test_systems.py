"""The manifests of the systems that this one replaces get the findings that their known faults deserve, no others."""

from pathlib import Path

import pytest

from sdctl import manifest
from sdctl.errors import InvalidRequest
from sdctl.manifest_checks import check, describe, refuse_failures

SYSTEMS = Path(__file__).parent / "systems"

# (level, line, words of the finding)
EXPECTED: dict[str, list[tuple[str, int, str]]] = {
    "sample.yaml": [
        ("warn", 13, "pip packages diffusers"),
        ("warn", 14, "no token authentication"),
        ("warn", 15, "rayVersion 2.46.0"),
        ("fail", 22, "is gone"),
        ("fail", 34, "is gone"),
    ],
    "system0-hyperpod.yaml": [
        ("warn", 12, "the head of a branch"),
        ("warn", 14, "no token authentication"),
        ("warn", 15, "rayVersion 2.9.0"),
        ("warn", 23, "no longer published"),
        ("warn", 33, "enableInTreeAutoscaling is off"),
        ("warn", 39, "tolerates no taint"),
        ("warn", 42, "no longer published"),
    ],
    "system1-karpenter.yaml": [
        ("fail", 13, "serviceUnhealthySecondThreshold"),
        ("fail", 14, "deploymentUnhealthySecondThreshold"),
        ("fail", 22, "model stabilityai/stable-diffusion-2-1"),
        ("warn", 27, "metrics_interval_s"),
        ("fail", 33, "Use target_ongoing_requests."),
        ("warn", 34, "graceful_shutdown_timeout_s 5"),
        ("fail", 35, "Use max_ongoing_requests."),
        ("fail", 40, "rayVersion 2.11.0"),
        ("fail", 45, "headService.metadata.name"),
        ("warn", 54, "another image tomorrow"),
        ("warn", 76, "another image tomorrow"),
        ("fail", 88, "exposes the dashboard"),
    ],
    "system2-anyscale.yaml": [("warn", 17, "up to 99 GPUs")],
    "system3-dreambooth.yaml": [
        ("fail", 5, "no DNS-1035 label"),
        ("warn", 13, "no max_ongoing_requests"),
        ("fail", 14, "It belongs to the application."),
        ("fail", 17, "initial_replicas 3"),
        ("fail", 19, "Use target_ongoing_requests."),
        ("fail", 25, "serviceType without token authentication"),
        ("fail", 33, "none called `serve`"),
        ("fail", 37, "minReplicas 3 > maxReplicas 2"),
        ("fail", 45, "another Ray than the head's"),
    ],
}


@pytest.mark.parametrize("file", sorted(EXPECTED))
def test_exactly_the_deserved_findings(file: str) -> None:
    subject = manifest.load(SYSTEMS / file)
    found = [(finding.level, finding.line, describe(finding, file)) for finding in check(subject)]
    expected = EXPECTED[file]
    assert [(level, line) for level, line, _ in found] == [(level, line) for level, line, _ in expected]
    for (_, _, text), (_, _, words) in zip(found, expected, strict=True):
        assert words in text
        assert text.startswith(f"{file}:")


@pytest.mark.parametrize(
    ("file", "kinds"),
    [("system2-service.yaml", "an object without kind"), ("system4-queue.yaml", "Deployment, ScaledObject")],
)
def test_what_is_no_rayservice_is_refused_by_what_it_is(file: str, kinds: str) -> None:
    with pytest.raises(InvalidRequest, match="has 0 RayServices") as caught:
        check(manifest.load(SYSTEMS / file))
    assert kinds in caught.value.message


def test_failures_stop_with_all_of_them_and_warnings_do_not() -> None:
    bad = manifest.load(SYSTEMS / "system1-karpenter.yaml")
    with pytest.raises(InvalidRequest) as caught:
        refuse_failures(check(bad), bad.path)
    assert "(8 findings)" in caught.value.message
    assert caught.value.exit_code == 2
    assert caught.value.message.count(f"{bad.path}:") == 8
    warned = manifest.load(SYSTEMS / "system0-hyperpod.yaml")
    refuse_failures(check(warned), warned.path)
