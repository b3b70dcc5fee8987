"""The teachers: a rule for the mountain car, a driver for the race car, and a driver on keys.

``RacingDriver`` reads the road and the car's state from the environment, never the picture. It
uses no more of the road than a student can see in the 96×96 picture: the road's middle from
``BEHIND`` tiles behind the car to ``AHEAD`` tiles (35 units) ahead; the picture shows 37.

Lengths are in the environment's units (the road is 13.3 wide), times in seconds, angles in radians.
"""

import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.envs.box2d.car_racing import TRACK_DETAIL_STEP, TRACK_WIDTH

HALF_ROAD = TRACK_WIDTH  # from the road's middle to its edge: 6.67 units
TILE = TRACK_DETAIL_STEP  # length of a tile along the road's middle: 3.5 units
WHEELBASE = 3.24  # front axle to rear axle, units
WHEEL_LOCK = 0.4  # the front wheels turn no further, rad; a steering action of 0.4 gets there
GRIP = 219.0  # the most that four tyres on the road can accelerate the car by, units/s²
BRAKE_FULL = 0.18  # braking harder than this only locks the wheels

AHEAD = 10  # tiles of road ahead that the driver knows: 35 units
BEHIND = 6  # and behind: 21 units


STEER_KEY, GAS_KEY, BRAKE_KEY = 0.5, 0.2, 0.1  # what a key stands for
KEY_TIME = 0.06  # the driver on keys thinks this far ahead, s
WHEEL_RATE = 3.0  # the wheels turn this fast, rad/s


def mountain_car_expert(observation: np.ndarray) -> int:
    """Push the way the car rolls: 0 (left), 1 (nothing, at velocity zero) or 2 (right).

    ``observation`` is MountainCar-v0's: float32, shape (2,), position and velocity.
    """
    return int(np.sign(observation[1])) + 1


def off_centre(env: gym.Env) -> float:
    """How far the car is from the road's middle, in half road widths: 0 middle, 1 the edge."""
    car, track = env.unwrapped.car, env.unwrapped.track  # type: ignore[attr-defined]
    road = np.array(track)[:, 2:4]
    start = np.roll(road, 1, axis=0)
    piece = road - start
    at = np.array(car.hull.position) - start
    share = np.clip((at * piece).sum(1) / (piece * piece).sum(1), 0, 1)
    return float(np.linalg.norm(at - share[:, None] * piece, axis=1).min() / HALF_ROAD)


@dataclass(frozen=True)
class Gains:
    """How the driver drives; found by ``python -m helpers.tune``."""

    margin: float = 1.8  # the line keeps this far from the road's edges, units
    shorten: float = 0.02  # how much a short line counts against a straight one, 1
    look_base: float = 5.0  # look-ahead at a standstill, units
    look_time: float = 0.12  # look-ahead grows with speed, s
    steer_gain: float = 1.2  # wheel angle per angle of pure pursuit, 1
    yaw_gain: float = 0.03  # steers against rotation that the path does not ask for, s
    slip_gain: float = 0.2  # steers into a slide: wheel angle per side slip angle, 1
    brake_share: float = 0.7  # share of the planned grip that braking may take, 1
    speed_gain: float = 0.1  # pedal per unit/s of missing or excess speed, s/unit
    gas_most: float = 0.8  # the most gas, 1
    gas_steer: float = 1.5  # gas is cut by this much per rad of steering, 1/rad
    gas_slip: float = 2.0  # and per rad of side slip, 1/rad
    top_speed: float = 100.0  # at pace 1, units/s


GAINS = Gains()
DEFAULT_PACE = 0.55
RACER_PACE = 0.6


def racing_lines(
    middle: np.ndarray, right: np.ndarray, gains: Gains, passes: int = 150
) -> np.ndarray:
    W = BEHIND + AHEAD + 1
    tiles = (np.arange(len(middle))[:, None] + np.arange(-BEHIND, AHEAD + 1)) % len(middle)
    bend = np.diff(np.eye(W), 2, axis=0)
    pull = np.diff(np.eye(W), 1, axis=0) * math.sqrt(gains.shorten)
    ops = np.concatenate([bend, pull])
    A = ops[None, None] * right[tiles].transpose(0, 2, 1)[:, :, None, :]  # (N,2,K,W)
    b = np.einsum("kw,nwd->ndk", ops, middle[tiles])
    H = np.einsum("ndkw,ndkv->nwv", A, A)
    g = np.einsum("ndkw,ndk->nw", A, b)
    step = 1.0 / (16.0 + 4.0 * gains.shorten)
    room = HALF_ROAD - gains.margin
    e = np.zeros(g.shape)
    y = e
    t = 1.0
    for _ in range(passes):
        new = np.clip(y - step * (np.matmul(H, y[..., None])[..., 0] + g), -room, room)
        t2 = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y = new + (t - 1) / t2 * (new - e)
        e, t = new, t2
    return middle[tiles] + e[..., None] * right[tiles]


