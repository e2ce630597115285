"""Where scripts/graph_layout.py puts boxes and wires."""

from itertools import combinations

from graph_layout import TITLE, Box, Wire, arrange, route


def lies_on(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.top < other.bottom and other.top < one.bottom


def test_boxes_stand_right_of_what_feeds_them_and_on_none_other():
    boxes = [Box(200, 80, room=30) for _ in range(6)]
    edges = {(0, 1), (1, 2), (0, 2), (3, 2), (2, 4), (2, 5)}
    (extent,) = arrange(boxes, edges, 40).values()
    assert all(boxes[a].right < boxes[b].x for a, b in edges)
    assert boxes[3].x == boxes[1].x  # what nothing feeds stands next to what it feeds
    assert not any(lies_on(*pair) for pair in combinations(boxes, 2))
    assert extent == [0, 0, boxes[5].right, boxes[5].bottom]


def test_columns_follow_each_other():
    boxes = [Box(200, 80, column=column) for column in (1, 0, 1)]
    arrange(boxes, {(1, 0), (1, 2)}, 40)
    assert boxes[1].right < boxes[0].x == boxes[2].x
    assert boxes[0].top == boxes[1].top == 0


def test_high_stack_is_parted():
    boxes = [Box(200, 400) for _ in range(7)]
    arrange(boxes, set(), 40)
    assert [box.x for box in boxes] == [0] * 2 + [boxes[2].x] * 3 + [boxes[5].x] * 2


def between(first: Box, last: Box) -> Wire:
    return Wire(first, last, (first.right - 10, first.y + 14), (last.x + 10, last.y + 14))


def test_wire_is_led_around_a_box_in_its_way():
    first, middle, last = boxes = [Box(200, 120, column=column) for column in range(3)]
    arrange(boxes, {(0, 1), (1, 2), (0, 2)}, 40)
    short, long = wires = [between(first, middle), between(first, last)]
    assert route(wires, boxes) == 0
    assert short.bends == []
    (_, y), (_, level) = long.bends
    assert y == level and (y < middle.y - TITLE or y > middle.bottom)


def test_wires_of_two_outputs_do_not_share_a_lane():
    first, middle, last = boxes = [Box(200, 120, column=column) for column in range(3)]
    arrange(boxes, {(0, 1), (1, 2), (0, 2)}, 40)
    one, other = between(first, last), between(first, last)
    other.start = first.right - 10, first.y + 34
    assert route([one, other], boxes) == 0
    assert abs(one.bends[0][1] - other.bends[0][1]) > 5


def test_wire_without_a_way_stays_straight_and_is_counted():
    last, wall, first = boxes = [Box(200, 80, x=300 * number, y=100) for number in range(3)]
    wire = between(first, last)  # from right to left
    assert route([wire], boxes) == 1
    assert wire.bends == []
