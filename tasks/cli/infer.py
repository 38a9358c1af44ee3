"""`modnet infer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import Settings
from modnet.data.image_files import files_in
from modnet.shipped import SHIPPED, USUAL
from modnet.workloads import teller_named
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.infer import infer_images, is_video
from modnet.workloads.matting.predict.results import read_background, renderer
from tasks.cli.exit_codes import PartlyDoneError, UsageError
from tasks.cli.flags import Options, Result, require_free

if TYPE_CHECKING:
    from modnet.workloads import Tell
    from modnet.workloads.matting.evaluate import Predictor

BESIDE: dict[ResultKind, str] = {"alpha": ".matte.png", "foreground": ".cutout.png", "composite": ".composite.png"}
"""How the name of a result ends that is written beside its photograph."""


def infer(options: Options) -> Result:
    """Cuts people out of a photograph, a folder or a video, at their own size: `modnet infer photo.jpg`."""
    source = _source(options)
    if (tell := _teller(options)) is not None:
        return _told(tell, source, options)
    kind: ResultKind = options.result or ("foreground" if options.out is None else "alpha")
    if (options.background is not None) != (kind == "composite"):
        raise UsageError("--background says what a composite is on: it goes with --result composite, and only with it")
    beside = source.with_name(f"{source.stem}{BESIDE[kind]}")
    if options.out is None:
        require_free(options, beside)
    background = None if options.background is None else read_background(options.background)
    render = renderer(kind, background)
    predictor = _predictor(options)
    if options.out is None:
        infer_images(predictor, source, source.parent, render, ending=BESIDE[kind], overwrite=options.overwrite)
        return {"written": str(beside)}
    if is_video(source):
        from modnet.workloads.matting.predict.infer_video import infer_video  # with PyAV, which images need not

        video = infer_video(predictor, source, options.out, render, kind, overwrite=options.overwrite)
        found: Result = {"written": str(video.written), "frames": video.frames, "damaged": video.damaged}
        if problem := video.problem or (f"{video.damaged} damaged frames or packets" if video.damaged else None):
            raise PartlyDoneError(f"video {source}: {problem}; what could be decoded is written", found)
        return found
    images = infer_images(predictor, source, options.out, render, overwrite=options.overwrite)
    found = {"mattes": len(images.written), "folder": str(options.out)}
    if images.left_out:
        found["left_out"] = {"files": len(images.left_out), "names": images.left_out}
    if images.unreadable:
        found["unreadable"] = images.unreadable
        count = len(images.written) + len(images.unreadable)
        names = ", ".join(list(images.unreadable)[:5])
        raise PartlyDoneError(f"{len(images.unreadable)} of {count} images cannot be read: {names}", found)
    return found


def _source(options: Options) -> Path:
    if options.photo is None and options.input is None and len(options.ir or ()) > 1:
        *irs, last = options.ir  # argparse gives --ir all that follows it: `--ir model.xml photo.jpg`
        if last.suffix != ".xml" and last.is_file():
            options.photo, options.ir = last, irs
    if (options.photo is None) == (options.input is None):
        how = "modnet infer photo.jpg, or --input photos/ --out mattes/"
        raise UsageError(f"say once what to cut people out of: {how}")
    source: Path = options.photo or options.input
    if options.out is None and (source.is_dir() or is_video(source)) and _teller(options) is None:
        what = "a folder" if source.is_dir() else "a video"
        raise UsageError(f"{source} is {what}: say with --out which folder its results go to")
    return source


def _teller(options: Options) -> Tell | None:
    """What prints the answers of the given network; None where these are mattes."""
    if options.model is not None or all(path is None for path in (options.checkpoint, options.onnx, options.ir)):
        return None
    from tasks.cli.given import workload_of_options

    return teller_named(workload_of_options(options))


def _told(tell: Tell, source: Path, options: Options) -> Result:
    """What a network says of photographs in words: nothing is written."""
    from tasks.cli.given import given_graph
    from tasks.tables import markdown_table

    given = given_graph(options)
    pictures = {"--out": options.out, "--result": options.result, "--background": options.background}
    if idle := [flag for flag, value in pictures.items() if value is not None]:
        raise UsageError(f"{idle[0]} goes with networks that cut people out, this one is of {given.workload.name!r}")
    images = files_in(source)[0] if source.is_dir() else [source]
    if not images:
        raise UsageError(f"{source} is a folder without images")
    rows = tell(images, given.graph, given.shapes, given.output_names)
    return {"answers": rows} if options.json else {"table": markdown_table(rows)}


def _predictor(options: Options) -> Predictor:
    if any(path is not None for path in (options.checkpoint, options.onnx, options.ir)):
        if options.model is not None:
            raise UsageError("--model names a network, so do --checkpoint, --onnx and --ir: give one of them")
        from tasks.cli.given import given_predictor

        return given_predictor(options)
    model = options.model or USUAL
    if options.prune_info is not None:
        raise UsageError("--prune-info would do nothing: it goes with --checkpoint")
    if options.protocol is not None:
        raise UsageError(
            f"--protocol would do nothing: the network {model!r} reads each picture by the letterbox that fits it; "
            f"--protocol goes with a network of open input, as --checkpoint {SHIPPED}"
        )
    if options.device.startswith("cuda"):
        instead = f"give one, as --checkpoint {SHIPPED}-{model} --device cuda; IRs take cpu, gpu or npu"
        raise UsageError(f"--device {options.device} computes checkpoints: {instead}")
    from modnet.workloads.matting.predict.front_predictor import FrontPredictor

    return FrontPredictor(model, options.device, Settings.from_env().cache_folder / "compiled")
