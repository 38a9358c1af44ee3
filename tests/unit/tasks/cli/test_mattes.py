"""`modnet evaluate` and `modnet infer` on small synthetic portraits and a tiny network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modnet.data.images import read_image, write_png
from modnet.workloads.matting.metrics import ERROR_NAMES
from modnet.workloads.matting.names import ALL_METRICS
from tasks.cli import main
from tests.unit.modnet.workloads.matting.predict.videos import noise, shown, write_video

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., tuple[int, str]]


def test_evaluate_measures_all_metrics_with_intervals_and_compares_with_an_earlier_file(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    common = ("evaluate", "--checkpoint", checkpoint, "--dataset", archive, "--metrics", "all")
    files = ("--scores", tmp_path / "new" / "scores.json", "--sheet", tmp_path / "new" / "worst.png")
    found = run(*common, *files)
    assert set(ERROR_NAMES) <= set(found)
    for name in ERROR_NAMES:
        low, high = found["intervals"][name]
        assert low <= found[name] <= high
    stored = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert [image["stem"] for image in stored["per_image"]] == ["0000", "0001"]
    assert stored["protocol"] == found["protocol"] == "modelcompression"
    assert (tmp_path / "new" / "worst.png").read_bytes().startswith(b"\x89PNG")

    again = run(*common, "--compare", tmp_path / "new" / "scores.json")
    assert again["differences"]["mse"] == {"mean": 0, "low": 0, "high": 0}
    assert set(again["differences"]) == set(ERROR_NAMES)


def test_evaluate_measures_mse_and_mad_only_when_nothing_else_is_asked_for(
    archive: Path, checkpoint: Path, run: Run
) -> None:
    found = run("evaluate", "--checkpoint", checkpoint, "--dataset", archive)
    assert set(found) & set(ERROR_NAMES) == {"mse", "mad", "unknown_mse", "unknown_mad"}
    more = run("evaluate", "--checkpoint", checkpoint, "--dataset", archive, "--metrics", "sad")
    assert set(more) & set(ALL_METRICS) == {"mse", "mad", "sad"}


def test_evaluate_prints_tables_when_text_is_asked_for(
    archive: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    common = ["evaluate", "--checkpoint", str(checkpoint), "--dataset", str(archive)]
    assert main([*common, "--scores", str(tmp_path / "scores.json")]) == 0
    assert main([*common, "--compare", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert "protocol: modelcompression" in printed
    assert "| error | mean | 95 % interval | images |" in printed
    assert "| equal |" in printed


def test_evaluate_scores_an_onnx_file_like_its_checkpoint(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    onnx = run("export", "--checkpoint", checkpoint, "--out", tmp_path / "onnx", "--dynamic")["onnx"]
    common = ("--dataset", archive, "--protocol", "aspect")
    of_onnx, of_torch = run("evaluate", "--onnx", onnx, *common), run("evaluate", "--checkpoint", checkpoint, *common)
    np.testing.assert_allclose(of_onnx["mse"], of_torch["mse"], rtol=1e-3)
    assert "parameters" not in of_onnx


def test_evaluate_refuses_to_compare_other_images(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    common = ("evaluate", "--checkpoint", checkpoint, "--dataset", archive)
    run(*common, "--split", "tune", "--scores", tmp_path / "tune.json")
    code, error = refuse(*common, "--compare", tmp_path / "tune.json")
    assert (code, "different splits cannot be compared: 'val' and 'tune'" in error) == (3, True)
    code, error = refuse(*common, "--compare", tmp_path / "none.json")
    assert (code, "none.json cannot be read" in error) == (3, True)


def test_evaluate_refuses_an_unknown_metric(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "--dataset", "x", "--metrics", "mse,psnr"])
    assert caught.value.code == 2
    assert "got ['psnr'], wanted all, or some of mse,mad,sad,grad,conn" in capsys.readouterr().err


def test_infer_puts_people_on_a_colour(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    write_png(tmp_path / "photo.png", np.full((40, 30, 3), 90, np.uint8))
    common = ("infer", "--checkpoint", checkpoint, "--input", tmp_path / "photo.png", "--out", tmp_path / "out")
    assert run(*common, "--result", "composite", "--background", "#00b140")["mattes"] == 1
    assert read_image(tmp_path / "out" / "photo.png").shape == (40, 30, 3)


def test_infer_writes_the_matte_of_a_video(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    clip = write_video(tmp_path / "clip.mkv", [np.full((32, 48, 3), level, np.uint8) for level in (90, 190)])
    found = run("infer", "--checkpoint", checkpoint, "--input", clip, "--out", tmp_path / "out")
    assert found == {"written": str(tmp_path / "out" / "clip.mp4"), "frames": 2, "damaged": 0}
    assert len(shown(tmp_path / "out" / "clip.mp4")) == 2


def test_infer_writes_what_is_left_of_a_video_and_ends_with_1(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = write_video(tmp_path / "clip.mkv", noise(20))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 4])
    arguments = ["infer", "--checkpoint", checkpoint, "--input", clip, "--out", tmp_path / "out", "--json"]
    assert main([*map(str, arguments)]) == 1
    captured = capfd.readouterr()
    frames = json.loads(captured.out)["frames"]
    assert len(shown(tmp_path / "out" / "clip.mp4")) == frames >= 1
    assert captured.err.startswith(f"modnet: error: video {clip}: ends after ")  # FFmpeg itself is silent
    assert captured.err.endswith("of 2.00 s: cut off or damaged; what could be decoded is written\n")


def test_infer_on_a_folder_goes_on_names_what_cannot_be_read_and_ends_with_1(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"\xff\xd8 cut off")
    write_png(photos / "b.png", np.full((40, 30, 3), 90, np.uint8))
    (photos / "c.cr3").write_bytes(b"a negative")
    arguments = ["infer", "--checkpoint", checkpoint, "--input", photos, "--out", tmp_path / "out", "--json"]
    assert main([*map(str, arguments)]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["mattes"], found["left_out"]) == (1, {"files": 1, "names": ["c.cr3"]})
    assert list(found["unreadable"]) == ["a.jpg"]
    assert "modnet: error: 1 of 2 images cannot be read: a.jpg\n" in captured.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--result", "composite"], 2, "goes with --result composite, and only with it"),
        (["--background", "#ffffff"], 2, "goes with --result composite, and only with it"),
        (["--result", "composite", "--background", "#white"], 3, "got '#white', wanted a colour"),
        ([], 3, "photo.mp4: no such file"),
    ],
    ids=["no background", "no composite", "no colour", "no video"],
)
def test_infer_refuses_what_it_cannot_do(
    arguments: list[str], code: int, message: str, checkpoint: Path, tmp_path: Path, refuse: Refuse
) -> None:
    common = ("infer", "--checkpoint", checkpoint, "--input", tmp_path / "photo.mp4", "--out", tmp_path / "out")
    got, error = refuse(*common, *arguments)
    assert (got, message in error) == (code, True), error
    assert not (tmp_path / "out").exists()
