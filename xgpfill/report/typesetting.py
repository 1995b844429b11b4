"""Tables set as pages of text: measured, wrapped under their column, in columns of like height. No file is written.

Sizes are in points of 1/72 inch, from the top left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

Rows = list[tuple[str, ...]]

POINTS = 72.0
TITLE, HEADING, BODY = 15.0, 10.5, 8.5
LEADING = 1.32
"""Distance of lines over the size of their type."""
BETWEEN_CELLS, BETWEEN_COLUMNS, BETWEEN_TABLES = 10.0, 30.0, 11.0
MOST_OF_A_ROW = 0.75
"""Share of a column of text that all but the last cell of a row may take; a wider table has the page to itself."""
FULL_ENOUGH = 0.4
"""A last page with less than this share of text is avoided by smaller type."""
SCALES = (1.0, 0.95, 0.9, 0.85)
SMALLEST = 0.7
"""How much narrower a figure may become that shares its page with a table."""


class Section(NamedTuple):
    """A table under its heading; `headings` are those of its columns."""

    heading: str
    rows: Rows
    headings: tuple[str, ...] = ()


class Piece(NamedTuple):
    """A run of text at a distance from the left, or to the right end of one."""

    left: float
    text: str
    size: float = BODY
    weight: str = "normal"
    align: str = "left"


@dataclass(frozen=True)
class Line:
    """Pieces on one baseline, or none; `rule` draws a hair line below over so many points."""

    height: float
    pieces: tuple[Piece, ...] = ()
    rule: float = 0.0


@dataclass(frozen=True)
class Block:
    """Lines that stay together; `head` is repeated where a column starts with them."""

    lines: tuple[Line, ...]
    head: tuple[Line, ...] = field(default=())

    @property
    def height(self) -> float:
        """Of all lines."""
        return sum(line.height for line in self.lines)


def pages(parts: Sequence[tuple[str, Sequence[Section]]], width: float, height: float) -> list[Figure]:
    """Set titled tables one after another on pages of a size in inches; the first title stands on every page.

    The last page is about as full as the others.
    """
    room = height * POINTS - TITLE * 2.2
    columns = _number_of_columns(parts, width * POINTS)
    across = (width * POINTS - BETWEEN_COLUMNS * (columns - 1)) / columns
    for scale in SCALES:
        blocks = list(_blocks(parts, across, scale))
        filled = flow(blocks, room)
        count = -(-len(filled) // columns)
        last = sum(_height(lines) for lines in filled[columns * (count - 1) :]) / (columns * room)
        if count == 1 or last >= FULL_ENOUGH:
            break
    else:
        blocks = list(_blocks(parts, across, 1.0))
        count = -(-len(flow(blocks, room)) // columns)
    filled = flow(blocks, evened(blocks, room, count * columns))
    starts = range(0, count * columns, columns)
    return [_drawn(parts[0][0], filled[i : i + columns], across, width, height, i > 0) for i in starts]


def set_above(figure: Figure, parts: Sequence[tuple[str, Sequence[Section]]], width: float, height: float) -> bool:
    """Set titled tables above what a figure shows, where both fit on a page of a size in inches; whether they do.

    They do not where the tables would fill a page of their own well enough, the figure has to shrink too much, or it is
    not laid out by itself.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    columns = _number_of_columns(parts, width * POINTS)
    across = (width * POINTS - BETWEEN_COLUMNS * (columns - 1)) / columns
    blocks = list(_blocks(parts, across, 1.0))
    filled = flow(blocks, evened(blocks, height * POINTS, columns))
    used = TITLE * 2.2 + max(map(_height, filled)) + 2 * BETWEEN_TABLES
    own_width, own_height = figure.get_size_inches()
    whole = own_height + used / POINTS
    short, fits = used <= FULL_ENOUGH * height * POINTS, whole <= height and SMALLEST * own_width <= width
    if not (short and fits and isinstance(engine, ConstrainedLayoutEngine)):
        return False
    figure.set_size_inches(width, whole)
    share, over = own_height / whole, 0.0
    if title := figure.get_suptitle():
        figure.suptitle(title, y=share, va="top", fontsize=TITLE)
        over = 2 * TITLE / (whole * POINTS)
    engine.set(rect=(0.0, 0.0, 1.0, share - over))
    _set(figure, parts[0][0], filled, across, again=False)
    return True


