"""Drawn scenes in one room: cinema, classroom, swimming pool, bedroom, kitchen."""

import math

import numpy as np

from indoor.demo.camera import Colour, View
from indoor.demo.room import Wall, paint, random_room, tone


def draw_pool(view: View, generator: np.random.Generator) -> None:
    """A tiled hall with a basin of water, lane ropes and high windows."""
    room = random_room(view, generator, (9, 14), (4, 6), (16, 24))
    water, rope, sky = paint(generator, 0.5, 0.95), paint(generator), paint(generator, 0.85, 1)
    room.grid("floor", 0.8, paint(generator, 0.2, 0.6), joint=0.04)
    half = room.width / 2 - generator.uniform(1.2, 2.2)
    near, far = generator.uniform(0.5, 2.0), room.depth - generator.uniform(1.5, 3)
    edge = paint(generator, 0.8, 1.0)
    room.panel("floor", -half - 0.3, half + 0.3, near - 0.3, far + 0.3, edge, priority=1)
    room.panel("floor", -half, half, near, far, water, priority=2)
    for _ in range(70):
        x, z = generator.uniform(-half, half - 0.8), generator.uniform(near, far - 0.2)
        long = generator.uniform(0.3, 0.8)
        ripple = tone(water, generator.uniform(0.8, 1.25))
        corners = [(x, z), (x + long, z + 0.05), (x + long * 0.6, z + 0.14)]
        room.shape("floor", corners, ripple, priority=3)
    num = int(generator.integers(3, 6))
    for lane in range(1, num):
        x = -half + 2 * half * lane / num
        for index, z in enumerate(np.arange(near, far, 0.5).tolist()):
            float_ = rope if index % 2 else tone(rope, 0.5)
            room.panel("floor", x - 0.07, x + 0.07, z, min(z + 0.5, far), float_, priority=4)
    for lane in range(num):
        x = -half + 2 * half * (lane + 0.5) / num
        view.box((x - 0.3, 0, far + 0.4), (x + 0.3, 0.55, far + 0.9), paint(generator))
    walls: tuple[Wall, ...] = ("left", "right", "back")
    for wall in walls[: int(generator.integers(1, 3))]:
        for z in np.arange(0, room.depth - 2, generator.uniform(2.2, 3.2)).tolist():
            room.window(wall, z, z + 1.7, room.height * 0.35, room.height * 0.85, sky)
    for wall in walls:
        end = room.depth if wall != "back" else room.width / 2
        room.panel(wall, -room.depth, end, 0, 0.9, tone(water, 0.8), priority=0)


def draw_cinema(view: View, generator: np.random.Generator) -> None:
    """Rows of seats seen from behind, a bright screen between curtains."""
    room = random_room(view, generator, (8, 12), (4.5, 6), (10, 14))
    seat, curtain = paint(generator, 0.3, 0.8), paint(generator, 0.3, 0.8)
    wide = room.width * generator.uniform(0.3, 0.38)
    low, high = room.height * 0.33, room.height * 0.92
    room.panel("back", -wide - 0.15, wide + 0.15, low - 0.15, high + 0.15, (12, 12, 12), priority=2)
    room.panel("back", -wide, wide, low, high, paint(generator, 0.9, 1), priority=3, glows=True)
    for _ in range(int(generator.integers(0, 5))):
        x, y = generator.uniform(-wide * 0.9, wide * 0.4), generator.uniform(low, high - 0.8)
        right, up = x + wide * generator.uniform(0.2, 0.5), y + generator.uniform(0.3, 0.8)
        room.panel("back", x, right, y, up, paint(generator), priority=4, glows=True)
    for fold in np.arange(-room.width / 2, room.width / 2, 0.3).tolist():
        if abs(fold + 0.15) > wide:
            shade = tone(curtain, generator.uniform(0.6, 1.1))
            room.panel("back", fold, fold + 0.3, 0, room.height, shade, priority=1)
    sides: tuple[Wall, Wall] = ("left", "right")
    for wall in sides:
        for z in np.arange(0, room.depth, 2.0).tolist():
            room.panel(wall, z, z + 0.9, 1.2, room.height * 0.8, tone(curtain, 0.8), priority=1)
    pitch = generator.uniform(0.62, 0.78)
    aisle = generator.uniform(0.4, 0.7) if generator.random() < 0.5 else 0.0
    for z in np.arange(1.6, room.depth - 2.2, generator.uniform(0.9, 1.15)).tolist():
        shift = generator.uniform(-0.1, 0.1)
        for x in np.arange(-room.width / 2 + 0.3, room.width / 2 - 0.3, pitch).tolist():
            if abs(x + pitch / 2) >= aisle:
                _add_seat(view, x + shift, z, pitch * 0.86, seat)


