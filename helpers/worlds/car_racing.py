"""CarRacing-v3 with the same bytes and faster frames, registered as "FastCarRacing-v3".

Gymnasium's CarRacing spends 99% of a step drawing: it draws 1000×800 pixels and shrinks them to
96×96. Every frame it turns some 700 polygons into pixel coordinates in Python, to find that about
25 of them can be seen. Here the same picture is drawn with less work, and to the same byte:

* numpy finds the polygons that are in the picture, with the arithmetic of pygame's Vector2. They
  are drawn in the same order by the same gfxdraw calls. (The drawing must not be clipped to fewer
  pixels: gfxdraw would shade the edges differently.)
* A field that covers the whole picture is a rectangle of pygame.draw's. (``Surface.fill`` takes as
  long, but writes past the processor's cache, and then all that reads the picture waits for
  memory.)
* pygame shrinks first the width, then the height. Each row's width is shrunk alone, so turning the
  picture upside down can wait until it is narrow.
* The black bar hides an eighth of the rows: there no world is drawn. The bar is drawn and shrunk
  by itself, the right way up.
* Surfaces are made once, and the font is opened once: fresh memory is slow memory.

What is left is gfxdraw's filling and shading and the shrinking, all in C, and Gymnasium's own
Python: car, wheels and bar. `make bench` shows how fast it is.
"""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
from gymnasium.envs.box2d import car_racing as stock
from pygame import gfxdraw
from pygame.surfarray import pixels2d

__all__ = ["HALF_ROAD", "FastCarRacing", "PhysicsOnly", "off_centre"]

W, H = stock.WINDOW_W, stock.WINDOW_H
BAR = H // 8  # rows that the bar hides: the last ones of a picture, the first ones before the flip
HALF_ROAD = stock.TRACK_WIDTH  # from the road's middle to its edge: 6.67 units
FIELD, GRASS = stock.PLAYFIELD, stock.GRASS_DIM
BAR_OMEGA, BAR_SPEED = 390.0, 195.0  # rad/s, units/s: beyond 400 and 200 indicators leave the bar
SIZES = {
    "state_pixels": (stock.STATE_W, stock.STATE_H),
    "rgb_array": (stock.VIDEO_W, stock.VIDEO_H),
}


