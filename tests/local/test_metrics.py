"""What Ray's Prometheus endpoint tells of the service: counts of what was asked, on loopback, and no prompt."""

import json
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.local.cli import listeners, session, wait_for
from tests.local.conftest import LocalService

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

SECRET = "zyzzyva"  # in no dictionary of the service
SAMPLE = re.compile(r"^(ray_sdctl_\w+)(\{.*\})? (\S+)$", re.MULTILINE)
# By the least that three pictures of one prompt and one refusal add; Ray's `_sum` is made of the buckets' middles.
WANTED = {
    "ray_sdctl_images_total": 3,
    "ray_sdctl_queue_ms_count": 3,
    "ray_sdctl_generate_ms_count": 3,
    "ray_sdctl_step_ms_count": 3,
    "ray_sdctl_encode_ms_count": 3,
    "ray_sdctl_batch_size_count": 3,
    "ray_sdctl_embedding_hits_total": 2,
    "ray_sdctl_answers_total ok": 3,
    "ray_sdctl_answers_total invalid_value": 1,
}


def targets(service: LocalService) -> list[str]:
    """The addresses that Ray lists for Prometheus; none until it has written the list."""
    listed = Path(service.sdctl.record["folder"], "prom_metrics_service_discovery.json")
    return (
        [address for group in json.loads(listed.read_text()) for address in group["targets"]] if listed.exists() else []
    )


def scraped(service: LocalService) -> str:
    """All that Prometheus would read now."""
    texts = []
    for address in targets(service):
        try:
            texts.append(httpx.get(f"http://{address}/metrics", timeout=60, trust_env=False).text)
        except httpx.HTTPError:  # listed before it listens; what counts is asked for again
            continue
    return "\n".join(texts)


def counts(text: str) -> Counter[str]:
    """Our samples, summed over labels other than an answer's code."""
    sums: Counter[str] = Counter()
    for name, labels, value in SAMPLE.findall(text):
        code = re.search(r'[{,]code="(\w+)"', labels)
        sums[f"{name} {code[1]}" if code else name] += round(float(value))
    return sums


def test_the_scrape_counts_what_was_asked_and_holds_no_prompt(local_service: LocalService) -> None:
    before = counts(scraped(local_service))
    with local_service.new_client() as client:
        for seed in (1, 2, 1):
            wish = {"prompt": f"a red circle {SECRET}", "seed": seed, "num_inference_steps": 2, "img_size": 128}
            assert client.post("/imagine", json=wish).status_code == 200
        assert client.post("/imagine", json={"prompt": SECRET, "img_size": 100}).status_code == 400

    def grown() -> bool:
        now = counts(scraped(local_service))
        return all(now[name] - before[name] >= least for name, least in WANTED.items())

    wait_for(grown, "the scrape counts three pictures and one refusal")  # Ray reports every few seconds
    assert SECRET not in scraped(local_service)


def test_what_prometheus_reads_listens_on_loopback_only(local_service: LocalService) -> None:
    wait_for(lambda: targets(local_service), "Ray lists what to scrape")
    ports = {int(address.rpartition(":")[2]) for address in targets(local_service)}
    members = session(local_service.sdctl.record["leader"]["pid"])
    found = {(host, port) for host, port in listeners(members) if port in ports}
    assert found == {("127.0.0.1", port) for port in ports}
