"""The committed references are what the bare pipeline draws with the committed weights."""

import pytest

from loadtests.images import fingerprint, same
from loadtests.job import builtin_prompts, references

pytestmark = pytest.mark.torch


def test_references_are_the_bare_pipelines_pictures() -> None:
    from loadtests.references import draw

    known = list(references())
    assert [(one.id, one.text, one.fields) for one in known] == [
        (one.id, one.text, one.fields) for one in builtin_prompts()
    ]
    some = known[::6]
    assert len(some) == 3
    for prompt, image in zip(some, draw(some), strict=True):
        assert same(fingerprint(image), prompt.reference), prompt.text
    assert len({prompt.reference for prompt in known}) == len(known)
