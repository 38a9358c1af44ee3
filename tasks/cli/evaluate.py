"""`modnet evaluate`."""

from dataclasses import asdict

from modnet.evaluation.scores_file import read_scores, write_scores
from modnet.records import Scores
from modnet.report.score_tables import difference_rows, differences, intervals, score_rows
from modnet.workloads import USUAL_WORKLOAD
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.evaluate import evaluate as evaluate_predictor
from modnet.workloads.matting.names import FEW_METRICS, SHEET_IMAGES
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result, require_free, write_result
from tasks.cli.given import cost, given_folder, given_graph, given_predictor, workload_of_options
from tasks.tables import markdown_table


def evaluate(options: Options) -> Result:
    """Scores a checkpoint, an ONNX file or an IR on one split."""
    require_free(options, options.scores, options.sheet)
    if workload_of_options(options) != USUAL_WORKLOAD:
        return _evaluated(options)
    if options.sheet is not None:
        from modnet.workloads.matting.worst_images import worst_sheet  # with matplotlib: missed before it scores
    others = None if options.compare is None else read_scores(options.compare)
    predictor = given_predictor(options)
    folder = given_folder(options.dataset)
    index = index_dataset(folder)
    scores = evaluate_predictor(predictor, folder, index, options.split, predictor.protocol, options.metrics)
    if options.scores is not None:
        options.scores.parent.mkdir(parents=True, exist_ok=True)
        write_scores(options.scores, scores)
    if options.sheet is not None:
        write_result(options.sheet, worst_sheet(predictor, folder, index, scores))
    result: Result = {name: getattr(scores, name) for name in ("images", "split", "protocol")}
    if options.checkpoint is not None:
        from modnet.workloads.matting.checkpoint import load  # with torch, which ONNX files and IRs do without

        result |= cost(load(options.checkpoint, options.prune_info))
    more = {"unknown_images": scores.images_with("unknown_mse")}
    return result | _told(scores, others, as_json=options.json, more=more)


def _evaluated(options: Options) -> Result:
    """Of networks of other workloads than matting, by what their data set measures."""
    others = None if options.compare is None else read_scores(options.compare)
    given = given_graph(options)
    if options.split == "train" or tuple(options.metrics) != FEW_METRICS:
        flag = "--split train" if options.split == "train" else "--metrics"
        raise UsageError(f"{flag} goes with workload {USUAL_WORKLOAD!r}, the network is of {given.workload.name!r}")
    data = given.workload.open(given_folder(options.dataset, workload=given.workload.name))
    given.workload.checked(data, given.output_names)
    scores = data.scores(given.graph, options.split, given.shapes, every_error=True)
    if options.scores is not None:
        options.scores.parent.mkdir(parents=True, exist_ok=True)
        write_scores(options.scores, scores)
    if options.sheet is not None:
        write_result(options.sheet, data.sheet({"network": given[1:3]}, options.split, SHEET_IMAGES))
    result: Result = {name: getattr(scores, name) for name in ("images", "split", "protocol")}
    if given.network is not None:
        result |= cost(given.network)
    return result | _told(scores, others, as_json=options.json, more={})


def _told(scores: Scores, others: Scores | None, *, as_json: bool, more: Result) -> Result:
    if as_json:
        return _described(scores, others) | more
    tables = [score_rows(scores), *([] if others is None else [difference_rows(scores, others)])]
    return {"table": "\n\n".join(markdown_table(rows) for rows in tables)}


def _described(scores: Scores, others: Scores | None) -> Result:
    described: Result = dict(scores.errors)
    described["intervals"] = {name: [one.low, one.high] for name, one in intervals(scores).items()}
    if others is not None:
        described["differences"] = {name: asdict(one) for name, one in differences(scores, others).items()}
    return described
