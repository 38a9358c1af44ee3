"""`modnet dataset fetch`, `check` and `pseudo-label`."""

import argparse
from pathlib import Path

from modnet.data.download import sha256_of_file
from modnet.workloads import USUAL_WORKLOAD, workload_named
from modnet.workloads.matting.data.indexing import index_dataset
from tasks.cli.exit_codes import PartlyDoneError, UsageError
from tasks.cli.flags import Options, Result, require_free, write_result
from tasks.cli.given import given_folder, given_predictor
from tasks.tables import markdown_table


def fetch_dataset(options: Options) -> Result:
    """Fetches, verifies and indexes a data set."""
    if options.sha256 is not None and (options.source == "synthetic" or Path(options.source).is_dir()):
        raise UsageError(f"--sha256 would do nothing: it is of an archive, and {options.source} is none")
    folder = given_folder(options.source, options.sha256, options.workload)
    if options.workload in (None, USUAL_WORKLOAD):  # without torch
        index = index_dataset(folder)
        counts = {"fit": len(index.split("fit")), "tune": len(index.split("tune")), "val": len(index.val)}
    else:
        data = workload_named(options.workload).open(folder)
        counts = {"fit": len(data.names("fit")), "tune": len(data.names("tune")), "val": len(data.names("val"))}
    return {"folder": str(folder), **counts}


def check_dataset(options: Options) -> Result:
    """Looks at every image of a data set.

    Raises:
        PartlyDoneError: there are errors.
    """
    from modnet.evaluation.data_check import check_folder
    from modnet.report.data_tables import finding_rows, split_rows
    from tasks.data_page import data_page

    require_free(options, options.page)
    check, thumbnails = check_folder(
        workload_named(options.workload).open, given_folder(options.source, workload=options.workload)
    )
    found: Result = {"data": check.summary}
    if options.page is not None:
        write_result(options.page, data_page(f"Data set {options.source}", check, thumbnails))
        found["page"] = str(options.page)
    if options.json:
        found |= check.model_dump(mode="json")
    else:
        tables = [rows for rows in (split_rows(check), finding_rows(check)) if rows]
        found["table"] = "\n\n".join(map(markdown_table, tables))
    if check.errors:
        raise PartlyDoneError("; ".join(one.sentence for one in check.errors), found)
    return found


def pseudo_label(options: Options) -> Result:
    """Adds images without mattes to a data set, with mattes that a teacher makes."""
    from modnet.workloads.matting.pseudo_labels import pseudo_label as add_images

    if not 0 <= options.max_doubt <= 1:
        raise UsageError(f"--max-doubt {options.max_doubt:g}: wanted 0 to 1")
    teachers = {}
    for path in options.teacher:
        kind = {".xml": "ir", ".onnx": "onnx"}.get(path.suffix, "checkpoint")
        none = {"checkpoint": None, "onnx": None, "ir": None, "prune_info": None, "device": "cpu"}
        given = {**none, kind: [path] if kind == "ir" else path}
        protocol = None if kind == "ir" else options.protocol
        predictor = given_predictor(argparse.Namespace(**given, protocol=protocol))
        weights = path.with_suffix(".bin") if kind == "ir" else path
        teachers[f"{sha256_of_file(weights)[:12]} {predictor.protocol}"] = predictor
    labelled = given_folder(options.dataset)
    found = add_images(teachers, labelled, options.images, options.out, max_doubt=options.max_doubt)
    return {
        "folder": str(options.out),
        "added": found.kept,
        "doubtful": found.doubtful,
        "unreadable": list(found.unreadable),
        "mean_doubt": round(found.doubt, 5),
        "fit": len(index_dataset(options.out).split("fit")),
    }
