"""Drawn scenes along an axis: cloister, corridor, library, staircase, bowling alley."""

import numpy as np

from indoor.demo.camera import View
from indoor.demo.room import Room, Wall, paint, random_room, tone

SIDES: tuple[Wall, Wall] = ("left", "right")


def draw_corridor(view: View, generator: np.random.Generator) -> None:
    """A long narrow passage: doors on both sides, a row of lamps, a door at the end."""
    room = random_room(view, generator, (1.8, 2.8), (2.3, 3.0), (13, 24))
    door, frame = paint(generator), paint(generator)
    step = generator.uniform(2.2, 3.4)
    for wall in SIDES:
        for start in np.arange(generator.uniform(-1, 1.5), room.depth - 1, step).tolist():
            room.panel(wall, start - 0.08, start + 0.98, 0, 2.08, frame, priority=1)
            room.panel(wall, start, start + 0.9, 0, 2.0, door, priority=2)
            room.panel(wall, start + 0.75, start + 0.83, 0.95, 1.05, tone(frame, 0.4), priority=3)
        room.panel(wall, -3, room.depth, 0, 0.12, tone(frame, 0.7), priority=0)
    room.panel("back", -0.5, 0.5, 0, 2.05, door, priority=1)
    if generator.random() < 0.5:
        room.panel("back", -0.35, 0.35, 1.1, 1.9, paint(generator, 0.9, 1), priority=2, glows=True)
    lamp = paint(generator, 0.95, 1.0)
    for start in np.arange(0.5, room.depth, generator.uniform(1.8, 3.0)).tolist():
        room.panel("ceiling", -0.3, 0.3, start, start + 0.9, lamp, priority=1, glows=True)
    if generator.random() < 0.5:
        half = room.width * 0.28
        room.panel("floor", -half, half, -3, room.depth, paint(generator), priority=0)
    else:
        room.grid("floor", 0.6, paint(generator, 0.2, 0.6))


def draw_library(view: View, generator: np.random.Generator) -> None:
    """An aisle between shelves that are full of books."""
    room = random_room(view, generator, (2.2, 3.4), (2.6, 3.4), (6, 10))
    wood = paint(generator, 0.3, 0.7)
    boards = generator.uniform(0.34, 0.45)
    top = room.height * generator.uniform(0.8, 0.95)
    walls: tuple[Wall, ...] = (*SIDES, "back") if generator.random() < 0.7 else SIDES
    for wall in walls:
        start, end = (-room.width / 2, room.width / 2) if wall == "back" else (0.2, room.depth)
        room.panel(wall, start, end, 0, top, tone(wood, 0.35), priority=1)
        for height in np.arange(0.08, top - boards, boards).tolist():
            at = start
            while at < end:
                thick = generator.uniform(0.05, 0.12)
                tall = boards * generator.uniform(0.6, 0.88)
                if generator.random() < 0.93:
                    book = paint(generator, 0.25, 0.95)
                    room.panel(wall, at, at + thick * 0.9, height, height + tall, book, priority=2)
                at += thick
            room.panel(wall, start, end, height - 0.05, height, wood, priority=3)
        for post in np.arange(start, end + 0.1, generator.uniform(0.9, 1.3)).tolist():
            room.panel(wall, post, post + 0.06, 0, top, wood, priority=4)
        room.panel(wall, start, end, top - 0.05, top + 0.03, wood, priority=4)
    if generator.random() < 0.5:
        room.table(generator.uniform(-0.4, 0.4), room.depth * 0.6, (0.9, 0.75, 1.2), wood)


def draw_staircase(view: View, generator: np.random.Generator) -> None:
    """A flight of steps that climbs away from the viewer, with a banister."""
    num = int(generator.integers(10, 16))
    rise, tread = generator.uniform(0.16, 0.2), generator.uniform(0.28, 0.36)
    start = generator.uniform(1.6, 2.4)
    room = Room(
        view=view,
        width=generator.uniform(2.4, 4.2),
        height=num * rise + generator.uniform(2.2, 3.0),
        depth=start + num * tread + generator.uniform(0.8, 2.0),
    )
    room.build(generator)
    step, runner, rail = paint(generator), paint(generator), paint(generator)
    half = room.width / 2 * generator.uniform(0.6, 1.0)
    has_runner = generator.random() < 0.5
    for index in range(num):
        low, z = index * rise, start + index * tread
        high, end = low + rise, z + tread if index < num - 1 else room.depth
        plates = [(half, low, z, high, z, tone(step, 0.6)), (half, high, z, high, end, step)]
        if has_runner:
            carpet = half * 0.5
            plates.append((carpet, low, z, high, z, tone(runner, 0.75)))
            plates.append((carpet, high, z, high, end, runner))
        for priority, (wide, y0, z0, y1, z1, colour) in zip((0, 1, 2, 2), plates, strict=False):
            corners = [(-wide, y0, z0), (wide, y0, z0), (wide, y1, z1), (-wide, y1, z1)]
            view.polygon(corners, colour, centre=(0.0, low, z), priority=priority)
        for side in (-1, 1):
            x = side * (half - 0.05)
            view.box((x - 0.02, high, z + 0.1), (x + 0.02, high + 0.9, z + 0.14), rail)
            near, far = z - tread / 2, z + tread / 2
            bar = [(x, high + 0.85, near), (x, high + 0.98, near), (x, high + rise + 0.98, far)]
            view.polygon([*bar, (x, high + rise + 0.85, far)], tone(rail, 0.8), priority=3)
    sky = paint(generator, 0.85, 1.0)
    wide = generator.uniform(0.4, 0.8)
    low = num * rise + 0.8
    room.window("back", -wide, wide, low, low + generator.uniform(0.8, 1.3), sky)


