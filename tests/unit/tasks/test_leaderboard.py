"""The tables of a run say what was measured, and nothing where nothing was."""

from __future__ import annotations

from modnet.configs import PruningConfig
from modnet.records import (
    Candidate,
    Choice,
    Complexity,
    ExportRecord,
    Failure,
    HostLatencies,
    ImageScore,
    LegacyCheck,
    NetworkScores,
    Promotion,
    Scores,
    StoredFile,
)
from modnet.report.run_tables import Outcome, network_rows, target_rows, what_was_gained
from modnet.workloads.matting.workload import MATTING
from tasks.tables import html_page

LATENCIES = HostLatencies(
    host="here",
    deciding_form="cpu-int8",
    samples_ms={"b": {"cpu-fp32": (40.0,)}, "c": {"cpu-fp32": (25.0,), "cpu-int8": (12.0,)}},
)
CHOICE = Choice(winner="c", front=("c",), reasons={"c": "the only one"})
COST = Complexity(parameters=1_000_000, macs=2_000_000_000, size=512)


def network(name: str, *errors: float, sad: float | None = None, input_shape: str = "512x512") -> NetworkScores:
    images = tuple(
        ImageScore(stem=str(number), errors={"mse": error, "mad": error}) for number, error in enumerate(errors)
    )
    mean = sum(errors) / len(errors)
    means = {"mse": mean, "mad": mean} | ({} if sad is None else {"sad": sad})
    scores = Scores(split="val", protocol="modelcompression", images=len(images), errors=means, per_image=images)
    tune = scores.model_copy(update={"split": "tune"})
    figures = {"tune": tune, "val": scores, "complexity": COST, "size_bytes": 4_000_000, "seconds": 1}
    return NetworkScores(network_id=name, input_shape=input_shape, **figures)


def test_network_rows_say_how_much_worse_than_unpruned_each_is_and_leave_open_what_was_not_measured() -> None:
    candidate = Candidate(
        candidate_id="c",
        base_id="b",
        parent_id="b",
        dataset_id="d",
        pruning=PruningConfig(),
        retrain={},
        seed=0,
        pruned=StoredFile(key="c.safetensors", sha256="0" * 64, size_bytes=1),
        complexity=COST,
    )
    run = Outcome(
        network("b", 0.125, 0.25),
        [network("c", 0.25, 0.375, sad=1.5, input_shape="256x512")],
        {"c": candidate.label},
        LATENCIES,
        CHOICE,
        MATTING.errors,
    )
    rows = network_rows(run, [Failure(candidate_id="f", label="too much", reason="nothing was left")])
    assert [row["verdict"] for row in rows][1:] == ["winner; the only one", "failed: nothing was left"]
    difference = [row["val MSE more than unpruned, 95 %"] for row in rows]
    assert difference == ["+0.00000 to +0.00000", "+0.12500 to +0.12500", ""]
    assert [row["val SAD k"] for row in rows] == ["", "1.5", ""]
    assert [row["val MSE ratio"] for row in rows] == ["1.00", "1.67", ""]
    assert [row["input"] for row in rows] == ["512x512", "256x512", ""]
    assert [row["GMAC of the input"] for row in rows] == ["2.00", "1.00", ""]
    assert [row["FP32 ms"] for row in rows] == ["40.0", "25.0", ""]
    assert [row["INT8 ms"] for row in rows] == ["", "12.0", ""]
    assert [row["INT8 speedup"] for row in rows] == ["", "3.33", ""]


def test_what_was_gained_is_one_sentence_of_measured_numbers() -> None:
    export = ExportRecord(
        network_id="c",
        files={},
        input_format="float-nchw",
        inputs={"input": (1, 3, 512, 512)},
        protocol="device-512",
        targets=("cpu-int8",),
        refused={},
        parity={},
        tune_error={},
        val={"torch": {"mse": 0.02, "mad": 0.1}, "cpu-int8": {"mse": 0.021, "mad": 0.1}},
        legacy={},
        seconds=1,
    )
    networks = network("b", 0.25), [network("c", 0.375)], {"c": "3.7 GMAC"}
    said = what_was_gained(Outcome(*networks, LATENCIES, CHOICE, MATTING.errors), export)
    assert said == (
        "3.7 GMAC is 3.3 times as fast as the unpruned network on this machine (12.0 ms as cpu-int8, 40.0 ms unpruned "
        "as cpu-fp32). It has 100 % of its parameters and errs 1.50 times as much on val "
        "(MSE 0.37500, 0.25000 unpruned). Its INT8 form errs 1.05 times as much as its float form."
    )
    untimed = HostLatencies(host="here", deciding_form="cpu-int8", samples_ms={})
    said = what_was_gained(Outcome(*networks, untimed, CHOICE, MATTING.errors), export)
    assert said.startswith("3.7 GMAC was not timed. It has")


def test_target_rows_show_what_ships_beside_torch_and_what_does_not_with_the_reason() -> None:
    files = {
        f"modnet-cpu-fp32.{ending}": StoredFile(key=ending, sha256="0" * 64, size_bytes=size)
        for ending, size in (("xml", 500_000), ("bin", 2_000_000))
    }
    words = 'OpenVINO 2021.4.2: unsupported layer type "Abs"'
    check = LegacyCheck(by="OpenVINO 2021.4.2", status="failed", words='unsupported layer type "Abs"')
    export = ExportRecord(
        network_id="n",
        files=files,
        input_format="float-nchw",
        inputs={"input": (1, 3, 512, 512)},
        protocol="device-512",
        targets=("cpu-fp32",),
        refused={"ncs2-fp16": words},
        parity={"onnx": 1e-6, "cpu-fp32": 2e-6, "ncs2-fp16": 1e-3},
        tune_error={"torch": 0.01, "cpu-fp32": 0.01, "ncs2-fp16": 0.011},
        val={"torch": {"mse": 0.01, "mad": 0.02}, "cpu-fp32": {"mse": 0.011, "mad": 0.021}},
        legacy={"ncs2-fp16": (check,)},
        seconds=1.0,
    )
    kept = Promotion(target="cpu-fp32", release_id="0" * 12, is_moved=False, reason="the new network errs more")
    torch, shipped, refused = target_rows(export, MATTING.errors, [kept])
    assert (torch["target"], torch["val MSE"], torch["val MSE ratio"]) == ("torch", "0.010000", "1.000")
    assert (shipped["val MAD"], shipped["val MSE ratio"], shipped["IR MB"]) == ("0.021000", "1.100", "2.50")
    assert (shipped["mean difference of outputs"], shipped["old runtimes"]) == ("2.0e-06", "")
    assert shipped["verdict"] == "keeps 000000000000: the new network errs more"
    moved = kept.model_copy(update={"is_moved": True})
    assert (
        target_rows(export, MATTING.errors, [moved])[1]["verdict"] == "runs 000000000000"
    )  # the same when it runs that already
    assert (refused["val MSE"], refused["IR MB"], refused["verdict"]) == ("", "", f"not released: {words}")
    assert refused["old runtimes"] == "OpenVINO 2021.4.2: failed"


def test_html_page_escapes_cells_and_says_when_a_table_is_empty() -> None:
    page = html_page("T", "lead", "note", {"Some": [{"a": "<b>"}], "None": []}, {"Plot": b"png"}).decode()
    assert "&lt;b&gt;" in page
    assert "<h2>None</h2><div><p>Nothing yet.</p></div>" in page
    assert 'alt="plot"' in page