def flow(blocks: Sequence[Block], room: float) -> list[list[Line]]:
    """Fill columns of a height with blocks; only a block that fits in none is broken."""
    columns: list[list[Line]] = [[]]
    for block in blocks:
        if columns[-1] and _height(columns[-1]) + block.height > room:
            columns.append(list(block.head))
        for line in block.lines:
            if not columns[-1] and not line.pieces:
                continue  # no space above the first line
            if columns[-1] and _height(columns[-1]) + line.height > room:
                columns.append(list(block.head))
            columns[-1].append(line)
    return columns


def evened(blocks: Sequence[Block], room: float, most: int) -> float:
    """The least height of columns, to a line, with which blocks still fit into so many."""
    heights = [block.height for block in blocks]
    height = max(sum(heights) / most, *heights)
    while height < room and len(flow(blocks, height)) > most:
        height += BODY
    return min(height, room)


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Break text into lines of at most a width; a word that is longer is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(longer, size, weight) <= width:
            lines[-1] = longer
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = word
        while len(rest := lines[-1]) > 1 and width_of(rest, size, weight) > width:
            fits = next(n for n in range(len(rest) - 1, 0, -1) if n == 1 or width_of(rest[:n], size, weight) <= width)
            lines[-1:] = [rest[:fits], rest[fits:]]
    return lines


@lru_cache(maxsize=8192)
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size, weight=weight), ismath=False
    )
    return float(width)


def _height(lines: Sequence[Line]) -> float:
    return sum(line.height for line in lines)


def _number_of_columns(parts: Sequence[tuple[str, Sequence[Section]]], width: float) -> int:
    """Two columns of text on a page, unless a table needs it all."""
    half = (width - BETWEEN_COLUMNS) / 2
    tables = [section for _, sections in parts for section in sections]
    return 1 if any(sum(_natural(table, BODY)[:-1]) > MOST_OF_A_ROW * half for table in tables) else 2


def _natural(table: Section, size: float) -> list[float]:
    """Widths of the cells of a table with what lies between them, were no cell wrapped."""
    rows = [(row, "normal") for row in table.rows] + [(table.headings, "bold")]
    count = max(len(row) for row, _ in rows)
    widths = ([width_of(row[i], size, weight) for row, weight in rows if len(row) > i] for i in range(count))
    return [max(cells) + BETWEEN_CELLS for cells in widths] or [0.0]


def _blocks(parts: Sequence[tuple[str, Sequence[Section]]], width: float, scale: float) -> Iterator[Block]:
    """All that is said, in the order of reading."""
    for number, (title, sections) in enumerate(parts):
        above = _titles(title, width, scale) if number else ()
        for section in sections:
            first, *others = _table(section, width, scale)
            yield Block(above + first.lines)
            yield from others
            above = ()


def _titles(title: str, width: float, scale: float) -> tuple[Line, ...]:
    size = 1.2 * HEADING * scale
    lines = wrapped(title, width, size, "bold")
    return (
        Line(2 * BETWEEN_TABLES * scale),
        *(Line(size * LEADING, (Piece(0.0, text, size, "bold"),)) for text in lines),
    )


