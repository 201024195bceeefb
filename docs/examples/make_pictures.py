"""Draws small pictures of colored shapes, in case you have no folder of pictures at hand.

    python docs/examples/make_pictures.py FOLDER [COUNT]

Writes FOLDER/train/CLASS/*.png (four fifths) and FOLDER/test/CLASS/*.png. The classes are shapes; colors,
places and sizes are random, so color says nothing about the class.
"""

import pathlib

import numpy as np
from command_line import run
from PIL import Image, ImageDraw

SIZE, SEED = 32, 0
CLASSES = ("circle", "cross", "ring", "square", "triangle")


def draw(shape: str, random: np.random.Generator) -> Image.Image:
    """Draws one picture: a bright shape on a dark, noisy background."""
    ground = random.integers(0, 70, 3) + random.integers(0, 25, (SIZE, SIZE, 3))
    picture = Image.fromarray(ground.astype(np.uint8))
    pen, color = ImageDraw.Draw(picture), tuple(random.integers(110, 256, 3).tolist())
    r = int(random.integers(9, 13))
    x, y = random.integers(r + 1, SIZE - r - 1, 2).tolist()
    box, third = (x - r, y - r, x + r, y + r), r // 3
    if shape == "circle":
        pen.ellipse(box, fill=color)
    elif shape == "ring":
        pen.ellipse(box, outline=color, width=4)
    elif shape == "square":
        pen.rectangle(box, fill=color)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=color)
    else:
        pen.rectangle((x - r, y - third, x + r, y + third), fill=color)
        pen.rectangle((x - third, y - r, x + third, y + r), fill=color)
    return picture


def main(folder: str, count: str = "500") -> None:
    """Writes the pictures, as many of each class; the same ones every time."""
    random = np.random.default_rng(SEED)
    each = int(count) // len(CLASSES)
    for shape in CLASSES:
        for i in range(each):
            path = pathlib.Path(folder, "train" if i < each * 4 // 5 else "test", shape, f"{i:03d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(shape, random).save(path)
    print(f"{each * len(CLASSES)} pictures of {len(CLASSES)} classes are in {folder}")


if __name__ == "__main__":
    run(main)