def _add_seat(view: View, x: float, z: float, width: float, colour: Colour) -> None:
    """Add the back of a cinema seat, rounded at the top."""
    radius = width / 2
    angles = np.linspace(0, math.pi, 7).tolist()
    head = [(x + radius * (1 + math.cos(t)), 0.75 + 0.25 * math.sin(t), z) for t in angles]
    centre = (x + radius, 0.5, z)
    view.polygon([(x, 0.1, z), (x + width, 0.1, z), *head], colour, centre=centre, priority=1)
    inset = [
        (x + radius + (px - x - radius) * 0.75, 0.2 + (py - 0.2) * 0.9, z) for px, py, _ in head
    ]
    corner = [(x + width * 0.12, 0.25, z), (x + width * 0.88, 0.25, z)]
    view.polygon([*corner, *inset], tone(colour, 0.75), centre=centre, priority=2)


def draw_classroom(view: View, generator: np.random.Generator) -> None:
    """Desks and chairs in rows before a board, windows along one side."""
    room = random_room(view, generator, (6, 8), (2.8, 3.4), (8, 11))
    board, desk, chair = paint(generator, 0.15, 0.9), paint(generator), paint(generator)
    half = generator.uniform(1.5, 2.4)
    frame = paint(generator, 0.3, 0.7)
    room.panel("back", -half - 0.1, half + 0.1, 0.85, 2.25, frame, priority=1)
    room.panel("back", -half, half, 0.95, 2.15, board, priority=2)
    chalk = tone(board, 1.6) if max(board) < 140 else tone(board, 0.5)
    for line in range(int(generator.integers(2, 6))):
        y, start = 2.0 - 0.18 * line, generator.uniform(-half * 0.9, 0)
        end = start + generator.uniform(0.3, half)
        room.panel("back", start, end, y - 0.05, y, chalk, priority=3, glows=True)
    wall: Wall = "left" if generator.random() < 0.5 else "right"
    sky = paint(generator, 0.85, 1.0)
    for z in np.arange(0.5, room.depth - 1.5, 2.0).tolist():
        room.window(wall, z, z + 1.5, 1.0, room.height - 0.4, sky)
    columns = int(generator.integers(3, 5))
    spacing = room.width / (columns + 0.3)
    for z in np.arange(2.2, room.depth - 2, generator.uniform(1.35, 1.7)).tolist():
        for column in range(columns):
            x = (column - (columns - 1) / 2) * spacing + generator.uniform(-0.08, 0.08)
            room.table(x, z, (spacing * 0.62, 0.74, 0.5), desk)
            seat_z = z - 0.5
            view.box((x - 0.2, 0.4, seat_z - 0.2), (x + 0.2, 0.45, seat_z + 0.2), chair)
            view.box((x - 0.2, 0.6, seat_z - 0.22), (x + 0.2, 0.9, seat_z - 0.18), chair)
            for side in (-0.18, 0.18):
                leg = (x + side - 0.015, 0.0, seat_z - 0.2)
                view.box(leg, (x + side + 0.015, 0.6, seat_z - 0.17), tone(chair, 0.5))
    lamp = paint(generator, 0.95, 1.0)
    for z in np.arange(1.5, room.depth, 2.5).tolist():
        for x in (-1.4, 1.4):
            room.panel("ceiling", x - 0.6, x + 0.6, z, z + 0.25, lamp, priority=1, glows=True)


def draw_bedroom(view: View, generator: np.random.Generator) -> None:
    """A bed with pillows, bedside tables with lamps, a picture, a curtained window."""
    room = random_room(view, generator, (3.6, 4.8), (2.4, 2.9), (4.2, 5.4))
    wood, sheet, blanket = paint(generator, 0.3, 0.7), paint(generator, 0.8, 1), paint(generator)
    half = generator.uniform(0.7, 0.95)
    x = generator.uniform(-0.4, 0.4)
    head, foot = room.depth - 0.08, room.depth - 2.15
    view.box((x - half - 0.05, 0, head - 0.05), (x + half + 0.05, 1.15, head + 0.05), wood)
    view.box((x - half, 0.0, foot), (x + half, 0.3, head - 0.1), wood)
    view.box((x - half, 0.3, foot), (x + half, 0.55, head - 0.1), sheet, layer=2)
    turn = foot + generator.uniform(1.1, 1.45)
    view.box((x - half - 0.04, 0.2, foot - 0.04), (x + half + 0.04, 0.6, turn), blanket, layer=3)
    stripe = tone(blanket, generator.uniform(0.6, 1.4))
    for z in np.arange(foot + 0.1, turn - 0.1, generator.uniform(0.25, 0.5)).tolist():
        corners = ((x - half, 0.6, z), (x + half, 0.6, z), (x + half, 0.6, z + 0.08))
        view.polygon([*corners, (x - half, 0.6, z + 0.08)], stripe, layer=4)
    for side in (-1, 1):
        middle = x + side * half * 0.5
        low = (middle - half * 0.42, 0.55, head - 0.55)
        view.box(low, (middle + half * 0.42, 0.74, head - 0.15), tone(sheet, 0.93), layer=4)
        table = x + side * (half + 0.35)
        view.box((table - 0.22, 0, head - 0.45), (table + 0.22, 0.5, head), wood)
        view.box((table - 0.03, 0.5, head - 0.25), (table + 0.03, 0.75, head - 0.2), wood, layer=2)
        lamp = paint(generator, 0.9, 1.0)
        shade = [(-0.2, 0.75), (0.2, 0.75), (0.12, 1.05), (-0.12, 1.05)]
        points = [(table + dx, y, head - 0.22) for dx, y in shade]
        view.polygon(points, lamp, layer=3, glows=True)
    y = generator.uniform(1.5, 1.65)
    wide = generator.uniform(0.25, 0.6)
    room.panel("back", x - wide - 0.05, x + wide + 0.05, y - 0.05, y + 0.6, wood, priority=1)
    room.panel("back", x - wide, x + wide, y, y + 0.55, paint(generator), priority=2)
    wall: Wall = "left" if generator.random() < 0.5 else "right"
    start = generator.uniform(1.4, 2.2)
    room.window(wall, start, start + 1.3, 0.9, 2.1, paint(generator, 0.85, 1))
    curtain = paint(generator)
    for fold in range(5):
        for left in (start - 0.45, start + 1.3):
            a = left + fold * 0.1
            shade_of = tone(curtain, 0.75 + 0.35 * (fold % 2))
            room.panel(wall, a, a + 0.1, 0.1, 2.25, shade_of, priority=4)
    rug = generator.uniform(0.8, 1.4)
    room.panel("floor", x - rug, x + rug, 0.8, foot + 0.6, paint(generator), priority=1)
    room.panel("floor", x - rug * 0.8, x + rug * 0.8, 1.0, foot, paint(generator), priority=2)


