"""Drawing one scene: backgrounds, digits over them, light, and the exact labels of what is seen.

Pictures must be the same bit for bit on every machine. So random numbers come from the raw stream
of PCG64 alone (NumPy promises to keep it, and not the distributions built on it), and arithmetic is
elementwise add, subtract, multiply, divide and floor, which IEEE 754 rounds in one way; no sine,
exponential, rounded sum or image library touches a pixel.

Shapes: H = W = edge of the picture; N digits that are seen.
"""

from dataclasses import dataclass

import numpy as np

from .sources import STUFF, TILE, Sources

MIN_VISIBLE = 0.85  # share of a digit's pixels that later digits must leave (ours)
INK = 0.46  # ink at which a digit's edge lies, of 1 (ours)
MIN_CONTRAST = 70  # between a digit's luminance and its background's, of 255 (ours)
LABEL_NONE = 0  # semantic label of ambiguous pixels, as in ADE20K


class Draws:
    """Random numbers of one picture, from the raw 64-bit stream of PCG64.

    Args:
        key (tuple[int, ...]): seed, then what names the picture. Pictures do not share a stream,
            so picture i is the same however many are made.
    """

    def __init__(self, *key: int) -> None:
        seed, *spawn_key = key
        sequence = np.random.SeedSequence(entropy=seed, spawn_key=tuple(spawn_key))
        self._bits = np.random.PCG64(sequence)
        self._pool: list[float] = []

    def unit(self) -> float:
        """A float in [0, 1), a multiple of 2**-53."""
        if not self._pool:
            raw = self._bits.random_raw(64)
            self._pool = ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).tolist()
        return self._pool.pop()

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int((high - low + 1) * self.unit())

    def choose(self, items):
        """One of ``items``."""
        return items[self.integer(0, len(items) - 1)]

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 in [-1, 1], triangular: the sum of two uniform bytes, centred."""
        count = 2 * int(np.prod(shape))
        raw = self._bits.random_raw((count + 7) // 8).astype('<u8').view(np.uint8)[:count]
        pairs = raw.reshape(2, *shape).astype(np.float32)
        return (pairs[0] + pairs[1] - np.float32(255)) / np.float32(255)


@dataclass(frozen=True)
class Scene:
    """One picture and the truth about it.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8, RGB.
        digits (tuple[int, ...]): N digits, 0..9, bottom to top.
        masks (np.ndarray): (N, H, W) bool, the visible pixels of each digit; disjoint.
        visible (tuple[float, ...]): N shares of the digit's own pixels that are seen.
        samples (tuple[int, ...]): N ids of scikit-learn's samples.
        semantic (np.ndarray): (H, W) uint8: 0 none (pixels that a digit covers in part, but by less
            than half), 1..10 the digits 0..9, 11.. the stuff classes in order.
        areas_read (tuple): Every background area read, as (stuff class id, x0, y0, x1, y1) in
            pixels of the source photograph; the fills of the digits included.
        samples_read (tuple[int, ...]): Every sample read, those that found no place included.
    """

    image: np.ndarray
    digits: tuple[int, ...]
    masks: np.ndarray
    visible: tuple[float, ...]
    samples: tuple[int, ...]
    semantic: np.ndarray
    areas_read: tuple[tuple[int, int, int, int, int], ...]
    samples_read: tuple[int, ...]


def draw_scene(
    sources: Sources,
    split: str,
    draws: Draws,
    *,
    size: int,
    digits: tuple[int, int],
    backgrounds: tuple[int, int],
    height: tuple[float, float],
    first_digit: int | None = None,
) -> Scene:
    """Draw one scene.

    Args:
        sources (Sources): What to draw from.
        split (str): 'train' or 'test': which samples and areas may be used.
        draws (Draws): The picture's random numbers.
        size (int): Edge of the picture in pixels.
        digits (tuple[int, int]): Least and largest number of digits tried; one that finds no place
            where at least 85 % of every digit stays visible is left out.
        backgrounds (tuple[int, int]): Least and largest number of background areas.
        height (tuple[float, float]): Smallest and largest height of a digit's 8x8 tile, as a share
            of ``size``.
        first_digit (int, optional): The digit drawn first; random by default.

    Returns:
        Scene: The picture and its labels.
    """
    used: list[tuple[int, int, int, int, int]] = []
    image, stuff = _background(sources, split, draws, size, draws.integer(*backgrounds), used)
    kept: list[tuple[int, int, np.ndarray]] = []  # digit, sample, own mask
    visible: list[np.ndarray] = []
    partly = np.zeros((size, size), bool)
    tried = []
    for k in range(draws.integer(*digits)):
        digit = first_digit if k == 0 and first_digit is not None else draws.integer(0, 9)
        sample = int(draws.choose(sources.samples[split][digit]))
        tried.append(sample)
        placed = _place(sources.glyph(sample), draws, size, height, kept, visible)
        if placed is None:
            continue
        cover, mask = placed
        _paint(image, cover, sources, split, draws, used)
        visible = [v & ~mask for v in visible] + [mask]
        partly = (partly & ~mask) | ((cover > 0) & ~mask)
        kept.append((digit, sample, mask))

    semantic = stuff.copy()
    semantic[partly] = LABEL_NONE
    for (digit, _, _), seen in zip(kept, visible, strict=True):
        semantic[seen] = digit + 1
    return Scene(
        image=_light(image, draws),
        digits=tuple(digit for digit, _, _ in kept),
        masks=np.stack(visible),
        visible=tuple(
            int(seen.sum()) / int(own.sum())
            for (_, _, own), seen in zip(kept, visible, strict=True)
        ),
        samples=tuple(sample for _, sample, _ in kept),
        semantic=semantic,
        areas_read=tuple(used),
        samples_read=tuple(tried),
    )


def _background(sources, split, draws, size, count, used) -> tuple[np.ndarray, np.ndarray]:
    """``count`` areas side by side, each pixel taken by the nearest of ``count`` random points."""
    ids = []
    while len(ids) < count:
        stuff_id = draws.integer(0, len(STUFF) - 1)
        if stuff_id not in ids:
            ids.append(stuff_id)
    # Points that are far apart leave no slivers; the few draws that never come apart are kept.
    points = [(draws.uniform(0, size), draws.uniform(0, size)) for _ in ids]
    for _ in range(20):
        if all(
            (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 > (0.45 * size) ** 2
            for i, a in enumerate(points)
            for b in points[:i]
        ):
            break
        points = [(draws.uniform(0, size), draws.uniform(0, size)) for _ in ids]
    axis = np.arange(size, dtype=np.float32)
    nearest = np.full((size, size), np.inf, np.float32)
    image = np.zeros((size, size, 3), np.float32)
    labels = np.zeros((size, size), np.uint8)
    for stuff_id, (px, py) in zip(ids, points, strict=True):
        crop = _crop(sources, split, draws, stuff_id, size, used)
        contrast = np.float32(draws.uniform(0.5, 0.95))
        mean = _mean(crop)
        crop = mean + (crop - mean) * contrast
        if count == 1:
            return crop, np.full((size, size), 11 + stuff_id, np.uint8)
        dx, dy = axis - np.float32(px), axis - np.float32(py)
        distance = dx[None, :] * dx[None, :] + dy[:, None] * dy[:, None]
        here = distance < nearest
        np.minimum(distance, nearest, out=nearest)
        np.copyto(image, crop, where=here[..., None])
        labels[here] = 11 + stuff_id
    return image, labels


def _crop(sources, split, draws, stuff_id, size, used) -> np.ndarray:
    """A random square of a photograph's area, resampled to (size, size, 3) float32."""
    name = STUFF[stuff_id].name
    x0, y0, x1, y1 = sources.area(split, name)
    largest = (min(x1 - x0, y1 - y0) - 4) / size
    step = min(draws.uniform(0.7, 2.2), largest)  # source pixels a picture pixel
    level = 1 if step > 1.4 else 0  # so that sampling skips little
    pixels = sources.levels(split, name)[level]
    step /= 2**level
    extent = int(step * (size - 1)) + 2
    top = draws.integer(0, pixels.shape[0] - extent)
    left = draws.integer(0, pixels.shape[1] - extent)
    used.append(
        (
            stuff_id,
            x0 + (left << level),
            y0 + (top << level),
            x0 + ((left + extent) << level),
            y0 + ((top + extent) << level),
        )
    )
    block = pixels[top : top + extent, left : left + extent]
    at = np.arange(size, dtype=np.float32) * np.float32(step)
    low = np.minimum(np.floor(at).astype(np.int64), extent - 2)
    part = at - low.astype(np.float32)
    rows = _between(block, low, part[:, None, None], axis=0)
    crop = _between(rows, low, part[None, :, None], axis=1)
    return crop[:, ::-1] if draws.unit() < 0.5 else crop


