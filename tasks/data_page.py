"""The check of a data set as one page with thumbnails."""

import base64
import html
from collections.abc import Sequence
from itertools import groupby

from modnet.evaluation.data_check import Thumbnail
from modnet.records import DatasetCheck
from modnet.report.data_tables import finding_rows, split_rows
from tasks.tables import html_document, html_table

_NOTE = (
    "A run forgives as many broken files of fit as its max_unreadable says, and calls them a warning. "
    "This page is of the data alone, whatever a run forgives."
)


def data_page(title: str, check: DatasetCheck, thumbnails: Sequence[Thumbnail]) -> bytes:
    """One page without anything to load: what is wrong, what there is, and pictures of the first with each fault."""
    rows = finding_rows(check)
    found = html_table(rows) if rows else "<p>Nothing is wrong.</p>"
    sections = [
        f"<h1>{html.escape(title)}</h1><p><b>{html.escape(check.summary)}</b></p>",
        f"<h2>Found</h2>{found}<p>{_NOTE}</p>",
    ]
    if check.splits:
        sections.append(f"<h2>Images</h2>{html_table(split_rows(check))}")
    for kind, ones in groupby(thumbnails, key=lambda one: one.kind):
        sections.append(f"<h2>{html.escape(kind)}</h2>" + "".join(map(_figure, ones)))
    return html_document(title, "".join(sections))


def _figure(one: Thumbnail) -> str:
    pictures = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' for picture in one.pictures
    )
    return f"<figure>{pictures}<figcaption>{html.escape(one.caption)}</figcaption></figure>"
