"""Drawn scenes at home: bedroom, kitchen."""

import math

import numpy as np

from indoor.demo.room import Room, Wall, paint, tone
from indoor.demo.view import Colour, View


def draw_bedroom(view: View, generator: np.random.Generator) -> None:
    """A bed with pillows, bedside tables with lamps, a picture, a curtained window."""
    room = Room(
        view=view,
        width=generator.uniform(3.6, 4.8),
        height=generator.uniform(2.4, 2.9),
        depth=generator.uniform(4.2, 5.4),
    )
    room.build(generator)
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
    room = Room(
        view=view,
        width=generator.uniform(2.8, 3.8),
        height=generator.uniform(2.4, 2.8),
        depth=generator.uniform(3.8, 5.0),
    )
    room.build(generator)
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
    view: View,
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z: float,
    colour: Colour,
    joint: Colour,
) -> None:
    """Add a cupboard door with a dark joint around it and a knob."""
    for inset, shade in ((0.0, joint), (0.02, colour)):
        low, high = (x0 + inset, y0 + inset), (x1 - inset, y1 - inset)
        corners = [(low[0], low[1], z), (high[0], low[1], z), (high[0], high[1], z)]
        view.polygon(
            [*corners, (low[0], high[1], z)],
            shade,
            layer=2,
            priority=int(inset > 0) + 1,
            centre=(0.0, 0.0, z),
        )
    knob = [(x1 - 0.1, y1 - 0.1, z), (x1 - 0.05, y1 - 0.1, z), (x1 - 0.05, y1 - 0.15, z)]
    view.polygon(knob, joint, layer=2, priority=3, centre=(0.0, 0.0, z))
