"""RESULTS.md: sections replace themselves."""

from pathlib import Path

from loadtests.benchmarks import results


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    for section, text in (("A", "one"), ("B", "two\n\nmore"), ("A", "three\n")):
        results.put(section, text, path)
    assert path.read_text() == f"{results.TITLE}\n## A\n\nthree\n\n## B\n\ntwo\n\nmore\n"
