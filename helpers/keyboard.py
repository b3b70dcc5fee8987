"""Driving by hand in a pygame window: keys to action, and the window.

Taught in 03-collect-car-racing; ``helpers.browser`` does the same in a notebook cell. The laps are
recorded and saved by ``helpers.laps``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from helpers.laps import Laps, LapSession, laps_folder, list_laps, make_env

__all__ = ["drive_window", "get_keyboard_action", "has_display", "keyboard_action"]

STEER, GAS, BRAKE = 0.5, 0.2, 0.1  # what a key stands for
STEPS_PER_SECOND = 25  # half of real time: the simulation makes 50 steps a second


def keyboard_action(left: bool, right: bool, up: bool, down: bool) -> np.ndarray:
    """The action of the arrow keys that are held: steering, gas, brake; float32, shape (3,)."""
    return np.array([STEER * (int(right) - int(left)), GAS * up, BRAKE * down], dtype=np.float32)


def has_display() -> bool:
    """Whether a window can open here: not on a server without a screen."""
    if os.environ.get("SDL_VIDEODRIVER") in ("dummy", "offscreen"):
        return False
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) or sys.platform in ("darwin", "win32")


def get_keyboard_action() -> np.ndarray:
    """`keyboard_action` of the keys that are held in the pygame window."""
    import pygame

    keys = pygame.key.get_pressed()
    arrows = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
    return keyboard_action(*(keys[key] for key in arrows))


def drive_window(
    get_action: Callable[[], np.ndarray] = get_keyboard_action,
    *,
    env: gym.Env | None = None,
    folder: str | Path | None = None,
    laps: int = 3,
    seeds: Iterable[int] | None = None,
    policy: Callable[[np.ndarray], Any] | None = None,
    steps_per_second: float = STEPS_PER_SECOND,
    patience: float = 60.0,
) -> Laps:
    """Drive in a pygame window and list the laps of ``folder``; `LapSession` has the arguments.

    Arrow keys drive, R restarts the lap, Escape or closing the window ends. Without a policy it
    ends as well after ``patience`` seconds without a key. Without a display it says so and returns.
    """
    import pygame

    where = laps_folder(folder, "human" if policy is None else "takeover")
    if not has_display():
        print("There is no display for a window here: nobody drove.")
        return list_laps(where)
    made = env is None
    env = env or make_env()
    try:
        pygame.display.init()
        screen = pygame.display.set_mode((600, 484), pygame.SCALED | pygame.RESIZABLE)
        pygame.display.set_caption("Drive with the arrow keys")
        session = LapSession(env, where, laps=laps, seeds=seeds, policy=policy)
        _drive(screen, session, get_action, steps_per_second, patience)
    except pygame.error as error:
        print(f"A window can't open here ({error}): nobody drove.")
    finally:
        pygame.display.quit()
        if made:
            env.close()
    return list_laps(where)


def _drive(
    screen: Any,
    session: LapSession,
    get_action: Callable[[], np.ndarray],
    steps_per_second: float,
    patience: float,
) -> None:
    import pygame

    clock, last_key = pygame.time.Clock(), pygame.time.get_ticks()
    while not session.done:
        if session.policy is None and pygame.time.get_ticks() - last_key > 1000 * patience:
            print(f"No key was pressed for {patience:g} seconds: the window is closed.")
            return
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                return
            if event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE:
                return
            if event.type == pygame.KEYDOWN and event.key == pygame.K_r:
                session.restart()
        action = get_action()
        if np.any(action):
            last_key = pygame.time.get_ticks()
        session.step(action)
        _draw(screen, session)
        clock.tick(steps_per_second)


def _draw(screen: Any, session: LapSession) -> None:
    import pygame

    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 15)
    now = session.status
    line = "Lap {lap} of {laps} · return {return} · {tiles} of {track} tiles · speed {speed}"
    driver = "" if session.policy is None else " · you" if now["human"] else " · the policy"
    start = " Press an arrow key to start." if now["waiting"] else ""
    hint = "Arrow keys: steer, gas (up), brake (down) · R restarts the lap · Esc ends"
    picture: Any = session.env.render()
    screen.fill((24, 24, 28))
    screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
    for row, (text, colour) in enumerate(
        (
            (line.format(**now) + driver, (255, 255, 255)),
            ((now["message"] + start).strip(), (255, 200, 90)),
            (hint, (170, 170, 180)),
        )
    ):
        screen.blit(font.render(text, True, colour), (12, 408 + 25 * row))
    pygame.display.flip()
