"""benchmarks/README.md lists every command, and whatever names a benchmark or its files names one that is there."""

from __future__ import annotations

import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import benchmarks

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "benchmarks" / "README.md"
STARTED_BY_ANOTHER = {"benchmarks.latency.old_runtime"}
WRITTEN = ("*.md", "docs/**/*.md", "Makefile", "*.toml", "benchmarks/**/*.md", "modnet/**/*.md", "[a-z]*/**/*.py")


def commands() -> set[str]:
    names = set()
    for found in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
        spec = find_spec(found.name)
        assert spec is not None
        assert spec.origin is not None
        if '\nif __name__ == "__main__":\n' in Path(spec.origin).read_text():
            names.add(found.name.removesuffix(".__main__"))
    return names - STARTED_BY_ANOTHER


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_table_of_contents_lists_every_command_and_leads_to_a_section_that_shows_it() -> None:
    text = README.read_text()
    listed = dict(re.findall(r"^\| .* \| \[`(benchmarks\.[a-z_.]+)`\]\(#([a-z0-9-]+)\) \|$", text, re.MULTILINE))
    assert listed.keys() == commands()
    sections = {anchor(one.partition("\n")[0]): one for one in text.split("\n## ")[1:]}
    for command, place in listed.items():
        assert f"python -m {command}" in sections[place], command


def test_benchmarks_and_results_that_are_named_anywhere_are_there() -> None:
    missing = set()
    for path in (path for pattern in WRITTEN for path in PROJECT.glob(pattern)):
        text = path.read_text()
        modules = [name.rstrip(".") for name in re.findall(r"(?:-m |`|from )(benchmarks\.[a-z_.]+)", text)]
        files = [name.rstrip("./") for name in re.findall(r"(?<![\w.])benchmarks/[A-Za-z0-9_./-]+", text)]
        there = [PROJECT / one for one in files] + [PROJECT / f"{one.replace('.', '/')}.py" for one in modules]
        missing |= {
            (str(path.relative_to(PROJECT)), str(one.relative_to(PROJECT)))
            for one in there
            if not (one.exists() or one.with_suffix("").is_dir())
        }
    assert not missing
