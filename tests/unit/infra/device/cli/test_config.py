"""The settings of an agent: from a file, from variables, and what is wrong with either, in words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.device.agent.settings import RuntimeSettings
from infra.device.cli.read_config import KEYS, config_of_flags, read_config
from infra.device.errors import SettingsError

GOOD = """
device = "kitchen-1"
store = "s3://modnet"
ingest = "https://ingest.example.com"
root = "root.json"
work_folder = "work"
targets = ["cpu-int8", "cpu-fp32"]
"""
RUNTIMES = """
[[runtime]]
name = "new"
targets = ["cpu-int8"]

[[runtime]]
name = "stick"
python = "/opt/stick/bin/python"
targets = ["ncs2-fp16", "cpu-int8"]
environ = {LD_LIBRARY_PATH = "/opt/stick/lib"}
"""
WITHOUT_TARGETS = GOOD.replace('targets = ["cpu-int8", "cpu-fp32"]\n', "")


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "agent.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_file_says_everything_and_its_paths_start_at_its_folder(tmp_path: Path) -> None:
    config = read_config(_file(tmp_path, GOOD), {})
    assert (config.device, config.store, config.targets) == ("kitchen-1", "s3://modnet", ["cpu-int8", "cpu-fp32"])
    assert (config.root, config.work_folder) == (tmp_path / "root.json", tmp_path / "work")
    assert (config.interval_s, config.warm_up, config.repeats, config.threads) == (300.0, 5, 50, None)
    assert config.runtimes == (RuntimeSettings("this", targets=("cpu-int8", "cpu-fp32")),)


def test_an_absolute_path_of_the_file_stays(tmp_path: Path) -> None:
    config = read_config(_file(tmp_path, GOOD.replace('"root.json"', '"/etc/root.json"')), {})
    assert config.root == Path("/etc/root.json")


def test_variables_alone_do(tmp_path: Path) -> None:
    environ = {
        "MODNET_AGENT_DEVICE": "kitchen-1",
        "MODNET_AGENT_STORE": "file:///store",
        "MODNET_AGENT_ROOT": "/root.json",
        "MODNET_AGENT_WORK_FOLDER": "/work",
        "MODNET_AGENT_TARGETS": "cpu-int8,cpu-fp32",
        "MODNET_AGENT_REPEATS": "10",
        "MODNET_AGENT_INTERVAL_S": "0.5",
    }
    config = read_config(None, environ)
    assert (config.targets, config.repeats, config.interval_s) == (["cpu-int8", "cpu-fp32"], 10, 0.5)
    assert config.root == Path("/root.json")


def test_every_key_is_a_variable_and_goes_before_the_file(tmp_path: Path) -> None:
    numbers = {"interval_s": "7", "warm_up": "0", "repeats": "3", "threads": "2", "load_s": "5", "inference_s": "1"}
    environ = {f"MODNET_AGENT_{key.upper()}": numbers.get(key, f"other-{key}") for key in KEYS}
    config = read_config(_file(tmp_path, GOOD), environ)
    assert (config.device, config.targets, config.root) == ("other-device", ["other-targets"], Path("other-root"))
    assert (config.interval_s, config.warm_up, config.repeats, config.threads) == (7, 0, 3, 2)
    assert (config.load_s, config.inference_s) == (5, 1)
    assert (config.endpoint, config.region, config.key_file) == (
        "other-endpoint",
        "other-region",
        Path("other-key_file"),
    )


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    assert read_config(None, {"MODNET_AGENT_CONFIG": str(_file(tmp_path, GOOD))}).device == "kitchen-1"


def test_flags_do_as_well_and_know_no_file() -> None:
    texts = {"device": "pi", "store": "file:///s", "root": "root.json", "work_folder": "w", "targets": "cpu-fp32"}
    assert config_of_flags(texts).targets == ["cpu-fp32"]
    with pytest.raises(SettingsError, match="--repeats: got '0', wanted a whole number from 1 to 20000"):
        config_of_flags({**texts, "repeats": "0"})


def test_runtimes_have_targets_of_their_own(tmp_path: Path) -> None:
    config = read_config(_file(tmp_path, WITHOUT_TARGETS + RUNTIMES), {})
    new, stick = config.runtimes
    assert new == RuntimeSettings("new", targets=("cpu-int8",))
    assert (stick.python, stick.environ) == (Path("/opt/stick/bin/python"), {"LD_LIBRARY_PATH": "/opt/stick/lib"})
    assert config.targets == ["cpu-int8", "ncs2-fp16"]


WRONG: dict[str, tuple[str | bytes, str]] = {
    "unknown key": (GOOD + 'colour = "red"', "agent.toml: colour: unknown, wanted one of device, store"),
    "a number for a text": (GOOD.replace('"kitchen-1"', "7"), "agent.toml: device: got 7, wanted 1 to 128 of"),
    "a text for a number": (GOOD + 'repeats = "many"', "repeats: got 'many', wanted a whole number from 1 to 20000"),
    "true for a number": (GOOD + "repeats = true", "repeats: got True, wanted a whole number"),
    "no number": (GOOD + "interval_s = nan", "interval_s: got nan, wanted a number of seconds above 0"),
    "infinity": (GOOD + "interval_s = inf", "interval_s: got inf, wanted a number of seconds above 0"),
    "another alphabet": (GOOD.replace("kitchen-1", "кухня"), "device: got 'кухня', wanted 1 to 128 of A-Z a-z"),
    "a path for a name": (GOOD.replace("kitchen-1", "../etc"), "device: got '../etc', wanted"),
    "a text for a list": (GOOD.replace('["cpu-int8", "cpu-fp32"]', '"cpu-int8"'), "targets: got 'cpu-int8', wanted a"),
    "a target twice": (GOOD.replace("cpu-fp32", "cpu-int8"), "targets: got ['cpu-int8', 'cpu-int8'], wanted a list"),
    "no target": (GOOD.replace('["cpu-int8", "cpu-fp32"]', "[]"), "targets: got [], wanted a list of 1 to 64"),
    "control characters": (GOOD + 'region = "a\\u001b[2J"', "region: got 'a\\x1b[2J', wanted a text"),
    "a long text": (GOOD + f'region = "{"x" * 2001}"', "wanted a text of 1 to 2000 characters"),
    "huge": (GOOD + "#" * 70_000, "has more than 65536 bytes"),
    "cut": (GOOD[:-8], "no TOML, or is cut off"),
    "no text": (b"\xff\xfe\x00d", "no TOML, or is cut off"),
    "deep": (GOOD + "deep = " + "[" * 20_000, "no TOML, or is cut off"),
    "a key twice": (GOOD + 'device = "b"', "no TOML"),
    "empty": ("", "device is missing"),
    "no ingest": (GOOD.replace("ingest =", "#"), "ingest is missing, wanted https://host[:port]"),
    "two runtimes of one name": (
        WITHOUT_TARGETS + RUNTIMES.replace('"stick"', '"new"'),
        "[[runtime]] 2: name: got 'new' a second time, wanted a name for each",
    ),
    "targets and runtimes": (GOOD + RUNTIMES, "got targets and [[runtime]], wanted one of them"),
    "a runtime that is none": (WITHOUT_TARGETS + "runtime = 3", "runtime: got 3, wanted tables, each as [[runtime]]"),
    "a runtime without targets": (WITHOUT_TARGETS + '[[runtime]]\nname = "a"', "[[runtime]] 1: targets is missing"),
    "an unknown key of a runtime": (
        WITHOUT_TARGETS + '[[runtime]]\nname = "a"\ntargets = ["cpu-int8"]\ncolour = 1',
        "[[runtime]] 1: colour: unknown, wanted one of name, targets, python, environ",
    ),
    "a python that is no path": (
        WITHOUT_TARGETS + '[[runtime]]\nname = "a"\ntargets = ["cpu-int8"]\npython = "python3"',
        "python: got 'python3', wanted the absolute path of an interpreter",
    ),
    "an environ of numbers": (
        WITHOUT_TARGETS + '[[runtime]]\nname = "a"\ntargets = ["cpu-int8"]\nenviron = {A = 1}',
        "environ: got {'A': 1}, wanted a table of variables, each a text",
    ),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_file_key_got_and_wanted(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_config(path, {})
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    environ = {"MODNET_AGENT_THREADS": "0", "MODNET_AGENT_COLOUR": "red"}
    with pytest.raises(SettingsError) as caught:
        read_config(_file(tmp_path, GOOD + "repeats = 0\nwarm_up = -1"), environ)
    words = str(caught.value)
    assert "MODNET_AGENT_THREADS: got '0', wanted a whole number from 1" in words
    assert "MODNET_AGENT_COLOUR: unknown" in words
    assert "repeats: got 0" in words
    assert "warm_up: got -1" in words


def test_without_file_and_variables_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("infra.device.cli.read_config.FILE", tmp_path / "agent.toml")
    with pytest.raises(SettingsError, match="agent.toml: not there; `enrol` writes it"):
        read_config(None, {})
    with pytest.raises(SettingsError, match="nowhere: wanted the settings of the agent"):
        read_config(tmp_path / "nowhere", {})


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("[default]\naws_access_key_id = device-kitchen-1\naws_secret_access_key = secret\n")
    path.chmod(0o600)
    return path


def test_the_key_stays_in_its_file_and_variables_go_before_it(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    more = f'key_file = "{key}"\nendpoint = "http://127.0.0.1:9"\nregion = "elsewhere"\n'
    with pytest.MonkeyPatch.context() as environment:  # gives back what `set_aws` sets
        for name in ("AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "AWS_SHARED_CREDENTIALS_FILE"):
            environment.setenv(name, "")
            del os.environ[name]
        read_config(_file(tmp_path, GOOD + more), {}).set_aws()
        session = boto3.session.Session()
        found = session.get_credentials()
        assert (found.access_key, found.secret_key) == ("device-kitchen-1", "secret")
        assert session.client("s3").meta.endpoint_url == "http://127.0.0.1:9"
        assert session.region_name == "eu-north-1"
        assert "secret" not in os.environ.values()


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        (0o640, None, r"open to other users \(mode 640, wanted 600\): chmod 600"),
        (0o600, b"", r"wanted \[default\] with aws_access_key_id"),
        (0o600, b"[default]\naws_access_key_id = a", r"wanted \[default\] with aws_access_key_id"),
        (0o600, b"\xff" * 100, r"wanted \[default\] with aws_access_key_id"),
    ],
)
def test_a_key_that_is_open_or_none_is_refused(
    tmp_path: Path, key: Path, mode: int, content: bytes | None, words: str
) -> None:
    if content is not None:
        key.write_bytes(content)
    key.chmod(mode)
    with pytest.raises(SettingsError, match=words):
        read_config(_file(tmp_path, GOOD + f'key_file = "{key}"'), {}).set_aws()


def test_a_python_without_toml_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, Any] = {"tomllib": None, "tomli": None}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(SettingsError, match="install tomli with pip"):
        read_config(_file(tmp_path, GOOD), {})