def draw_kitchen(view: View, generator: np.random.Generator) -> None:
    """Counters and wall cupboards along the walls, a stove, a fridge, tiles between them."""
    room = random_room(view, generator, (2.8, 3.8), (2.4, 2.8), (3.8, 5.0))
    front, top, steel = paint(generator), paint(generator), paint(generator, 0.5, 0.9)
    joint = tone(front, 0.45)
    room.grid("back", 0.15, paint(generator, 0.5, 0.9), joint=0.012)
    room.grid("floor", 0.4, paint(generator, 0.2, 0.6))
    left, right, back = -room.width / 2, room.width / 2, room.depth
    z = back - 0.6
    view.box((left, 0, z), (right, 0.88, back), front)
    view.box((left, 0.88, z - 0.03), (right, 0.93, back), top, layer=2)
    step = generator.uniform(0.45, 0.62)
    stove = int(generator.integers(1, 4))
    for index, x in enumerate(np.arange(left, right - 0.1, step).tolist()):
        end = min(x + step, right)
        colour = tone(steel, 0.5) if index == stove else front
        _add_front(view, x, end, 0.1, 0.86, z, colour, joint)
        if index == stove:
            _add_front(view, x + 0.06, end - 0.06, 0.25, 0.6, z - 0.01, (25, 25, 25), steel)
        else:
            low = generator.uniform(1.42, 1.5)
            _add_front(view, x, end, low, 2.15, back - 0.33, front, joint)
    for dx in (0.15, 0.35):
        for dz in (0.15, 0.38):
            x = left + stove * step + dx
            ring = [(x + 0.07 * math.cos(t), 0.935, z + dz + 0.07 * math.sin(t)) for t in range(6)]
            view.polygon(ring, (20, 20, 20), layer=4)
    side = -1 if generator.random() < 0.5 else 1
    inner, outer = side * (room.width / 2 - 0.6), side * room.width / 2
    low, high = min(inner, outer), max(inner, outer)
    if generator.random() < 0.6:
        start = generator.uniform(1.2, 1.8)
        view.box((low, 0, start), (high, 0.88, z), front, layer=3)
        view.box((low, 0.88, start), (high, 0.93, z), top, layer=4)
    start = z - 0.75
    view.box((-high, 0, start), (-low, 1.8, z - 0.05), steel, layer=3)
    sky = paint(generator, 0.85, 1.0)
    wall: Wall = "left" if side < 0 else "right"
    room.window(wall, 1.6, 2.7, 1.1, 2.0, sky)


def _add_front(
    view: View, x0: float, x1: float, y0: float, y1: float, z: float, colour: Colour, joint: Colour
) -> None:
    """Add a cupboard door with a dark joint around it and a knob."""
    centre = (0.0, 0.0, z)
    for priority, inset, shade in ((1, 0.0, joint), (2, 0.02, colour)):
        left, right, low, high = x0 + inset, x1 - inset, y0 + inset, y1 - inset
        corners = [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]
        view.polygon(corners, shade, layer=2, priority=priority, centre=centre)
    knob = [(x1 - 0.1, y1 - 0.1, z), (x1 - 0.05, y1 - 0.1, z), (x1 - 0.05, y1 - 0.15, z)]
    view.polygon(knob, joint, layer=2, priority=3, centre=centre)
