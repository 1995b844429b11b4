"""A report on its way to disk, page by page: PDF or HTML. What is on the pages is made elsewhere."""

from __future__ import annotations

import base64
import gc
import io
from contextlib import contextmanager
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Protocol

from xgpfill.errors import XgpfillError
from xgpfill.files import as_path, written_whole
from xgpfill.words import html_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

Rows = list[tuple[str, ...]]
Section = tuple[str, Rows]
"""A heading and the rows of its table."""

PAGE = (11.7, 8.3)  # inches: A4, lying
LINES, COLUMNS = 47, 145  # of text on a page
MARGIN = 0.3  # inches
DPI = 110
PAGES_BETWEEN_COLLECTIONS = 8
"""Figures hold themselves in cycles; they are collected now and then, so that closed ones do not pile up."""

STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0}"
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

    def text(self, title: str, sections: Sequence[Section]) -> None:
        lines = text_lines(sections)
        for start in range(0, max(1, len(lines)), LINES):
            self.figure(title, _typed(title, lines[start : start + LINES]))

    def figure(self, title: str, figure: Figure) -> None:  # noqa: ARG002  (the figure bears its title)
        self._pages.savefig(figure, dpi=DPI, bbox_inches=_page_round(*figure.get_size_inches()))
        self._pages._file.release_images()
        self.close(figure)


@contextmanager
def _pdf(path: Path, title: str) -> Iterator[_Pdf]:
    from matplotlib.backends.backend_pdf import PdfPages

    from xgpfill.report._pdf import frugal_file

    with PdfPages(path) as pages:
        pages._file = frugal_file(path, {"Title": title, "Creator": "xgpfill"})
        yield _Pdf(pages)


class _Html(_Closing):
    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def text(self, title: str, sections: Sequence[Section]) -> None:
        self._stream.write(f"<section><h2>{escape(title)}</h2>\n")
        for heading, rows in sections:
            self._stream.write(f"<h3>{escape(heading)}</h3>{html_table(rows)}\n")
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
    """The page in whose middle a figure lies, in inches from its corner; larger than A4 only round a larger figure."""
    from matplotlib.transforms import Bbox

    factor = max(1.0, (width + 2 * MARGIN) / PAGE[0], (height + 2 * MARGIN) / PAGE[1])
    across, down = factor * PAGE[0], factor * PAGE[1]
    return Bbox.from_bounds((width - across) / 2, (height - down) / 2, across, down)


def titled(figure: Figure, title: str) -> Figure:
    """The figure with a title over it, and the room for that."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.4)
    figure.suptitle(title, fontsize=15)
    return figure


def text_lines(sections: Sequence[Section]) -> list[str]:
    """Tables in aligned columns, long cells wrapped under their column; a heading starts each."""
    lines: list[str] = []
    for heading, rows in sections:
        lines += [*([""] if lines else []), heading.upper()] if heading else []
        widths = (
            [min(28, max(len(row[i]) for row in rows)) for i in range(min(len(r) for r in rows) - 1)] if rows else []
        )
        for row in rows:
            start = "".join(f"{cell:<{w}}  " for cell, w in zip(row[:-1], widths, strict=False))
            room = max(30, COLUMNS - len(start))
            first, *rest = wrap(row[-1], room) or [""]
            lines += [start + first, *(" " * len(start) + more for more in rest)]
    return lines


def _typed(title: str, lines: list[str]) -> Figure:
    """A page of text."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(PAGE[0] - 2 * MARGIN, PAGE[1] - 2 * MARGIN))
    figure.text(0.02, 0.97, title, fontsize=15, weight="bold", va="top", parse_math=False)
    figure.text(
        0.02, 0.91, "\n".join(lines), fontsize=8.5, family="monospace", va="top", linespacing=1.25, parse_math=False
    )
    return figure