def draw_cloister(view: View, generator: np.random.Generator) -> None:
    """A covered walk: arches on columns to one side, open to the light; beams above."""
    room = random_room(view, generator, (2.8, 4.2), (3.6, 4.6), (14, 24))
    sky, stone, ground = paint(generator, 0.85, 1), paint(generator, 0.4, 0.85), paint(generator)
    gap = generator.uniform(1.9, 2.6)
    spring = room.height - gap / 2 - generator.uniform(0.3, 0.6)
    both = generator.random() < 0.35
    walls = SIDES if both else SIDES[:1]
    for wall in walls:
        x = -room.width / 2 if wall == "left" else room.width / 2
        for start in np.arange(-2.5, room.depth - gap, gap).tolist():
            room.arch(wall, start + 0.2, start + gap - 0.2, 0.5, spring, sky)
            room.panel(wall, start + 0.2, start + gap - 0.2, 0.5, 1.4, ground, priority=5)
            inner = x + (0.18 if wall == "left" else -0.18)
            low, high = min(x, inner), max(x, inner)
            view.box((low, 0.5, start - 0.14), (high, spring, start + 0.14), stone)
            view.box((low, spring - 0.05, start - 0.24), (high, spring + 0.2, start + 0.24), stone)
            view.box((low, 0, start - gap), (high, 0.5, start), tone(stone, 0.9))
    for start in np.arange(-2.5, room.depth, gap).tolist():
        beam = tone(stone, 0.7)
        room.panel(
            "ceiling", -room.width / 2, room.width / 2, start - 0.15, start + 0.15, beam, priority=1
        )
        if not both:
            room.panel("right", start - 0.15, start + 0.15, 0, room.height, beam, priority=1)
    room.grid("floor", generator.uniform(0.7, 1.1), paint(generator, 0.2, 0.6))
    wide = room.width * 0.25
    room.arch("back", -wide, wide, 0, room.height * 0.5, tone(sky, 0.6))


def draw_bowling(view: View, generator: np.random.Generator) -> None:
    """Parallel lanes between gutters, each ending at ten pins under a mask."""
    num = int(generator.integers(3, 7))
    lane, gutter = 1.05, 0.5
    width = num * (lane + gutter) + 0.6
    room = Room(view=view, width=width, height=generator.uniform(2.8, 3.6), depth=13)
    room.build(generator)
    wood, dark = paint(generator, 0.6, 0.95), paint(generator, 0.12, 0.3)
    pin = paint(generator, 0.9, 1.0)
    pit = room.depth - 0.2
    room.panel("back", -width / 2, width / 2, 0, 1.0, tone(dark, 0.7), priority=1)
    room.panel("back", -width / 2, width / 2, 1.0, 2.0, paint(generator), priority=1)
    for index in range(num):
        x0 = -width / 2 + 0.3 + gutter / 2 + index * (lane + gutter)
        room.panel("floor", x0 - 0.2, x0 + lane + 0.2, 1.2, pit, dark, priority=1)
        room.panel("floor", x0, x0 + lane, 1.2, pit, wood, priority=2)
        for board in np.arange(x0, x0 + lane, 0.15).tolist():
            room.panel("floor", board, board + 0.015, 1.2, pit, tone(wood, 0.7), priority=3)
        middle = x0 + lane / 2
        for shift in (-0.3, -0.15, 0, 0.15, 0.3):
            tip = 4.4 - abs(shift)
            arrow = [(middle + shift - 0.04, tip), (middle + shift + 0.04, tip)]
            room.shape("floor", [*arrow, (middle + shift, tip + 0.4)], dark, priority=4)
        for row in range(4):
            for place in range(row + 1):
                x, z = middle + (place - row / 2) * 0.28, 11.2 + row * 0.25
                view.box((x - 0.06, 0, z - 0.04), (x + 0.06, 0.32, z + 0.04), pin)
                view.box((x - 0.035, 0.32, z - 0.03), (x + 0.035, 0.5, z + 0.03), pin)
        room.panel("back", x0 + 0.1, x0 + lane - 0.1, 1.2, 1.8, paint(generator), priority=2)
