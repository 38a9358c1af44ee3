"""README, CONTRIBUTING and docs/ speak of what there is: verbs, policies, make targets, modules, files, formats."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.making.schemas import FOLDER, SCHEMAS, schema_text
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.documents.pointer import Pointer
from infra.device.documents.trials import TrialRelease, Trials
from modnet.checkpoint import to_bytes
from modnet.pruning.plan import PruningPlan
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli.pruning_flags import FLAGS_OF

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
PAGES = [README, PROJECT / "CONTRIBUTING.md", PROJECT / "benchmarks" / "README.md", *PROJECT.glob("docs/**/*.md")]
COMMAND_LINE = (PROJECT / "docs" / "command-line.md").read_text()
PRUNING = (PROJECT / "docs" / "pruning.md").read_text()


def test_command_line_page_shows_every_verb_of_modnet() -> None:
    usage = subprocess.run([sys.executable, "-m", "tasks.cli", "--help"], capture_output=True, text=True, check=True)
    verbs = re.findall(r"^    ([a-z]+)(?: |$)", usage.stdout, re.MULTILINE)
    assert len(verbs) >= 10
    for verb in verbs:
        assert f"modnet {verb}" in COMMAND_LINE, verb


def test_pruning_page_shows_every_policy_of_modnet_prune_and_every_flag_of_it() -> None:
    for policy, flags in FLAGS_OF.items():
        assert f"| `{policy}` |" in PRUNING
        for flag in flags:
            assert f"`--{flag.replace('_', '-')}" in PRUNING, flag


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_speaks_only_of_make_targets_modules_and_files_that_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert made <= targets, made - targets
    if page == README:
        assert {"nightly", "test"} <= made
    for module in re.findall(r"python -m ((?:flows|tasks|modnet|infra|benchmarks)[\w.]*)", text):
        assert importlib.util.find_spec(module) is not None, module
    for file in re.findall(r"`((?:flows|tasks|modnet|infra|benchmarks|tests|docs)/[\w./-]+\.\w+)", text):
        assert (PROJECT / file).is_file(), file


def test_readme_gains_are_rows_of_the_results() -> None:
    gains = README.read_text().split("## What it gains")[1].split("\n## ")[0]
    results = (PROJECT / "docs" / "results.md").read_text().split("<!-- table: beside published -->")[1]
    rows = [line for line in gains.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 5
    wanted = {re.sub(r"\s+", "", line) for line in results.split("<!-- end -->")[0].splitlines()}
    assert {re.sub(r"\s+", "", row) for row in rows} <= wanted


def test_schemas_are_those_of_the_code() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}
    for name in SCHEMAS:
        text = (FOLDER / f"{name}.schema.json").read_text()
        assert text == schema_text(name), "run: python -m benchmarks.making.schemas"


def _manifest() -> str:
    files = {f"modnet.{end}": FileDigest("0" * 64, 1) for end in ("xml", "bin")}
    target = TargetFiles(
        ir_xml="modnet.xml", ir_bin="modnet.bin", input_name="input", input_shape=(1, 3, 512, 512), precision="fp32"
    )
    manifest = Manifest(
        workload="matting", network_id="0" * 12, targets={"cpu-fp32": target}, files=files, scores={}, provenance={}
    )
    return manifest.to_json().decode()


def _trials() -> str:
    releases = (TrialRelease("1" * 12, "0" * 64),)
    return Trials("cpu-fp32", releases, "0" * 12, "20261129T120000.000000Z").to_json().decode()


def _report() -> str:
    report = LatencyReport(
        release_id="0" * 12,
        target="cpu-fp32",
        device="kitchen-1",
        runtime="openvino 2026.4.1",
        status="failed",
        started_at="20261129T120000.000000Z",
        conditions={},
        reason="no such device",
    )
    return report.to_json().decode()


def _header() -> str:
    content = to_bytes(MODNet(ModnetSpec.tiny()), {})
    length = int.from_bytes(content[:8], "little")
    header: str = json.loads(content[8 : 8 + length])["__metadata__"]["modnet"]
    return header


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest", _manifest()),
        ("pointer", Pointer(target="cpu-fp32", release_id="0" * 12, manifest_sha256="0" * 64).to_json().decode()),
        ("trials", _trials()),
        ("report", _report()),
        ("plan", PruningPlan(groups={}).to_json()),
        ("checkpoint-header", _header()),
    ],
    ids=lambda value: value if len(value) < 20 else "",
)
def test_a_document_has_the_fields_of_its_schema(name: str, text: str) -> None:
    schema, document = SCHEMAS[name](), json.loads(text)
    assert set(document) == set(schema["properties"]) == set(schema["required"])
    for member, value in document.items():
        inner = schema["properties"][member]
        if "properties" in inner:
            assert set(value) == set(inner["properties"]), member


def test_each_walk_goes_one_file_further_and_none_back() -> None:
    walks = (PROJECT / "docs" / "walks.md").read_text().split("\n## ")[1:]
    assert len(walks) == 2
    for walk in walks:
        steps = re.findall(r"^\| (\d+) \| `([^`]+)` \|([^|]*)\|", walk, re.MULTILINE)
        assert [int(number) for number, _, _ in steps] == list(range(1, len(steps) + 1))
        files = [file for _, file, _ in steps]
        assert len(files) >= 10
        assert len(set(files)) == len(files)
        for _, file, text in steps:
            for name in re.findall(r"^ `([A-Za-z_]\w*)(?:\.(\w+))?`", text):
                for part in filter(None, name):
                    assert re.search(rf"^\s*(?:def|class) {part}\b", (PROJECT / file).read_text(), re.MULTILINE), name