def _table(section: Section, width: float, scale: float) -> list[Block]:
    """A heading that stays with the first row, and the rows."""
    size = BODY * scale
    cells = _widths(_natural(section, size), width)
    numbers = [all(_is_number(row[i]) for row in section.rows if len(row) > i) for i in range(len(cells))]
    names = _row(section.headings, cells, numbers, size, "bold") if section.headings else ()
    head = (*names[:-1], Line(names[-1].height + 2.0, names[-1].pieces, rule=width)) if names else ()
    rows = [_row(row, cells, numbers, size, "normal") for row in section.rows] or [()]
    over: tuple[Line, ...] = (Line(BETWEEN_TABLES * scale),)
    if section.heading:
        text = Piece(0.0, section.heading, HEADING * scale, "bold")
        over += (Line(HEADING * scale * LEADING + 3.0, (text,), rule=width),)
    return [Block(over + head + rows[0]), *(Block(row, head) for row in rows[1:])]


def _widths(natural: list[float], width: float) -> list[float]:
    """Widths of cells within that of a column: the last has what the others leave, and a third at least."""
    *others, _ = natural
    taken, most = sum(others), width * 2 / 3
    others = [cell * most / taken for cell in others] if taken > most else others
    return [*others, width - sum(others)]


def _row(
    row: Sequence[str], cells: Sequence[float], numbers: Sequence[bool], size: float, weight: str
) -> tuple[Line, ...]:
    """The lines of a row, each cell wrapped in its own width; numbers end below each other."""
    parts = [wrapped(text, cell - BETWEEN_CELLS, size, weight) for text, cell in zip(row, cells, strict=False)]
    lines = []
    for number in range(max(map(len, parts), default=0)):
        left, pieces = 0.0, []
        for part, cell, right in zip(parts, cells, numbers, strict=False):
            last = cell is cells[-1]
            at = left + cell - BETWEEN_CELLS if right and not last else left
            if number < len(part):
                pieces.append(Piece(at, part[number], size, weight, "right" if right and not last else "left"))
            left += cell
        lines.append(Line(size * LEADING, tuple(pieces)))
    return tuple(lines)


def _is_number(text: str) -> bool:
    """Whether a cell is a number, or says that there is none."""
    try:
        float("nan" if text == "none" else text.partition(" × ")[0])
    except ValueError:
        return False
    return True


def _drawn(title: str, columns: list[list[Line]], across: float, width: float, height: float, again: bool) -> Figure:
    """One page."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height))
    _set(figure, title, columns, across, again=again)
    return figure


def _set(figure: Figure, title: str, columns: list[list[Line]], across: float, *, again: bool) -> None:
    """Lines of text from the top of a figure on."""
    width, height = figure.get_size_inches()
    scale_x, scale_y = 1.0 / (POINTS * width), 1.0 / (POINTS * height)
    named = f"{title} (continued)" if again else title
    size = TITLE * min(1.0, POINTS * width / max(width_of(named, TITLE, "bold"), 1.0))
    figure.text(0.0, 1.0, named, fontsize=size, weight="bold", va="top", parse_math=False)
    for number, lines in enumerate(columns):
        left, top = number * (across + BETWEEN_COLUMNS), TITLE * 2.2
        for line in lines:
            top += line.height
            for piece in line.pieces:
                at = ((left + piece.left) * scale_x, 1.0 - (top - 0.3 * piece.size - 2.0 * bool(line.rule)) * scale_y)
                figure.text(
                    *at, piece.text, fontsize=piece.size, weight=piece.weight, ha=piece.align, va="baseline",
                    parse_math=False,
                )  # fmt: skip
            if line.rule:
                _rule(figure, left * scale_x, (left + line.rule) * scale_x, 1.0 - (top - 0.5) * scale_y)


def _rule(figure: Figure, start: float, stop: float, y: float) -> None:
    from matplotlib import rcParams
    from matplotlib.lines import Line2D

    options: dict[str, Any] = {"color": rcParams["text.color"], "linewidth": 0.5, "alpha": 0.6}
    figure.add_artist(Line2D([start, stop], [y, y], transform=figure.transFigure, **options))
