"""The check of a data set as rows of tables."""

from modnet.records import DatasetCheck
from modnet.report.run_tables import Row


def split_rows(check: DatasetCheck) -> list[Row]:
    """One row per split: how many images, and their sizes in pixels."""
    return [
        {
            "split": one.split,
            "images": str(one.images),
            "readable": str(one.readable),
            "smallest, width × height": one.smallest,
            "median": one.median,
            "largest": one.largest,
        }
        for one in check.splits
    ]


def finding_rows(check: DatasetCheck) -> list[Row]:
    """One row per thing that is wrong, errors first."""
    return [
        {
            "severity": "ERROR" if one.is_error else "warning",
            "found": one.kind,
            "split": one.split,
            "images": one.amount,
            "got": one.got,
            "wanted": one.wanted,
        }
        for one in check.findings
    ]