def _between(pixels: np.ndarray, low: np.ndarray, part: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along ``axis`` at ``low + part``."""
    out = pixels.take(low + 1, axis=axis)
    before = pixels.take(low, axis=axis)
    out -= before
    out *= part
    out += before
    return out


def _place(glyph, draws, size, height, kept, visible):
    """Turn, shear, scale and place a digit: its cover (H, W) float32 in 0..1 and its mask.

    None where ten tries found no place that leaves enough of every digit to see.
    """
    cell = draws.uniform(*height) * size / TILE  # pixels a cell
    half_tan = draws.uniform(-0.16, 0.16)  # tan of half the angle: within 18 degrees
    cos = (1 - half_tan * half_tan) / (1 + half_tan * half_tan)
    sin = 2 * half_tan / (1 + half_tan * half_tan)
    shear = draws.uniform(-0.25, 0.25)
    wide = draws.uniform(0.85, 1.25)
    # picture = R(angle) @ [[wide, shear], [0, 1]] @ cells * cell, and its inverse, written out.
    inv = (
        ((cos + sin * shear) / (wide * cell), (sin - cos * shear) / (wide * cell)),
        (-sin / cell, cos / cell),
    )
    reach_x = 4 * cell * (abs(wide * cos) + abs(shear * cos - sin))
    reach_y = 4 * cell * (abs(wide * sin) + abs(shear * sin + cos))
    # Ink seldom fills its tile's corners, so the tile may stick out of the picture a little.
    low_x, high_x = sorted((0.8 * reach_x, size - 0.8 * reach_x))
    low_y, high_y = sorted((0.8 * reach_y, size - 0.8 * reach_y))
    # One cell of ink gradient spans this much ink a pixel: an edge one to one and a half pixels.
    sharpness = np.float32(0.75 * cell)
    for _ in range(10):
        cx, cy = draws.uniform(low_x, high_x), draws.uniform(low_y, high_y)
        x0, x1 = max(0, int(cx - reach_x) - 1), min(size, int(cx + reach_x) + 2)
        y0, y1 = max(0, int(cy - reach_y) - 1), min(size, int(cy + reach_y) + 2)
        dx = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - cx))[None, :]
        dy = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - cy))[:, None]
        u = np.float32(8 * inv[0][0]) * dx + np.float32(8 * inv[0][1]) * dy + np.float32(48)
        v = np.float32(8 * inv[1][0]) * dx + np.float32(8 * inv[1][1]) * dy + np.float32(48)
        ink = _bilinear(glyph, u, v)
        cover = np.zeros((size, size), np.float32)
        cover[y0:y1, x0:x1] = np.clip(
            (ink - np.float32(INK)) * sharpness + np.float32(0.5), np.float32(0), np.float32(1)
        )
        mask = cover >= 0.5
        area = int(mask.sum())
        seen_enough = all(
            int((seen & ~mask).sum()) >= MIN_VISIBLE * int(own.sum())
            for (_, _, own), seen in zip(kept, visible, strict=True)
        )
        if area and seen_enough:
            return cover, mask
    return None


def _bilinear(field: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    last = field.shape[0] - 1
    u = np.clip(u, np.float32(0), np.float32(last) - np.float32(0.001))
    v = np.clip(v, np.float32(0), np.float32(last) - np.float32(0.001))
    column, row = u.astype(np.int64), v.astype(np.int64)
    fu, fv = u - column.astype(np.float32), v - row.astype(np.float32)
    index = row * (last + 1) + column
    flat = field.ravel()
    a, b = flat[index], flat[index + 1]
    c, d = flat[index + last + 1], flat[index + last + 2]
    upper, lower = a + (b - a) * fu, c + (d - c) * fu
    return upper + (lower - upper) * fv


def _paint(image, cover, sources, split, draws, used) -> None:
    """Blend a digit into ``image``: a shadow, then a colour with some texture of a photograph."""
    size = image.shape[0]
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    below = _mean(image[y0:y1, x0:x1])
    colour = _colour(draws, below)
    y1, x1 = min(size, y1 + 4), min(size, x1 + 4)  # room for the shadow
    alpha = cover[y0:y1, x0:x1, None]
    patch = image[y0:y1, x0:x1]

    shadow = np.float32(draws.uniform(0.15, 0.5) if draws.unit() < 0.5 else 0)
    dx, dy = draws.integer(1, 3), draws.integer(1, 3)
    if shadow:
        shifted = np.zeros_like(alpha)
        shifted[dy:, dx:] = alpha[:-dy, :-dx]
        patch = patch * (1 - shadow * shifted)

    fill = colour
    if draws.unit() < 0.6:
        texture = _crop(
            sources, split, draws, draws.integer(0, len(STUFF) - 1), max(y1 - y0, x1 - x0, 16), used
        )[: y1 - y0, : x1 - x0]
        fill = colour + (texture - _mean(texture)) * np.float32(draws.uniform(0.1, 0.35))
    opacity = alpha * np.float32(draws.uniform(0.85, 1))
    image[y0:y1, x0:x1] = patch + (fill - patch) * opacity


def _colour(draws: Draws, below: np.ndarray) -> np.ndarray:
    """A colour whose luminance is far enough from that of what lies below."""
    ground = _luminance(below)
    for _ in range(30):
        colour = np.array([draws.uniform(0, 255) for _ in range(3)], np.float32)
        if abs(_luminance(colour) - ground) >= MIN_CONTRAST:
            return colour
    return np.full(3, 235 if ground < 128 else 20, np.float32)


def _luminance(colour: np.ndarray) -> float:
    red, green, blue = colour.tolist()
    return (299 * red + 587 * green + 114 * blue) / 1000


def _mean(pixels: np.ndarray) -> np.ndarray:
    """The mean colour of (h, w, 3), over whole numbers: their sum is exact in any order."""
    whole = np.trunc(pixels).reshape(-1, 3).astype(np.float64)
    return (np.ones(len(whole)) @ whole / len(whole)).astype(np.float32)


def _light(image: np.ndarray, draws: Draws) -> np.ndarray:
    """Uneven light, now and then a soft lens, sensor noise; then (H, W, 3) uint8."""
    size = image.shape[0]
    ramp = np.arange(size, dtype=np.float32) / np.float32(size) - np.float32(0.5)
    slope_x, slope_y = (np.float32(draws.uniform(-0.35, 0.35)) for _ in range(2))
    gain = ramp[None, :] * slope_x + ramp[:, None] * slope_y + np.float32(draws.uniform(0.85, 1.15))
    image = image * gain[..., None]
    if draws.unit() < 0.35:
        image = _soften(image)
    noise = draws.noise(image.shape)
    noise *= np.float32(draws.uniform(2, 14))
    image += noise
    image += np.float32(0.5)  # rounds to the nearest, since the cast cuts off
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _soften(image: np.ndarray) -> np.ndarray:
    """The binomial 3x3 blur."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode='edge')
        if axis == 0:
            before, at, after = padded[:-2], padded[1:-1], padded[2:]
        else:
            before, at, after = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
        image = (before + at * 2 + after) * np.float32(0.25)
    return image
