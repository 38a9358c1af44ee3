"""Tables as Markdown, reports of devices as rows, and the result of a run as one self-contained page."""

import base64
import html
from collections.abc import Mapping, Sequence

from infra.device.documents.latency_report import LatencyReport
from infra.device.shown import shown
from modnet.report.run_tables import Row

_SENTENCE = 40  # characters
_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:.85rem}td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;"
    "text-align:left;vertical-align:top}.sentence{min-width:22rem}img{max-width:100%}div{overflow-x:auto}"
    "figure{display:inline-block;margin:.5rem;max-width:21rem;vertical-align:top}"
    "figcaption{font-size:.75rem;overflow-wrap:anywhere}"
)


class Link(str):
    """The text of a cell that leads somewhere: a page shows it so, other tables have the text alone."""

    address: str


def linked(text: str, address: str | None) -> str:
    """A cell that leads to an address; the text alone where there is none."""
    if address is None:
        return text
    link = Link(text)
    link.address = address
    return link


def device_rows(reports: Sequence[LatencyReport]) -> list[Row]:
    """One row per report of a device."""
    rows = []
    for report in sorted(reports, key=lambda report: (report.device, report.target, report.started_at)):
        summary, status = report.summary, report.status
        row = {
            "device": report.device,
            "target": report.target,
            "release": report.release_id,
            "runtime": report.runtime,
            "precision": report.precision or "",
            "p50 ms": "" if summary is None else f"{summary.p50_ms:.1f}",
            "p90 ms": "" if summary is None else f"{summary.p90_ms:.1f}",
            "p99 ms": "" if summary is None else f"{summary.p99_ms:.1f}",
            "samples": str(len(report.samples_ms)),
            "status": status if report.reason is None else f"{status}: {report.reason}",
        }
        rows.append({name: shown(cell) for name, cell in row.items()})
    return rows


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([row[c].replace("|", "\\|") for c in columns] for row in rows)]
    return "\n".join(shown(f"| {' | '.join(line)} |") for line in cells)


def html_page(
    title: str, lead: str, note: str, tables: Mapping[str, Sequence[Row]], pictures: Mapping[str, bytes | str]
) -> bytes:
    """One page without anything to load: what matters first, pictures and tables, and how it was measured.

    A picture is a PNG, or an SVG element whose texts are escaped.
    """
    sections = [f"<h1>{html.escape(title)}</h1><p><b>{html.escape(lead)}</b></p>"]
    for heading, picture in pictures.items():
        image = picture if isinstance(picture, str) else _png(heading, picture)
        sections.append(f"<h2>{html.escape(heading)}</h2>{image}")
    for heading, rows in tables.items():
        sections.append(f"<h2>{html.escape(heading)}</h2>{html_table(rows)}")
    sections.append(f"<p>{html.escape(note)}</p>")
    return html_document(title, "".join(sections))


def html_document(title: str, body: str, more_style: str = "") -> bytes:
    """A whole page around what its body holds, which is escaped already."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}{more_style}</style>'
    return shown(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>').encode()


def html_table(rows: Sequence[Row]) -> str:
    """Rows as a table that scrolls by itself where it is too wide."""
    if not rows:
        return "<div><p>Nothing yet.</p></div>"
    head = "".join(f"<th>{html.escape(column)}</th>" for column in rows[0])
    lines = "".join("<tr>" + "".join(_html_cell(cell) for cell in row.values()) + "</tr>" for row in rows)
    return f"<div><table><tr>{head}</tr>{lines}</table></div>"


def _png(heading: str, png: bytes) -> str:
    return f'<img alt="{heading.lower()}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _html_cell(cell: str) -> str:
    room = ' class="sentence"' if len(cell) > _SENTENCE else ""  # a browser would make it a column of single words
    text = html.escape(cell)
    if isinstance(cell, Link):
        text = f'<a href="{html.escape(cell.address, quote=True)}">{text}</a>'
    return f"<td{room}>{text}</td>"
