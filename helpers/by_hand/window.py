"""Driving by hand in a pygame window: keys to action, and the window.

Taught in 03-collect-car-racing; ``helpers.by_hand.cockpit`` does the same in a notebook cell. The
laps are recorded and saved by ``helpers.by_hand.laps``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pygame

from helpers.by_hand.laps import Laps, LapSession, list_laps, make_env
from helpers.worlds.drivers import BRAKE_KEY, GAS_KEY, STEER_KEY

__all__ = ["drive_window", "get_keyboard_action", "has_display", "keyboard_action"]

STEPS_PER_SECOND = 25  # half of real time: the simulation makes 50 steps a second
Keys = Callable[[], np.ndarray]  # the action of the keys that are held, as `keyboard_action`'s


def keyboard_action(left: bool, right: bool, up: bool, down: bool) -> np.ndarray:
    """The action of the arrow keys that are held: steering, gas, brake; float32, shape (3,)."""
    steering = STEER_KEY * (int(right) - int(left))
    return np.array([steering, GAS_KEY * up, BRAKE_KEY * down], dtype=np.float32)


def has_display() -> bool:
    """Whether a window can open here: not on a server without a screen."""
    if os.environ.get("SDL_VIDEODRIVER") in ("dummy", "offscreen"):
        return False
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) or sys.platform in ("darwin", "win32")


def get_keyboard_action() -> np.ndarray:
    """`keyboard_action` of the keys that are held in the pygame window."""
    keys = pygame.key.get_pressed()
    arrows = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
    return keyboard_action(*(keys[key] for key in arrows))


def drive_window(
    get_action: Keys = get_keyboard_action,
    *,
    env: gym.Env | None = None,
    folder: str | Path | None = None,
    laps: int = 3,
    patience: float = 60.0,
) -> Laps:
    """Drive in a pygame window and list the laps of ``folder``; `LapSession` has the arguments.

    Arrow keys drive, R restarts the lap, Escape, closing the window or ``patience`` seconds without
    a key end it. Without a display it says so and returns.

    Raises as `LapSession`, before the window opens, and OSError at the end where a lap could not be
    saved until then.
    """
    if not has_display():
        print("There is no display for a window here: nobody drove.")
        return list_laps(folder)
    session = LapSession(env or make_env(), folder, laps=laps)
    try:
        pygame.display.init()
        screen = pygame.display.set_mode((600, 484), pygame.SCALED | pygame.RESIZABLE)
        pygame.display.set_caption("Drive with the arrow keys")
        _drive(screen, session, get_action, patience)
    except pygame.error as error:
        print(f"A window can't open here ({error}): nobody drove.")
    finally:
        pygame.display.quit()
        session.save_again()
        if env is None:
            session.env.close()
    return list_laps(folder)


def _drive(screen: pygame.Surface, session: LapSession, get_action: Keys, patience: float) -> None:
    clock, last_key = pygame.time.Clock(), pygame.time.get_ticks()
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 15)
    while not session.done:
        waited = pygame.time.get_ticks() - last_key  # ms
        if not session.unsaved and waited > 1000 * patience:
            print(f"No key was pressed for {patience:g} seconds: the window is closed.")
            return
        for event in pygame.event.get():
            key = event.key if event.type == pygame.KEYDOWN else None
            if event.type == pygame.QUIT or key == pygame.K_ESCAPE:
                return
            if key == pygame.K_r:
                session.restart()
        action = get_action()
        if np.any(action):
            last_key = pygame.time.get_ticks()
        session.step(action)
        _draw(screen, font, session)
        clock.tick(STEPS_PER_SECOND)


def _draw(screen: pygame.Surface, font: pygame.font.Font, session: LapSession) -> None:
    now, picture = session.status, np.asarray(session.env.render())
    start = " Press an arrow key to drive." if now["waiting"] else ""
    hint = "Arrow keys: steer, gas (up), brake (down) · R restarts the lap · Esc ends"
    screen.fill((24, 24, 28))
    screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
    lines = {now["line"]: "white", (now["message"] + start).strip(): "#ffc85a", hint: "#aaaab4"}
    for row, (text, colour) in enumerate(lines.items()):
        screen.blit(font.render(text, True, colour), (12, 408 + 25 * row))
    pygame.display.flip()