class RacingDriver:
    def __init__(self, env: gym.Env, pace: float = DEFAULT_PACE, gains: Gains = GAINS) -> None:
        self.env = env
        self.pace = pace
        self.gains = gains
        self._track: object = None

    def _read_track(self) -> None:
        track = self.env.unwrapped.track  # type: ignore[attr-defined]
        if track is self._track:
            return
        self._track = track
        road = np.array(track)
        self._middle = road[:, 2:4]
        self._right = np.stack([np.cos(road[:, 1]), np.sin(road[:, 1])], axis=1)
        self._lines = racing_lines(self._middle, self._right, self.gains)

    def _line_ahead(self, x: float, y: float, hx: float, hy: float) -> np.ndarray:
        dx = self._middle[:, 0] - x
        dy = self._middle[:, 1] - y
        r = self._right
        along = hy * r[:, 0] - hx * r[:, 1]  # heading . tangent(-ry... )
        i = int(np.argmin(dx * dx + dy * dy + 60.0 * (1.0 - along)))
        tx, ty = -r[i, 1], r[i, 0]
        f = -(dx[i] * tx + dy[i] * ty) / TILE
        N = len(r)
        if f < 0:
            i, f = (i - 1) % N, f + 1.0
        f = min(max(f, 0.0), 1.0)
        a = self._lines[i, BEHIND - 1 : BEHIND + AHEAD]
        b = self._lines[(i + 1) % N, BEHIND - 2 : BEHIND + AHEAD - 1]
        return (1 - f) * a + f * b

    def __call__(self, observation: object = None) -> np.ndarray:
        self._read_track()
        g = self.gains
        hull = self.env.unwrapped.car.hull  # type: ignore[attr-defined]
        x, y = hull.position
        fx, fy = -math.sin(hull.angle), math.cos(hull.angle)
        vx, vy = hull.linearVelocity
        forward = vx * fx + vy * fy
        sideways = vx * fy - vy * fx  # to the right
        speed = max(forward, 0.0)
        slip = math.atan2(sideways, max(forward, 5.0))
        line = self._line_ahead(x, y, fx, fy)
        # rear axle
        # distances along the line
        seg = np.diff(line, axis=0)
        length = np.sqrt((seg * seg).sum(1))
        d = np.concatenate([[0.0], np.cumsum(length)])
        # projection of car on the line
        # smooth: project onto chord of points 0..3
        chord = line[3] - line[0]
        cl = math.hypot(*chord)
        here = (np.array([x, y]) - line[0]) @ chord / cl * d[3] / cl
        # speed
        turn = (seg[:-1, 0] * seg[1:, 1] - seg[:-1, 1] * seg[1:, 0]) / (
            length[:-1] * length[1:] * 0.5 * (length[:-1] + length[1:])
        )
        grip = self.pace * GRIP
        v2 = grip / np.maximum(np.abs(turn), 1e-3)
        ahead = np.maximum(d[1:-1] - here, 0.0)
        allowed = math.sqrt(float(np.min(v2 + 2 * g.brake_share * grip * ahead)))
        allowed = min(allowed, g.top_speed * math.sqrt(self.pace))
        # pursuit
        look = g.look_base + g.look_time * speed
        tx = np.interp(here + look, d, line[:, 0])
        ty = np.interp(here + look, d, line[:, 1])
        rx, ry = tx - x, ty - y
        ahead_f = rx * fx + ry * fy
        ahead_r = rx * fy - ry * fx
        dist2 = rx * rx + ry * ry
        alpha = math.atan2(ahead_r, ahead_f)
        curvature = 2 * math.sin(alpha) / math.sqrt(dist2)
        if ahead_f < 0:
            curvature = math.copysign(2 / math.sqrt(dist2), ahead_r)
        allowed = min(allowed, math.sqrt(grip / max(abs(curvature), 1e-3)) * 1.2)
        wheel = g.steer_gain * math.atan(WHEELBASE * curvature)
        wheel += g.yaw_gain * (hull.angularVelocity + speed * curvature)
        wheel += g.slip_gain * slip
        steer = min(max(wheel, -WHEEL_LOCK), WHEEL_LOCK)
        gas = min(max(g.speed_gain * (allowed - speed), 0.0), g.gas_most)
        gas *= max(0.0, 1 - g.gas_steer * abs(steer) - g.gas_slip * abs(slip))
        brake = min(max(g.speed_gain * 0.1 * (speed - allowed), 0.0), BRAKE_FULL * 0.8)
        return np.array([steer, gas, brake], dtype=np.float32)


class KeyboardDriver(RacingDriver):
    def __init__(self, env: gym.Env, pace: float = DEFAULT_PACE, gains: Gains = GAINS) -> None:
        super().__init__(env, pace, gains)

    def __call__(self, observation: object = None) -> np.ndarray:
        steer, gas, brake = super().__call__(observation)
        wheel = -self.env.unwrapped.car.wheels[0].joint.angle  # type: ignore[attr-defined]
        best = 0.0
        error = math.inf
        for key in (0.0, -STEER_KEY, STEER_KEY):
            target = min(max(key, -WHEEL_LOCK), WHEEL_LOCK)
            move = min(max(target - wheel, -WHEEL_RATE * KEY_TIME), WHEEL_RATE * KEY_TIME)
            if abs(wheel + move - steer) < error - 1e-9:
                best, error = key, abs(wheel + move - steer)
        return np.array(
            [best, GAS_KEY * (gas > GAS_KEY / 2), BRAKE_KEY * (brake > BRAKE_KEY / 2)],
            dtype=np.float32,
        )
