"""A hook of MkDocs: files that pages link to outside docs/ become part of the site, in its folder project/.

So the links of every page work on disk, where a code host shows them, and in the site; the strict build checks all.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what is linked to, and what that links to."""
    pages = [_path(file.src_uri) for file in files.documentation_pages()]
    for page in pages:
        for link in LINK.findall((PROJECT / page).read_text()):
            path = _linked(page, link)
            uri = _uri(path)
            if (PROJECT / path).is_file() and files.get_file_from_path(uri) is None:
                file = File.generated(config, uri, abs_src_path=str(PROJECT / path))
                files.append(file)
                if file.is_documentation_page():
                    pages.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the project into links between files of the site."""
    own = page.file.src_uri

    def in_site(match: re.Match[str]) -> str:
        return posixpath.relpath(_uri(_linked(_path(own), match[1])), posixpath.dirname(own))

    return LINK.sub(in_site, markdown)


def _linked(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _uri(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"project/{path}"


def _path(uri: str) -> str:
    return uri.removeprefix("project/") if uri.startswith("project/") else f"docs/{uri}"
