"""Where the boxes of a graph stand: in columns from left to right, with wires that keep clear of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import atan2, cos, hypot, pi, sin

TITLE, SLOT, WIDGET = 30, 20, 24  # heights of a title bar (above a box's place), of a socket and of a widget
GAPS = 40, 64, 96, 128  # between boxes of a stack: the first that leaves every wire a way
ALLEY, MARGIN, STEEP = 52, 14, 300  # between stacks; between a wire and a box; a climb that needs a bend
TALL = 1620  # a stack is no higher

Point = tuple[float, float]


@dataclass(eq=False)
class Box:
    """What is placed, without its title above; `room` stays free below it, for what it shows later."""

    width: int
    height: int
    room: int = 0
    column: int = 0
    rim: int = 12  # as far inside it, its sockets lie
    x: int = 0
    y: int = 0

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def top(self) -> int:
        return self.y - TITLE

    @property
    def bottom(self) -> int:
        return self.y + self.height + self.room


@dataclass(eq=False)
class Wire:
    """From one box's point to another's; `bends` are the points that lead it around the boxes between."""

    origin: Box
    target: Box
    start: Point
    end: Point
    bends: list[Point] = field(default_factory=list)


def arrange(boxes: list[Box], edges: set[tuple[int, int]], gap: int) -> dict[int, list[int]]:
    """Place the boxes, whose links are `edges` (from, to, by number); the [left, top, right, bottom] of each column.

    Inside a column each box stands right of those that feed it; those of equal rank are stacked.
    """
    extent, left = {}, 0
    for column in sorted({box.column for box in boxes}):
        inside = [number for number, box in enumerate(boxes) if box.column == column]
        bottom, x = 0, left
        for stack in _stacks(boxes, inside, edges, gap):
            y, width = TITLE, max(box.width for box in stack)
            for box in stack:
                box.x, box.y, box.width = x, y, width
                y = box.bottom + TITLE + gap
            bottom, x = max(bottom, y - TITLE - gap), x + width + ALLEY
        extent[column] = [left, 0, x - ALLEY, bottom]
        left = x
    return extent


def _stacks(boxes: list[Box], inside: list[int], edges: set[tuple[int, int]], gap: int) -> list[list[Box]]:
    feeding = {number: [a for a, b in edges if b == number and a in inside] for number in inside}
    fed = {number: [b for a, b in edges if a == number and b in inside] for number in inside}
    rank: dict[int, int] = {}

    def ranked(number: int) -> int:
        if number not in rank:
            rank[number] = 1 + max(map(ranked, feeding[number]), default=-1)
        return rank[number]

    last = max(map(ranked, inside))
    for number in sorted(inside, key=ranked, reverse=True):  # what nothing feeds stands next to what it feeds
        if not feeding[number] and fed[number]:
            rank[number] = min(rank[other] for other in fed[number]) - 1
    stacks = []
    for place in range(last + 1):
        members = sorted((number for number in inside if rank[number] == place),
                         key=lambda number: not any(number == a for a, _ in edges))  # what feeds nothing stands last
        stack = [boxes[number] for number in members]
        heights = [box.height + box.room + TITLE + gap for box in stack]
        parts = -(-sum(heights) // TALL)
        middles = [sum(heights[:number]) + height / 2 for number, height in enumerate(heights)]
        stacks += [[box for box, middle in zip(stack, middles, strict=True) if middle * parts // sum(heights) == part]
                   for part in range(parts)]
    return [stack for stack in stacks if stack]


def route(wires: list[Wire], boxes: list[Box]) -> int:
    """Give bends to each wire that would cross a box: along a free lane above or below the boxes in its way.

    Returns the number of wires that have no free way, and stay straight.
    """
    stuck = 0
    taken: list[tuple[Point, Point, Point]] = []  # of each lane in use, its ends and where its wires start
    for wire in sorted(wires, key=lambda wire: hypot(wire.end[0] - wire.start[0], wire.end[1] - wire.start[1])):
        for bends in _ways(wire, boxes):
            lanes = [(a, b, wire.start) for a, b in pairwise(bends) if a[1] == b[1]]
            if not any(_meet(lane, other) for lane in lanes for other in taken) and _clear(bends, boxes, wire):
                wire.bends = bends
                taken += lanes
                break
        else:
            stuck += 1
    return stuck


def _ways(wire: Wire, boxes: list[Box]) -> Iterator[list[Point]]:
    """Bends to try, the plainest first: none, one between neighbouring stacks, a lane's, also with steep ways to it."""
    (x0, y0), (x1, y1) = wire.start, wire.end
    yield []
    yield from ([((x0 + x1) / 2, y0 + part * (y1 - y0))] for part in (0.5, 0.3, 0.7))
    sides = [side for box in boxes if box.right > x0 and box.x < x1
             for side in ((box.top - MARGIN, -7), (box.bottom + MARGIN, 7))]
    lanes = {y + step * away for y, away in sides for step in range(12)}
    turn = 10 + ALLEY / 2
    if x0 + turn < x1 - turn:
        for y in sorted(lanes, key=lambda y: (abs(y - y0) + abs(y - y1), y)):
            up = [(x0 + turn, (y0 + y) / 2)] if abs(y - y0) > STEEP else []
            down = [(x1 - turn, (y1 + y) / 2)] if abs(y - y1) > STEEP else []
            yield [*up, (x0 + turn, y), (x1 - turn, y), *down]


def _meet(one: tuple[Point, Point, Point], other: tuple[Point, Point, Point]) -> bool:
    """Whether two lanes of different outputs lie on each other."""
    (a, b, start), (c, d, begin) = one, other
    return start != begin and abs(a[1] - c[1]) < 6 and a[0] < d[0] + 20 and b[0] > c[0] - 20


def _clear(bends: list[Point], boxes: list[Box], wire: Wire) -> bool:
    """Whether the page's curves through these points keep clear of all boxes."""
    for x, y in _drawn([wire.start, *bends, wire.end]):
        for box in boxes:
            rim = box.rim if box in (wire.origin, wire.target) else 0
            if box.x + rim < x < box.right - rim and box.top - MARGIN / 2 < y < box.bottom + MARGIN / 2:
                return False
    return True


def _drawn(path: list[Point], steps: int = 40) -> Iterator[Point]:
    """The wire as the page draws it: handles level at the ends, and halving the angle at each bend."""
    headings = [0.0]
    for before, here, after in zip(path, path[1:], path[2:], strict=False):
        into, out = (atan2(b[1] - a[1], b[0] - a[0]) for a, b in ((before, here), (here, after)))
        headings.append((into + out) / 2 + (pi if abs(into - out) > pi else 0))
    headings.append(0.0)
    for number, (start, end) in enumerate(pairwise(path)):
        reach = hypot(end[0] - start[0], end[1] - start[1]) / 4
        (first, last), bent = headings[number : number + 2], (number > 0, number + 2 < len(path))
        one, two = (min(80, reach) if at else reach for at in bent)
        xs = start[0], start[0] + one * cos(first), end[0] - two * cos(last), end[0]
        ys = start[1], start[1] + one * sin(first), end[1] - two * sin(last), end[1]
        for step in range(steps + 1):
            t = step / steps
            parts = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield tuple(sum(a * b for a, b in zip(parts, axis, strict=True)) for axis in (xs, ys))
            if all(bent):  # the less it swings, the nearer to its lane
                yield start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
