"""The command line, verb by verb, on small synthetic portraits and a tiny network."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.data.archives import extract_archive
from modnet.targets import VARIANTS
from modnet.training.retrain import retrain
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.images import read_matte
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.settings import MattingRetraining
from modnet.workloads.matting.workload import MATTING
from tasks.cli import main

Refuse = Callable[..., tuple[int, str]]
Run = Callable[..., dict]

RETRAIN = ("retrain", "--checkpoint", "{tiny}", "--dataset", "{tmp}", "--out", "{tmp}/x")


def test_prune_retrain_evaluate_infer_work_one_after_another(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    found = run("dataset", "fetch", archive)
    assert (found["fit"], found["tune"], found["val"]) == (3, 4, 2)

    settings = ("--backbone-threshold", 0.5, "--global-ratio", 0.5, "--channel-multiple", 2, "--min-channels", 2)
    pruned = run("prune", "--checkpoint", checkpoint, *settings, "--out", tmp_path / "pruned")
    assert pruned["parameters"] < run("inspect", "--checkpoint", checkpoint)["parameters"]
    assert (
        json.loads((tmp_path / "pruned" / "plan.json").read_text())["plan"]["config"]["policy"]["global_ratio"] == 0.5
    )

    out = tmp_path / "retrained.safetensors"
    training = ("--epochs", 1, "--batch-size", 2, "--image-size", 64, "--precision", "fp32", "--seed", 3)
    retrained = run("retrain", "--checkpoint", pruned["checkpoint"], "--dataset", archive, *training, "--out", out)
    assert retrained["images_seen"] == 3
    assert read_checkpoint(out).provenance["retrain"]["epochs"] == 1
    assert not list(tmp_path.glob("*.training-state"))

    scores = run(
        "evaluate", "--checkpoint", out, "--dataset", archive, "--split", "val", "--protocol", "modelcompression"
    )
    assert {"mse", "mad", "images", "split", "protocol", "parameters", "macs"} <= set(scores)
    assert scores["images"] == 2
    assert 0 < scores["mse"] < scores["mad"] < 1

    images = Path(found["folder"]) / "synthetic" / "val" / "fg"
    mattes = run("infer", "--checkpoint", out, "--input", images, "--out", tmp_path / "mattes")
    assert mattes["mattes"] == 2
    assert read_matte(tmp_path / "mattes" / "0000.png").shape == (96, 64)


def test_dataset_fetch_takes_a_digest_in_capitals(archive: Path, run: Run) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest().upper()
    assert run("dataset", "fetch", archive, "--sha256", digest)["val"] == 2


def test_train_resumes_from_the_state_file_of_a_cut_run(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    common = ("--checkpoint", checkpoint, "--dataset", archive, "--batch-size", 2, "--image-size", 64)
    common += ("--precision", "fp32", "--epochs", 2)
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    run("retrain", *common, "--out", whole)

    # A run that ends after its first step, as a killed one does: its state file stays.
    class KilledError(Exception):
        pass

    def kill(state: TrainingState) -> None:
        cut.with_name("cut.safetensors.training-state").write_bytes(state.to_bytes())
        raise KilledError

    folder = extract_archive(archive, tmp_path / "extracted")
    dataset = MattingDataset(folder, index_dataset(folder).split("fit"), size=64, seed=0)
    config = MattingRetraining(epochs=2, batch_size=2, image_size=64, precision="fp32")
    with pytest.raises(KilledError):
        retrain(load(checkpoint), dataset, config, workload=MATTING, seed=0, after_step=kill)

    code, error = refuse("retrain", *common, "--epochs", 3, "--learning-rate", 0.002, "--out", cut)
    state = f"{cut}.training-state"
    assert code == 3
    assert error == (
        f"modnet: error: cannot resume training from {state}: it is of another run, epochs: got 2, wanted 3, "
        "learning_rate: got 0.001, wanted 0.002; go on with the settings of then, "
        "or remove it to train from the start\n"
    )

    run("retrain", *common, "--out", cut)
    one, other = load(whole).state_dict(), load(cut).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_retrain_learns_from_a_teacher_and_writes_its_curve(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    training = ("--dataset", archive, "--epochs", 2, "--batch-size", 2, "--size", "96x64", "--workers", 1)
    teaching = ("--teacher", checkpoint, "--distill-features", 0.5)
    out = tmp_path / "taught.safetensors"
    trained = run("retrain", "--checkpoint", checkpoint, *training, *teaching, "--out", out)
    lines = [json.loads(line) for line in Path(trained["curve"]).read_text().splitlines()]
    assert len(lines) == 2
    assert {"matte", "distilled_features", "distilled_alpha"} <= lines[0]["losses"].keys()
    assert trained["tune_error"] == min(line["tune_error"] for line in lines)
    assert Path(trained["plot"]).read_bytes().startswith(b"\x89PNG")


def test_pseudo_label_adds_images_that_fit_alone_learns_from(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    images, out = photographs(archive, tmp_path), tmp_path / "more"
    (images / "torn.jpg").write_bytes(next(images.glob("train-*")).read_bytes()[:100])
    asked = ("dataset", "pseudo-label", "--dataset", archive, "--images", images, "--out", out)
    asked += ("--teacher", checkpoint, checkpoint, "--protocol", "device-96x64", "--max-doubt", 1)
    code, error = refuse(*asked)
    assert (code, "6 of 10 unlabelled images are copies of images that scores are measured on" in error) == (3, True)
    before = Portraits(extract_archive(archive, tmp_path / "extracted"))
    scored = {*before.names("tune"), *before.names("val")}
    for image in images.iterdir():
        if image.stem.startswith("val") or image.stem.removeprefix("train-") in scored:
            image.unlink()
    added = run(*asked)
    assert (added["added"], added["doubtful"], added["unreadable"], added["fit"]) == (1, 0, ["torn.jpg"], 4)
    after = Portraits(out)
    assert [after.names(split) for split in ("tune", "val")] == [before.names(split) for split in ("tune", "val")]
    assert after.names("fit") == [*before.names("fit"), "pseudo-00001"]
    image, matte = after.files("fit", 3)
    assert image.read_bytes() == sorted(images.iterdir())[1].read_bytes()
    assert read_matte(matte).shape == (96, 64)
    retrained = ("retrain", "--checkpoint", checkpoint, "--dataset", out, "--epochs", 1, "--image-size", 64)
    assert run(*retrained, "--out", tmp_path / "x.safetensors")["images_seen"] == 4


def test_adapt_changes_a_network_by_images_alone(archive: Path, checkpoint: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "adapted.safetensors"
    flags = ("--images", photographs(archive, tmp_path), "--epochs", 1, "--image-size", 64)
    adapted = run("adapt", "--checkpoint", checkpoint, *flags, "--learning-rate", 1e-3, "--out", out)
    assert adapted["images"] == 9
    assert read_checkpoint(out).provenance["adapt"]["epochs"] == 1
    assert not torch.equal(load(out).fusion.head.weight, load(checkpoint).fusion.head.weight)


def photographs(archive: Path, tmp_path: Path) -> Path:
    """A folder of images without mattes."""
    folder, extracted = tmp_path / "photographs", extract_archive(archive, tmp_path / "extracted")
    folder.mkdir()
    for image in extracted.rglob("fg/*"):
        shutil.copy(image, folder / f"{image.parents[1].name}-{image.name}")
    return folder


def test_retrain_shows_what_sparsity_did_to_the_scales(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    training = ("--dataset", archive, "--epochs", 2, "--batch-size", 2, "--image-size", 64)
    sparsity = ("--sparsity", 0.01, "--sparsity-schedule", "ramp", "--sparsity-norms", "backbone.last.*")
    trained = run("retrain", "--checkpoint", checkpoint, *training, *sparsity, "--out", tmp_path / "sparse.safetensors")
    epochs = json.loads(Path(trained["scales"]).read_text())["epochs"]
    assert len(epochs) == 3  # before the first and after each
    assert sum(sum(norm["counts"]) for norm in epochs[0]["norms"].values()) == sum(epochs[0]["counts"])
    plots = {name: Path(file) for name, file in trained.items() if name.startswith("scales_plot")}
    first, named = "backbone.stem.norm", "backbone.last.norm"
    assert set(plots) == {"scales_plot", f"scales_plot of {first}", f"scales_plot of {named}"}
    assert len({file.read_bytes() for file in plots.values()}) == 3
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in plots.values())
    assert read_checkpoint(trained["checkpoint"]).provenance["retrain"]["sparsity"]["schedule"] == "ramp"


def test_export_optimize_benchmark_work_one_after_another(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    exported = run("export", "--checkpoint", checkpoint, "--out", tmp_path / "onnx", "--size", 512)
    optimized = run("optimize", "--onnx", exported["onnx"], "--targets", "cpu-fp32,cpu-fp16", "--out", tmp_path / "ir")
    assert set(optimized) == {"cpu-fp32", "cpu-fp16"}
    timing = ("--batch", "1,2", "--warm-up", 1, "--repeats", 3, "--threads", 1, "--picture", tmp_path / "p" / "b.png")
    before, after = (optimized[target] for target in ("cpu-fp32", "cpu-fp16"))
    measured = run("benchmark", "--ir", before, after, *timing)
    rows = [(row["batch"], row["ir"]) for row in measured["rows"]]
    assert rows == [(batch, ir) for batch in ("1", "2") for ir in (before, after)]
    ratios = [row["times as fast as the first"] for row in measured["rows"]]
    assert ratios[0] == ratios[2] == "1.00 (1.00 to 1.00)"
    assert re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", ratios[3])
    assert measured["note"].startswith("p90 and p99 of 3 samples are the largest of them")
    assert Path(measured["picture"]).read_bytes().startswith(b"\x89PNG")
    device = ("--device", "cpu", "--protocol", "device-512")
    scores = run("evaluate", "--ir", optimized["cpu-fp32"], "--dataset", archive, *device)
    torch_scores = run("evaluate", "--checkpoint", checkpoint, "--dataset", archive, "--protocol", "device-512")
    np.testing.assert_allclose(scores["mse"], torch_scores["mse"], atol=1e-5)


def test_optimize_and_infer_read_images_of_another_size_without_being_told_the_protocol(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_LEGACY", str(tmp_path / "nothing"))
    exported = run("export", "--checkpoint", checkpoint, "--out", tmp_path / "onnx", "--dynamic")
    targets = ("--targets", "cpu-fp32-dynamic,ncs2-fp16", "--input-format", "uint8-nhwc", "--size", 256)
    irs = run("optimize", "--onnx", exported["onnx"], *targets, "--verify-on-legacy", "--out", tmp_path / "ir")
    assert irs["ncs2-fp16, OpenVINO 2021.4.2"].startswith("not verified: not installed in ")
    images = next(extract_archive(archive, tmp_path / "extracted").rglob("val/fg"))
    for target, protocol in (("cpu-fp32-dynamic", "modelcompression"), ("ncs2-fp16", "device-256")):
        assert run("infer", "--ir", irs[target], "--input", images, "--out", tmp_path / target)["mattes"] == 2
        assert run("evaluate", "--ir", irs[target], "--dataset", archive)["protocol"] == protocol
    timing = ("--size", 64, "--warm-up", 1, "--repeats", 2, "--threads", 1)
    assert run("benchmark", "--ir", irs["cpu-fp32-dynamic"], *timing)["rows"][0]["batch"] == "1"


def test_optimize_tells_what_an_old_runtime_refuses_and_leaves_the_ir_to_be_looked_at(
    checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that fails as the old runtime would, with its last words."""
    legacy = tmp_path / "legacy"
    for version in VARIANTS["ncs2-fp16"].legacy_runtimes:
        (legacy / f"openvino-{version}").mkdir(parents=True)
    (legacy / "python3.9").write_text("#!/bin/sh\necho 'unsupported layer' >&2\nexit 1\n")
    (legacy / "python3.9").chmod(0o755)
    monkeypatch.setenv("MODNET_LEGACY", str(legacy))
    exported = run("export", "--checkpoint", checkpoint, "--out", tmp_path / "onnx", "--size", 256)
    command = ("optimize", "--onnx", exported["onnx"], "--targets", "ncs2-fp16", "--verify-on-legacy")
    code, said = refuse(*command, "--out", tmp_path / "ir")
    assert code == 1
    assert "ncs2-fp16 is refused by OpenVINO 2021.4.2: OpenVINO 2021.4.2 cannot run" in said
    assert f"unsupported layer; the IRs are left in {tmp_path / 'ir'} to be looked at" in said
    assert list((tmp_path / "ir").glob("*-ncs2-fp16.xml"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inspect", "--checkpoint", "nothing.ckpt"], 3, "cannot read checkpoint nothing.ckpt"),
        (["prune", "--checkpoint", "{tiny}", "--global-ratio", "1", "--out", "{tmp}"], 3, "--global-ratio 1.0"),
        (
            ["prune", "--checkpoint", "{tiny}", "--backbone-threshold", "-1", "--out", "{tmp}"],
            3,
            "--backbone-threshold",
        ),
        (["evaluate", "--dataset", "nothing.zip", "--checkpoint", "{tiny}"], 3, "no such file"),
        (["evaluate", "--dataset", "synthetic"], 2, "exactly one of --checkpoint, --onnx and --ir"),
        (["optimize", "--onnx", "x.onnx", "--out", "{tmp}"], 2, "say which with --dataset"),
        (["infer", "--checkpoint", "{tiny}", "--input", "{tmp}/empty", "--out", "{tmp}"], 3, "holds no image"),
        (["benchmark", "--ir", "nothing.xml"], 3, "there is no file nothing.xml"),
        (
            ["train", "--dataset", "{tmp}", "--out", "{tmp}/x", "--sparsity-schedule", "ramp"],
            2,
            "give the strength with --sparsity",
        ),
        (["train", "--dataset", "{tmp}", "--out", "{tmp}/x", "--sparsity", "2"], 3, "--sparsity 2.0"),
        (
            [*RETRAIN, "--teacher", "{tiny}", "--distill-features", "500"],
            3,
            "--distill-features 500.0: Input should be less than or equal to 100",
        ),
        (
            [*RETRAIN, "--distill-features", "1"],
            2,
            "--distill-features would do nothing without --teacher",
        ),
        (
            ["export", "--checkpoint", "{tiny}", "--dynamic", "--size", "384", "--out", "{tmp}"],
            2,
            "--size would do",
        ),
        (["train", "--dataset", "{tmp}", "--out", "{tmp}/x", "--sparsity-norms", "a"], 2, "nothing without --sparsity"),
        (
            [
                "train",
                "--dataset",
                "{tmp}",
                "--out",
                "{tmp}/x",
                "--sparsity",
                "0.1",
                "--sparsity-norms",
                "backbone.lost",
            ],
            3,
            "pattern 'backbone.lost' names no norm",
        ),
        (["dataset", "fetch", "synthetic", "--sha256", "A" * 64], 2, "--sha256 would do nothing"),
        (["dataset", "fetch", "{tmp}", "--sha256", "A" * 64], 2, "--sha256 would do nothing"),
    ],
    ids=[
        "no file",
        "ratio 1",
        "negative",
        "no archive",
        "no network",
        "no images",
        "empty folder",
        "no ir",
        "schedule",
        "sparsity",
        "features",
        "no teacher",
        "size of an open graph",
        "norms without sparsity",
        "no such norm",
        "digest of synthetic",
        "digest of a folder",
    ],
)
def test_main_returns_code_and_message_without_traceback_when_input_is_bad(
    arguments: list[str], code: int, message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([a.format(tiny=checkpoint, tmp=tmp_path) for a in arguments]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("modnet: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "--dataset"),
        (["train", "--dataset", "x", "--out", "y", "--device", "gpu"], "got 'gpu', wanted cpu, or cuda"),
        (["optimize", "--onnx", "x", "--out", "y", "--targets", "tpu"], "got ['tpu'], wanted some of cpu-fp32,"),
        (["benchmark", "--ir", "x", "--threads", "0"], "got '0', wanted a whole number from 1 up"),
        (["benchmark", "--ir", "x", "--repeats", "0"], "got '0', wanted a whole number from 1 up"),
        (["benchmark", "--ir", "x", "--batch", "1,0"], "got '0', wanted a whole number from 1 up"),
        (["benchmark", "--ir", "x", "--warm-up=-1"], "got '-1', wanted a whole number from 0 up"),
        (
            ["train", "--dataset", "x", "--out", "y", "--seed=-1"],
            "got '-1', wanted a whole number from 0 to 2147483647",
        ),
        (
            ["prune", "--checkpoint", "x", "--out", "y", "--seed", "2147483648"],
            "got '2147483648', wanted a whole number from 0 to 2147483647",
        ),
        (["dataset", "fetch", "synthetic", "--sha256", "ABC"], "got 'ABC', wanted the 64 hexadecimal digits"),
        (["prune", "--checkpoint", "x", "--out", "y", "--max-macs", "9" * 400], "wanted a number with or without K"),
    ],
    ids=[
        "missing",
        "device",
        "targets",
        "threads",
        "repeats",
        "batch",
        "warm-up",
        "negative seed",
        "large seed",
        "digest",
        "endless number",
    ],
)
def test_main_exits_with_2_when_usage_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
