"""The person of a drawn portrait: layers of shapes in colours, which carry their exact matte with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modnet.workloads.matting.data.synthetic_background import Picture, paint_colour, smooth_noise
from modnet.workloads.matting.data.synthetic_layers import Layers, Points, arc, ellipse, quadratic, smooth

SKIN = ((255, 219, 192), (241, 194, 160), (224, 172, 125), (198, 134, 92), (141, 85, 56), (92, 56, 40))  # RGB
BROWNS = ((24, 20, 20), (48, 32, 24), (84, 56, 36), (120, 78, 44), (176, 132, 78), (214, 186, 128))
HAIR = (*BROWNS, (150, 60, 32), (168, 166, 164))  # and red, and grey
LIPS = (170, 70, 75)


@dataclass(frozen=True)
class _Head:
    """Where the head is: units of half its height, turned by a tilt around its centre."""

    centre: tuple[float, float]
    unit: float
    tilt: float

    def place(self, points: Points) -> Points:
        """Head coordinates (..., 2) as pixels."""
        sine, cosine = np.sin(self.tilt), np.cos(self.tilt)
        turned = points @ np.array([[cosine, sine], [-sine, cosine]])
        placed: Points = turned * self.unit + self.centre
        return placed

    def place_upright(self, points: Points) -> Points:
        """Body coordinates (..., 2), as head coordinates but not tilted, as pixels."""
        return points * self.unit + self.centre


def draw_person(layers: Layers, rng: np.random.Generator) -> None:
    """Paints one person, from the hair behind the head to the strands in front."""
    height, width = layers.alpha.shape
    unit = height * rng.uniform(0.13, 0.19)
    head = _Head(
        (width * rng.uniform(0.4, 0.6), height * rng.uniform(0.08, 0.14) + 1.25 * unit), unit, rng.normal(0.0, 0.08)
    )
    skin = np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.9, 1.05)
    hair = np.array(HAIR[rng.integers(len(HAIR))]) * rng.uniform(0.8, 1.2)
    style = _HairStyle.random(rng)
    _draw_back_hair(layers, head, hair, style, rng)
    _draw_body(layers, head, skin, rng)
    _draw_head(layers, head, skin, rng)
    _draw_face(layers, head, skin, hair, rng)
    _draw_front_hair(layers, head, hair, style, rng)


def _draw_body(layers: Layers, head: _Head, skin: Points, rng: np.random.Generator) -> None:
    height, width = layers.alpha.shape
    cloth = _cloth(rng, height, width)
    shoulder, drop = rng.uniform(1.5, 2.0), rng.uniform(1.55, 1.75)
    arms = rng.random() < 0.5
    waist = rng.uniform(0.95, 1.25) if arms else shoulder + rng.uniform(0.1, 0.4)
    if arms:
        for side in (-1.0, 1.0):
            _draw_arm(layers, head, side * (shoulder - 0.3), drop + 0.35, skin, cloth, rng)
    neck = np.array([(-0.4, 0.4), (0.4, 0.4), (0.43, 1.2), (0.8, 1.6), (0.0, 2.2), (-0.8, 1.6), (-0.43, 1.2)])
    outline = np.array(
        [(0.3, 1.2), (0.5, 1.25), (shoulder, drop), (shoulder + 0.15, drop + 0.8), (waist, 3.6), (waist, 9.0)]
    )
    torso = np.concatenate([outline, outline[::-1] * (-1.0, 1.0)])
    neckline = rng.uniform(1.55, 2.3)
    opening = np.array([(-0.42, 1.2), (0.42, 1.2), (0.3, neckline - 0.2), (0.0, neckline), (-0.3, neckline - 0.2)])
    layers.fill(head.place_upright(smooth(neck)), skin * 0.92)
    layers.fill(head.place_upright(smooth(torso)), cloth)
    layers.fill(head.place_upright(smooth(opening)), skin * 0.95, inside=True)
    layers.fill(head.place(ellipse(0.06, 0.98, 0.5, 0.38)), skin * 0.45, 0.45, inside=True)  # the shadow of the chin


def _draw_arm(
    layers: Layers, head: _Head, x: float, y: float, skin: Points, cloth: Picture, rng: np.random.Generator
) -> None:
    side = np.sign(x)
    elbow = np.array([x + side * rng.uniform(0.3, 0.9), y + rng.uniform(1.2, 1.6)])
    hand = np.array([x + side * rng.uniform(-0.6, 0.5), elbow[1] + rng.uniform(0.9, 1.4)])
    upper, lower = np.array([[(x, y), elbow]]), np.array([[elbow, hand]])
    sleeve = cloth if rng.random() < 0.6 else skin
    layers.stroke(head.place_upright(lower), sleeve, 0.42 * head.unit)
    layers.stroke(head.place_upright(upper), cloth, 0.56 * head.unit)
    layers.fill(head.place_upright(ellipse(hand[0], hand[1], 0.26, 0.3)), skin)


def _draw_head(layers: Layers, head: _Head, skin: Points, rng: np.random.Generator) -> None:
    for side in (-1.0, 1.0):
        layers.fill(head.place(ellipse(side * 0.74, 0.08, 0.11, 0.2)), skin * 0.85)
    layers.fill(head.place(_face_outline()), _rounded(layers, head, skin, rng))


def _draw_face(layers: Layers, head: _Head, skin: Points, hair: Points, rng: np.random.Generator) -> None:
    iris = np.array([rng.uniform(30, 110), rng.uniform(50, 130), rng.uniform(40, 150)])
    gaze, brow, smile = rng.uniform(-0.03, 0.03), rng.uniform(-0.06, 0.04), rng.uniform(-0.04, 0.12)
    lips = 0.5 * skin + 0.5 * np.array(LIPS)
    for side in (-1.0, 1.0):
        x = side * 0.31
        layers.fill(head.place(ellipse(side * 0.42, 0.32, 0.2, 0.14)), lips, 0.18, inside=True)  # cheek
        layers.fill(head.place(ellipse(x, 0.0, 0.19, 0.12)), skin * 0.7, 0.4, inside=True)  # eye socket
        layers.fill(head.place(ellipse(x, 0.02, 0.14, 0.07)), (240, 238, 235), inside=True)
        layers.fill(head.place(ellipse(x + gaze, 0.02, 0.068, 0.068)), iris, inside=True)
        layers.fill(head.place(ellipse(x + gaze, 0.02, 0.032, 0.032)), (12, 10, 10), inside=True)
        layers.fill(head.place(ellipse(x + gaze + 0.02, 0.0, 0.014, 0.014)), (255, 255, 255), inside=True)
        lid = arc((x - 0.16, 0.03), (x, -0.09), (x + 0.16, 0.03))
        layers.stroke(head.place(lid[None]), hair * 0.4, 0.035 * head.unit, inside=True)
        eyebrow = arc((x - side * 0.17, -0.2), (x, -0.28 + brow), (x + side * 0.2, -0.17 + brow))
        layers.stroke(head.place(eyebrow[None]), hair * 0.8, 0.07 * head.unit, 0.8, inside=True)
    nose = np.stack([arc((0.05, 0.0), (0.12, 0.2), (0.1, 0.32)), arc((-0.11, 0.34), (0.0, 0.42), (0.11, 0.34))])
    layers.stroke(head.place(nose), skin * 0.55, 0.04 * head.unit, 0.6, inside=True)
    left, right = (-0.25, 0.58 - smile), (0.25, 0.58 - smile)
    mouth = np.concatenate([arc(left, (0.0, 0.5), right), arc(right, (0.0, 0.74 + smile), left)])
    layers.fill(head.place(mouth), lips, 0.9, inside=True)
    gap = arc((-0.24, 0.58 - smile), (0.0, 0.59 + smile), (0.24, 0.58 - smile))
    layers.stroke(head.place(gap[None]), lips * 0.4, 0.025 * head.unit, 0.8, inside=True)
    if rng.random() < 0.2:
        frames = np.stack([ellipse(-0.31, 0.03, 0.23, 0.19), ellipse(0.31, 0.03, 0.23, 0.19)])
        layers.stroke(head.place(frames), hair * 0.3, 0.035 * head.unit, inside=True)
        bridge = arc((-0.09, 0.0), (0.0, -0.05), (0.09, 0.0))
        layers.stroke(head.place(bridge[None]), hair * 0.3, 0.035 * head.unit, inside=True)


@dataclass(frozen=True)
class _HairStyle:
    """Lengths in head units."""

    volume: float  # outline of the hair, as a multiple of the head's
    length: float  # how far below the middle of the face the hair behind the head reaches
    wave: float  # sideways swing of a strand
    turns: float  # how often it swings
    parting: float  # where on the forehead the hair divides, -1 to 1
    strays: int  # number of single strands that stand off

    @classmethod
    def random(cls, rng: np.random.Generator) -> _HairStyle:
        """Short, long or curly, each in many ways."""
        parting, strays = rng.uniform(-0.5, 0.5), int(rng.integers(60, 220))
        kind = str(rng.choice(["short", "long", "curly"], p=[0.35, 0.45, 0.2]))
        ranges = {
            "short": ((1.05, 1.15), (0.0, 0.3), (0.0, 0.03)),
            "long": ((1.1, 1.25), (0.9, 2.6), (0.01, 0.09), (1, 4)),
            "curly": ((1.3, 1.6), (0.3, 1.0), (0.03, 0.06), (3, 5)),
        }
        volume, length, wave, *turns = (rng.uniform(*bounds) for bounds in ranges[kind])
        return cls(volume, length, wave, turns[0] if turns else 2.0, parting, strays)


def _draw_back_hair(layers: Layers, head: _Head, hair: Points, style: _HairStyle, rng: np.random.Generator) -> None:
    """The mass behind the head, and strands that fall along and out of it."""
    width = 0.78 * style.volume
    crown = ellipse(0.0, -0.08, width, style.volume, -np.pi, 0.0)
    right = np.array([(width, 0.3 * style.length), (0.8 * width, style.length)])
    fall = np.concatenate([right, right[::-1] * (-1.0, 1.0)])
    layers.fill(head.place(smooth(np.concatenate([crown, fall]))), hair * 0.55)
    count = 400
    angle = rng.uniform(-0.52, 0.52, count) * np.pi  # from the crown to either side
    reach = style.volume * rng.uniform(0.85, 1.06, count)
    root = _points(0.76 * reach * np.sin(angle), -0.08 - reach * np.cos(angle))
    side = _points(width * np.sign(angle) * rng.uniform(0.75, 1.15, count), np.full(count, 0.3 * style.length))
    across, down = width * rng.uniform(-1.1, 1.1, count), rng.uniform(-0.3, 0.25, count) * (0.4 + style.length)
    tip = _points(np.where(np.abs(angle) > 0.6, np.abs(across) * np.sign(angle), across), style.length + down)
    _draw_strands(layers, head, _strands(root, side, tip, style, rng), hair, rng)


def _draw_front_hair(layers: Layers, head: _Head, hair: Points, style: _HairStyle, rng: np.random.Generator) -> None:
    """The cap over the skull, strands from the parting to the temples, and single strands that stand off."""
    width = 0.78 * style.volume
    crown = ellipse(0.0, -0.08, width, style.volume, -np.pi, 0.0)
    parting = (style.parting, -0.62)
    hairline = np.concatenate([arc((width, 0.15), (0.62, -0.6), parting), arc(parting, (-0.62, -0.6), (-width, 0.15))])
    layers.fill(head.place(np.concatenate([crown, hairline])), hair * 0.75)
    count = 300
    sign = rng.choice([-1.0, 1.0], count)
    root = _points(style.parting + rng.normal(0.0, 0.05, count), -rng.uniform(0.58, 1.02, count) * style.volume)
    middle = _points(sign * width * rng.uniform(0.45, 1.12, count), -rng.uniform(0.5, 1.1, count) * style.volume)
    tip = _points(sign * width * rng.uniform(0.86, 1.06, count), rng.uniform(-0.3, 0.25, count) + 0.2 * style.length)
    _draw_strands(layers, head, _strands(root, middle, tip, style, rng), hair, rng)
    angle = rng.uniform(-0.6, 0.6, style.strays) * np.pi
    outward = _points(0.78 * np.sin(angle), -np.cos(angle)) * style.volume
    bend = outward * rng.uniform(1.0, 1.18, (style.strays, 1)) + rng.normal(0.0, 0.06, outward.shape)
    end = bend + outward * rng.uniform(-0.2, 0.1, (style.strays, 1)) + rng.normal(0.0, 0.16, outward.shape)
    _draw_strands(layers, head, _strands(outward * 0.9, bend, end, style, rng), hair, rng, opacity=0.5)


def _points(x: Points, y: Points) -> Points:
    return np.stack([x, y], axis=-1)


def _strands(root: Points, middle: Points, tip: Points, style: _HairStyle, rng: np.random.Generator) -> Points:
    """Quadratic curves root, middle, tip, each (M, 2), that swing sideways towards the tip: (M, 20, 2)."""
    t = np.linspace(0.0, 1.0, 20)[:, None]
    phase = rng.uniform(0.0, 2 * np.pi, (len(root), 1, 1))
    along = tip - root
    across = np.stack([-along[:, 1], along[:, 0]], axis=-1) / (np.linalg.norm(along, axis=-1, keepdims=True) + 1e-6)
    swing = style.wave * np.sqrt(t) * np.sin(2 * np.pi * style.turns * t + phase)
    strands: Points = quadratic(root, middle, tip, steps=20) + across[:, None] * swing
    return strands


def _draw_strands(
    layers: Layers, head: _Head, curves: Points, hair: Points, rng: np.random.Generator, opacity: float = 0.8
) -> None:
    """Draws strands in three tones and widths, the widest about a pixel on a picture of 400 pixels."""
    for part, tone in zip(np.array_split(head.place(curves), 3), (0.65, 1.0, 1.35), strict=True):
        layers.stroke(part, hair * tone, rng.uniform(0.006, 0.014) * head.unit, opacity * rng.uniform(0.75, 1.0))


def _face_outline() -> Points:  # narrows towards the chin
    outline = ellipse(0.0, 0.0, 0.76, 1.0)
    outline[:, 0] *= 1.0 - 0.22 * np.clip(outline[:, 1], 0.0, 1.0) ** 2
    return outline


def _rounded(layers: Layers, head: _Head, skin: Points, rng: np.random.Generator) -> Picture:
    """Skin that darkens away from a light on one side of the head."""
    height, width = layers.alpha.shape
    x = (np.arange(width) - head.centre[0]) / head.unit - rng.uniform(-0.5, 0.5)
    y = (np.arange(height) - head.centre[1]) / head.unit + rng.uniform(0.0, 0.4)
    shade = 1.06 - rng.uniform(0.1, 0.3) * (x[None, :] ** 2 + 0.6 * y[:, None] ** 2)
    return shade[..., None].astype(np.float32) * skin.astype(np.float32)


def _cloth(rng: np.random.Generator, height: int, width: int) -> Picture:
    first, second = paint_colour(rng), paint_colour(rng)
    period = height * rng.uniform(0.03, 0.09)
    across, down = (np.sin(np.arange(length) * 2 * np.pi / period) for length in (width, height))
    x, y = across[None, :], down[:, None]
    pattern = {
        "plain": np.zeros((1, 1)),
        "stripes": (y if rng.random() < 0.5 else x) > 0.2,
        "checks": 0.5 * (x > 0) + 0.5 * (y > 0),
        "dots": x * y > 0.6,
    }[str(rng.choice(["plain", "plain", "stripes", "checks", "dots"]))]
    folds = np.float32(0.75) + np.float32(0.4) * smooth_noise(rng, height, width, 5)
    cloth: Picture = (first + pattern[..., None].astype(np.float32) * (second - first)) * folds[..., None]
    return cloth
