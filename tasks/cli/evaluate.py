"""`modnet evaluate`."""

from dataclasses import asdict

from modnet.evaluation.scores_file import read_scores, write_scores
from modnet.records import Scores
from modnet.report.score_tables import difference_rows, differences, intervals, score_rows
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.evaluate import evaluate as evaluate_predictor
from tasks.cli.flags import Options, Result, require_free, write_result
from tasks.cli.given import cost, given_folder, given_predictor
from tasks.tables import markdown_table


def evaluate(options: Options) -> Result:
    """Scores a checkpoint, an ONNX file or an IR on one split."""
    require_free(options, options.scores, options.sheet)
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
    if options.json:
        return result | _described(scores, others)
    tables = [score_rows(scores), *([] if others is None else [difference_rows(scores, others)])]
    return result | {"table": "\n\n".join(markdown_table(rows) for rows in tables)}


def _described(scores: Scores, others: Scores | None) -> Result:
    described: Result = {**scores.errors, "unknown_images": scores.images_with("unknown_mse")}
    described["intervals"] = {name: [one.low, one.high] for name, one in intervals(scores).items()}
    if others is not None:
        described["differences"] = {name: asdict(one) for name, one in differences(scores, others).items()}
    return described
