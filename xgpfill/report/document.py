"""A report on its way to disk, page by page: PDF or HTML. What is on the pages is made elsewhere."""

from __future__ import annotations

import base64
import gc
import io
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xgpfill.errors import XgpfillError
from xgpfill.files import as_path, written_whole
from xgpfill.report.typesetting import Section, pages, set_above
from xgpfill.words import html_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

PAGE = (11.7, 8.3)  # inches: A4, lying
MARGIN = 0.3  # inches
TEXT_MARGIN = 0.6
ROOM = (PAGE[0] - 2 * TEXT_MARGIN, PAGE[1] - 2 * TEXT_MARGIN)
DPI = 110
PAGES_BETWEEN_COLLECTIONS = 8
"""Figures hold themselves in cycles; they are collected now and then, so that closed ones do not pile up."""

STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0}th{border-bottom:1px solid #888}"
    "img{max-width:100%;height:auto}h2{border-bottom:1px solid #ccc}figure{margin:0}"
)


class Document(Protocol):
    """Where pages go, one after another."""

    def text(self, title: str, sections: Sequence[Section]) -> None:
        """Add tables under headings."""

    def figure(self, title: str, figure: Figure) -> None:
        """Add a figure, and close it."""


@contextmanager
def opened(path: str | Path, title: str) -> Iterator[Document]:
    """A document that appears at `path` only when all of it was written.

    Raises
    ------
    XgpfillError
        When the suffix is neither .pdf nor .html, or there is no such folder.
    """
    suffix = checked_suffix(path)
    with written_whole(path) as temporary, (_pdf if suffix == ".pdf" else _html)(temporary, title) as document:
        yield document


def checked_suffix(path: str | Path) -> str:
    """The kind of report that a path asks for."""
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix not in (".pdf", ".html"):
        raise XgpfillError(
            f"{str(path)!r} ends in {suffix!r}; a report is a '.pdf' or a '.html'. Type e.g. "
            f"{Path(path).with_suffix('.pdf').name!r}."
        )
    return suffix


class _Closing:
    """Closes the figures that were drawn."""

    def __init__(self) -> None:
        self._count = 0

    def close(self, figure: Figure) -> None:
        import matplotlib.pyplot as plt

        plt.close(figure)
        self._count += 1
        if self._count % PAGES_BETWEEN_COLLECTIONS == 0:
            gc.collect()


class _Pdf(_Closing):
    def __init__(self, pages: Any) -> None:
        super().__init__()
        self._pages = pages
        self._waiting: list[tuple[str, Sequence[Section]]] = []

    def text(self, title: str, sections: Sequence[Section]) -> None:
        """Keep tables until a figure follows: texts share pages, and a short one that of the figure."""
        self._waiting.append((title, sections))

    def figure(self, title: str, figure: Figure) -> None:  # noqa: ARG002  (the figure bears its title)
        if self._waiting and set_above(figure, self._waiting, *ROOM):
            self._waiting = []
        self.finish()
        self._page(figure)

    def finish(self) -> None:
        """Set the tables that wait."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            for page in pages(waiting, *ROOM):
                self._page(page)

    def _page(self, figure: Figure) -> None:
        width, height = figure.get_size_inches()
        factor = min(1.0, (PAGE[0] - 2 * MARGIN) / width, (PAGE[1] - 2 * MARGIN) / height)
        figure.set_size_inches(factor * width, factor * height)
        self._pages.savefig(figure, dpi=DPI, bbox_inches=_page_round(*figure.get_size_inches()))
        self._pages._file.release_images()
        self.close(figure)


@contextmanager
def _pdf(path: Path, title: str) -> Iterator[_Pdf]:
    from matplotlib.backends.backend_pdf import PdfPages

    from xgpfill.report._pdf import frugal_file

    with PdfPages(path) as file:
        file._file = frugal_file(path, {"Title": title, "Creator": "xgpfill"})
        document = _Pdf(file)
        yield document
        document.finish()


class _Html(_Closing):
    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def text(self, title: str, sections: Sequence[Section]) -> None:
        self._stream.write(f"<section><h2>{escape(title)}</h2>\n")
        for heading, rows, headings in sections:
            self._stream.write(f"<h3>{escape(heading)}</h3>{html_table(rows, headings)}\n")
        self._stream.write("</section>\n")

    def figure(self, title: str, figure: Figure) -> None:
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=DPI)
        coded = base64.b64encode(image.getbuffer()).decode("ascii")
        named = escape(title, quote=True)
        self._stream.write(f'<section><h2>{named}</h2><figure><img alt="{named}" src="data:image/png;base64,{coded}">')
        self._stream.write("</figure></section>\n")
        self.close(figure)


@contextmanager
def _html(path: Path, title: str) -> Iterator[_Html]:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>')
        stream.write(f"<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n")
        yield _Html(stream)
        stream.write("</body></html>\n")


def _page_round(width: float, height: float) -> Any:
    """The page in whose middle a figure lies, in inches from its corner."""
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds((width - PAGE[0]) / 2, (height - PAGE[1]) / 2, *PAGE)


def titled(figure: Figure, title: str) -> Figure:
    """The figure with a title over it, and the room for that."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.4)
    figure.suptitle(title, fontsize=15)
    return figure
