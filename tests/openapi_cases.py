"""Requests that schemathesis makes from an OpenAPI document, valid ones and broken ones, alone and in sequence."""

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from PIL import Image
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

LINK = r"$response.body#/data/0/url#regex:/kept/([^/?]+)"


@dataclass
class Answers:
    """What was answered: how often each status on each route, and every failed check."""

    phases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, phase: str, recorder: ScenarioRecorder) -> None:
        """Add what one scenario did."""
        for name, case in recorder.cases.items():
            self.phases[phase] += 1
            interaction = recorder.interactions.get(name)
            if interaction is not None and interaction.response is not None:
                self.statuses[case.value.operation.label, interaction.response.status_code] += 1
            for check in recorder.checks.get(name, ()):
                if check.failure_info is not None:
                    self.failures.append(
                        f"{check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
                    )


@schemathesis.check
def an_image_is_one(ctx: Any, response: Any, case: Any) -> None:
    """What calls itself an image decodes to its last pixel."""
    (kind,) = response.headers.get("content-type", [""])
    if kind.startswith("image/"):
        with Image.open(io.BytesIO(response.content)) as image:
            image.load()


def configured(
    examples: int, key: str, *, url: str = "", expected: tuple[str, ...] = (), boundaries: bool = True
) -> SchemathesisConfig:
    """So many random requests a route, the same in every run; with every limit's both sides if `boundaries`.

    What a document cannot say is not expected of the service.
    """
    document: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {key}"},
        "seed": 7,
        "suppress-health-check": ["all"],  # those ask how fast this machine is
        "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
        "phases": {"coverage": {"enabled": boundaries}},
        "checks": {
            "positive_data_acceptance": {"enabled": False},  # sizes and budgets are the model's
            "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", *expected]},
        },
    }
    if url:
        document |= {"base-url": url, "request-timeout": 300}
    return SchemathesisConfig.from_dict(document)


def with_links(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the way from an answer's URL to its image, which OpenAPI's own words cannot say."""
    answer = document["paths"]["/v1/images/generations"]["post"]["responses"]["200"]
    kept = document["paths"]["/v1/images/kept/{name}"]["get"]["operationId"]
    answer["links"] = {"image": {"operationId": kept, "parameters": {"name": LINK}}}
    return document


def run(schema: schemathesis.BaseSchema) -> Answers:
    """Send all of them."""
    answers = Answers()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            answers.note(event.phase.name, event.recorder)
        elif isinstance(event, events.NonFatalError):
            raise event.value
        elif isinstance(event, events.FatalError):
            raise event.exception
    return answers
