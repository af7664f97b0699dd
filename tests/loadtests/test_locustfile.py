"""The locustfile alone, as any Locust user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.job import HERE, builtin_prompts
from tests.fakes.http_service import error, http_service

pytestmark = pytest.mark.wire
ENOUGH = 20


def test_locust_runs_it_without_sdctl(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--only-summary"]
    command += ["-u", "3", "-r", "3", "-t", "240s", "--stop-timeout", "30", "--json"]
    environment = {**os.environ, "SDCTL_TOKEN": "opensesame"}
    with http_service() as fake:
        fake.script.append(error(500, "internal"))
        with subprocess.Popen(
            [*command, "-H", fake.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment,
        ) as process:
            deadline = time.monotonic() + 120
            while len(fake.posts) < ENOUGH and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=120)
        seen = list(fake.posts)
    assert len(seen) >= ENOUGH, err
    [figures] = json.loads(out)
    assert (figures["method"], figures["name"]) == ("POST", "/imagine")
    assert figures["num_failures"] == 1
    assert figures["num_requests"] > figures["num_failures"]
    assert process.returncode == 1  # Locust's own: something failed
    assert {each.headers["authorization"] for each in seen} == {"Bearer opensesame"}
    known = {(prompt.text, prompt.fields["seed"]) for prompt in builtin_prompts()}
    assert {(each.body["prompt"], each.body["seed"]) for each in seen} <= known
