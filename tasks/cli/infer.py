"""`modnet infer`."""

from __future__ import annotations

from modnet.inference.background import read_background
from modnet.inference.infer import infer_images, infer_video, is_video
from modnet.inference.results import renderer
from modnet.weights import SHIPPED_BASE
from tasks.cli.flags import Options, Result, UsageError
from tasks.cli.given import given_predictor


def infer(options: Options) -> Result:
    """Cuts people out of images (a PNG each) or a video, at their own size; by default with the shipped network."""
    if (options.background is not None) != (options.result == "composite"):
        raise UsageError("--background says what a composite is on: it goes with --result composite, and only with it")
    background = None if options.background is None else read_background(options.background)
    render = renderer(options.result, background)
    predictor = given_predictor(options, default=SHIPPED_BASE)
    if is_video(options.input):
        written = infer_video(
            predictor, options.input, options.out, render, options.result, overwrite=options.overwrite
        )
        return {"written": str(written)}
    mattes = infer_images(predictor, options.input, options.out, render, overwrite=options.overwrite)
    return {"mattes": len(mattes), "folder": str(options.out)}
