#!/usr/bin/env python3
"""torchvision's `affine` of a PIL image, by its matrix: the constant of `stages/src/classifier/augmentation.rs`.

    VENV/bin/pip install pillow && VENV/bin/python tests/bench/images/affine.py
"""
import math

from PIL import Image

WIDTH, HEIGHT = 8, 6


def inverse(angle, translate, scale):
    """From output to input, around the centre, as torchvision's `_get_inverse_affine_matrix` without shear."""
    cx, cy, rotation = WIDTH * 0.5, HEIGHT * 0.5, math.radians(angle)
    cosine, sine = math.cos(rotation) / scale, math.sin(rotation) / scale
    x, y = -cx - translate[0], -cy - translate[1]
    return [cosine, sine, cosine * x + sine * y + cx, -sine, cosine, cosine * y - sine * x + cy]


image = Image.frombytes("L", (WIDTH, HEIGHT), bytes(place * 5 + 3 for place in range(WIDTH * HEIGHT)))
matrix = inverse(20, (1, -1), 1.1)
moved = image.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=0)
print(list(moved.tobytes()))