class FastCarRacing(stock.CarRacing):
    """CarRacing, drawn faster. Takes what ``gymnasium.envs.box2d.car_racing.CarRacing`` takes.

    Observations (96, 96, 3) uint8, rewards, ends, info and ``rgb_array`` renders (400, 600, 3)
    uint8 are stock's, byte for byte; ``human`` is stock's window, with the road drawn as here.
    """

    surf: Any  # a pygame.Surface; stock begins with None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._canvas = pygame.Surface((W, H))
        self._narrow = {mode: pygame.Surface((w, H)) for mode, (w, _) in SIZES.items()}
        self._upside_down = {mode: pygame.Surface((w, H - BAR)) for mode, (w, _) in SIZES.items()}
        self._font: Any = None
        self._mapped: list[Any] | None = None  # the road_poly that the arrays below were made from
        self._quads = np.empty((0, 4, 2))
        self._centres = self._radii = np.empty(0)
        self._grasses = 0

    def _render(self, mode: str) -> Any:
        """A frame as stock returns it. Modes and cases without a short cut are left to stock."""
        if mode not in SIZES or self.car is None or self._indicator_leaves_bar():
            return super()._render(mode)
        # The camera, line for line as in stock's _render.
        angle = -self.car.hull.angle
        zoom = 0.1 * stock.SCALE * max(1 - self.t, 0) + stock.ZOOM * stock.SCALE * min(self.t, 1)
        scroll_x = -(self.car.hull.position[0]) * zoom
        scroll_y = -(self.car.hull.position[1]) * zoom
        trans = pygame.math.Vector2((scroll_x, scroll_y)).rotate_rad(angle)
        shift = (W / 2 + trans[0], H / 4 + trans[1])

        self.surf = self._canvas
        self._render_road(zoom, shift, angle)
        self.car.draw(self.surf, zoom, shift, angle, mode != "state_pixels")

        # Shrink the width of the world and turn it over; then the bar, on the same canvas.
        narrow = self._narrow[mode]
        width = narrow.get_width()
        world = self._upside_down[mode]
        bar = narrow.subsurface((0, H - BAR, width, BAR))
        smoothscale = pygame.transform.smoothscale
        smoothscale(self._canvas.subsurface((0, BAR, W, H - BAR)), world.get_size(), world)
        pixels2d(narrow)[:, : H - BAR] = pixels2d(world)[:, ::-1]
        self._render_indicators(W, H)
        self._render_score()
        smoothscale(self._canvas.subsurface((0, H - BAR, W, BAR)), bar.get_size(), bar)
        return self._create_image_array(narrow, SIZES[mode])

    def _create_image_array(self, screen: pygame.Surface, size: tuple[int, int]) -> np.ndarray:
        w, h = size
        rgb = pygame.image.tobytes(pygame.transform.smoothscale(screen, size), "RGB")
        return np.frombuffer(bytearray(rgb), np.uint8).reshape(h, w, 3)

    def _indicator_leaves_bar(self) -> bool:
        assert self.car is not None
        fast_wheel = any(abs(wheel.omega) > BAR_OMEGA for wheel in self.car.wheels)
        return fast_wheel or self.car.hull.linearVelocity.length > BAR_SPEED

    def _render_score(self) -> None:
        """Writes the score into the bar. Opening the font takes longer than writing with it."""
        label = f"{self.reward:04.0f}", True, (255, 255, 255), (0, 0, 0)
        try:
            text = self._font.render(*label)
        except (AttributeError, pygame.error):  # no font yet, or pygame.quit() has closed it
            pygame.font.init()
            self._font = pygame.font.Font(pygame.font.get_default_font(), 42)
            text = self._font.render(*label)
        self.surf.blit(text, text.get_rect(center=(60, H - H * 2.5 / 40.0)))

    def _render_road(self, zoom: float, translation: Sequence[float], angle: float) -> None:
        """Draws field, grass and road on ``self.surf``, but for the rows that the bar hides."""
        if self._mapped is not self.road_poly:
            self._map_track()
        cos, sin = pygame.math.Vector2(1, 0).rotate_rad(angle)
        shift_x, shift_y = translation

        # The middle of the picture, in world coordinates: is it field out to the corners?
        u, v = (W / 2 - shift_x) / zoom, ((H + BAR) / 2 - shift_y) / zoom
        x, y = cos * u + sin * v, cos * v - sin * u
        corner = (math.hypot(W, H - BAR) / 2 + 2) / zoom
        if max(abs(x), abs(y)) + corner < FIELD:
            corners = [(0, BAR), (W, BAR), (W, H), (0, H)]
            pygame.draw.polygon(self.surf, [int(c) for c in self.bg_color], corners)
        else:
            self.surf.fill((0, 0, 0))
            field = [(FIELD, FIELD), (FIELD, -FIELD), (-FIELD, -FIELD), (-FIELD, FIELD)]
            self._draw_colored_polygon(
                self.surf, field, self.bg_color, zoom, translation, angle, clip=False
            )

        # What may be in the picture, by its distance; then, by its corners' pixels, what is.
        off_x, off_y = self._centres[0] - x, self._centres[1] - y
        near = np.flatnonzero(off_x**2 + off_y**2 < (corner + self._radii) ** 2)
        x, y = self._quads[near].transpose(2, 0, 1)
        pixels = np.empty((len(near), 4, 2), dtype=int)  # int truncates, as gfxdraw does
        pixels[..., 0] = (cos * x - sin * y) * zoom + shift_x
        pixels[..., 1] = (sin * x + cos * y) * zoom + shift_y
        seen = (pixels.max(axis=1) >= (-1, BAR - 1)) & (pixels.min(axis=1) <= (W, H))
        seen = seen.all(axis=1)
        grass_color = [int(c) for c in self.grass_color]
        for i, points in zip(near[seen].tolist(), pixels[seen].tolist(), strict=True):
            color = grass_color
            if i >= self._grasses:  # a tile's color changes when the car touches it
                color = [int(c) for c in self.road_poly[i - self._grasses][1]]
            gfxdraw.aapolygon(self.surf, points, color)
            gfxdraw.filled_polygon(self.surf, points, color)

    def _map_track(self) -> None:
        """Lays the polygons of grass and road out as arrays, once for each track."""
        grass = [
            [(x + GRASS, y), (x, y), (x, y + GRASS), (x + GRASS, y + GRASS)]
            for x in GRASS * np.arange(-20, 20, 2)
            for y in GRASS * np.arange(-20, 20, 2)
        ]
        self._quads = np.array(grass + [poly for poly, _ in self.road_poly], dtype=np.float64)
        centres = self._quads.mean(axis=1)
        self._radii = np.linalg.norm(self._quads - centres[:, None], axis=2).max(axis=1)
        self._centres = centres.T.copy()
        self._grasses = len(grass)
        self._mapped = self.road_poly


class PhysicsOnly(stock.CarRacing):
    """CarRacing that draws nothing: every observation is black, (96, 96, 3) uint8.

    Rewards and ends are those of CarRacing, at many times its speed: for teachers that read the
    track. Registered as "PhysicsOnly-v3".
    """

    def _render(self, mode: str) -> np.ndarray:
        return np.zeros((96, 96, 3), dtype=np.uint8)


def off_centre(env: gym.Env) -> float:
    """How far the car is from the road's middle, in half road widths: 0 middle, 1 the edge.

    ``env`` is a CarRacing, wrapped or not, that was reset.
    """
    car, track = env.unwrapped.car, env.unwrapped.track  # type: ignore[attr-defined]
    end = np.array(track)[:, 2:4]
    start = np.roll(end, 1, axis=0)
    piece, to_car = end - start, np.array(car.hull.position) - start
    share = np.clip((to_car * piece).sum(axis=1) / (piece * piece).sum(axis=1), 0, 1)
    return float(np.linalg.norm(to_car - share[:, None] * piece, axis=1).min() / HALF_ROAD)
