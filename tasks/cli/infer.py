"""`modnet infer`."""

from __future__ import annotations

from modnet.workloads.matting.predict.background import read_background
from modnet.workloads.matting.predict.infer import infer_images, is_video
from modnet.workloads.matting.predict.results import renderer
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_BASE_IR
from tasks.cli.exit_codes import PartlyDoneError, UsageError
from tasks.cli.flags import Options, Result
from tasks.cli.given import given_predictor


def infer(options: Options) -> Result:
    """Cuts people out of images (a PNG each) or a video, at their own size. It uses the shipped network by default."""
    if (options.background is not None) != (options.result == "composite"):
        raise UsageError("--background says what a composite is on: it goes with --result composite, and only with it")
    background = None if options.background is None else read_background(options.background)
    render = renderer(options.result, background)
    predictor = given_predictor(options, default=(SHIPPED_BASE, SHIPPED_BASE_IR))
    if is_video(options.input):
        from modnet.workloads.matting.predict.infer_video import infer_video  # with PyAV, which images need not

        video = infer_video(predictor, options.input, options.out, render, options.result, overwrite=options.overwrite)
        found: Result = {"written": str(video.written), "frames": video.frames, "damaged": video.damaged}
        if problem := video.problem or (f"{video.damaged} damaged frames or packets" if video.damaged else None):
            raise PartlyDoneError(f"video {options.input}: {problem}; what could be decoded is written", found)
        return found
    images = infer_images(predictor, options.input, options.out, render, overwrite=options.overwrite)
    found = {"mattes": len(images.written), "folder": str(options.out)}
    if images.left_out:
        found["left_out"] = {"files": len(images.left_out), "names": images.left_out}
    if images.unreadable:
        found["unreadable"] = images.unreadable
        count = len(images.written) + len(images.unreadable)
        names = ", ".join(list(images.unreadable)[:5])
        raise PartlyDoneError(f"{len(images.unreadable)} of {count} images cannot be read: {names}", found)
    return found
