"""The race car's teachers: a scripted driver, and the same driver on keys.

``RacingDriver`` reads the road and the car's state from the environment, never the picture. Yet
it looks no further ahead than the 96×96 picture shows: ``AHEAD`` tiles (35 units), where the
picture ends at 37. (Behind the car it uses ``BEHIND`` tiles, 21 units, more than can be seen.) What
a student can't see, it can't imitate. At each step, 50 times a second, it asks four questions:

1. Where am I on the road?
2. What is the straightest line through the stretch in view? (``racing_lines``)
3. How fast may I be here, to take every bend of that line? (``_allowed_speed``)
4. How do I turn the wheels to meet the line a little ahead? (pure pursuit: R. C. Coulter,
   "Implementation of the Pure Pursuit Path Tracking Algorithm", CMU-RI-TR-92-01, 1992)

It has no memory: the same state gives the same action, also on grass, askew or backwards, so it
can label what another driver got into. Lengths are in the environment's units (the road is 13.3
wide), times in seconds, angles in radians.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.box2d.car_racing import TRACK_DETAIL_STEP, CarRacing

from helpers.worlds.car_racing import HALF_ROAD

TILE = TRACK_DETAIL_STEP  # length of a tile along the road's middle: 3.5 units
WHEELBASE = 3.24  # front axle to rear axle, units
WHEEL_LOCK = 0.4  # the front wheels turn no further, rad; a steering action of 0.4 gets there
WHEEL_RATE = 3.0  # and turn this fast, rad/s
GRIP = 219.0  # the most by which four tyres on the road can change the car's velocity, units/s²

AHEAD, BEHIND = 9, 6  # tiles of road that the driver uses beyond its own two: 35 and 21 units
SWEEPS = 150  # steps of the search for the line; it bends 1% more than the best one, drives as well
STRAIGHT = 1e-3  # less curvature counts as this, 1/unit; grip allows it at any speed
SLIP_SPEED = 5.0  # below this speed a slide's angle is taken as at this speed, units/s
HEADING_WEIGHT = 60.0  # which stretch am I on? pointing the other way counts as √120 units off

# The pace of which students finish most laps (`python tools/tune.py --students`: each learns from
# 30 disturbed laps, and drives on 30 validation tracks). 0.45: 907 on average, 14 laps finished;
# 0.5: 918, 23; 0.55: 926, 28; 0.6: 925, 27; 0.65: 928, 27; 0.68: 928, 27; 0.75: 910, 17
DEFAULT_PACE = 0.55
RACER_PACE = 0.68  # a faster one, close to what the tyres can do
KEYBOARD_PACE = 0.45  # on keys it is less exact
STEER_KEY, GAS_KEY, BRAKE_KEY = 0.5, 0.2, 0.1  # what a key held down stands for
KEY_TIME = 0.06  # KeyboardDriver holds a key if that helps this far ahead, s


@dataclass(frozen=True)
class Gains:
    """How ``RacingDriver`` drives. ``python tools/tune.py`` searches for them."""

    margin: float = 2.39  # the line keeps this far from the road's edges, units
    shorten: float = 0.0278  # how much a short line counts against a straight one, 1
    look_ahead: float = 6.97  # the wheels aim this far ahead at a standstill, units
    look_time: float = 0.253  # and further with speed, s
    look_askew: float = 1.91  # and further when pointing away from the line, units
    steer_gain: float = 1.32  # wheel angle, per angle that pure pursuit asks for, 1
    yaw_gain: float = 0.0216  # wheel angle against rotation that the path doesn't need, s
    slip_gain: float = 0.0979  # wheel angle into a slide, per rad of side slip, 1
    top_speed: float = 108  # where no bend is in sight, at pace 1, units/s
    slow_askew: float = 1.08  # speed is divided by 1 + this × (1 − cosine of askew), 1
    brake_share: float = 0.631  # share of the planned grip that braking may count on, 1
    turn_share: float = 1.17  # of the speed at which the planned grip holds the pursued arc, 1
    gas_gain: float = 0.122  # gas per unit/s below the allowed speed, s/unit
    gas_slip: float = 1  # gas is cut by this share per rad of side slip, 1/rad
    spin_most: float = 20.4  # and to nothing when the driven wheels spin faster by this, units/s
    brake_gain: float = 0.0175  # brake per unit/s above the allowed speed, s/unit
    brake_most: float = 0.272  # and the most of it, 1


GAINS = Gains()


def racing_lines(middle: np.ndarray, right: np.ndarray, gains: Gains = GAINS) -> np.ndarray:
    """The straightest line through every stretch of road that a driver gets to see.

    ``middle`` (N, 2) float64 are the tiles' ends on the road's middle, ``right`` (N, 2) the unit
    vectors to its right. Returns (N, BEHIND + 1 + AHEAD, 2): entry i is the line over the tiles
    i − BEHIND … i + AHEAD, and depends on no other.

    The line lies e to the right of the middle. Of all e that keep ``margin`` from the edges it
    has the least Σ|second differences|² (it bends least) plus ``shorten`` × Σ|first
    differences|² (it is short): least squares in a box, solved for all stretches at once by
    ``SWEEPS`` steps of projected gradient descent with momentum (FISTA: Beck and Teboulle, 2009).
    """
    width = BEHIND + 1 + AHEAD
    tiles = (np.arange(len(middle))[:, None] + np.arange(-BEHIND, AHEAD + 1)) % len(middle)
    bends, steps = np.diff(np.eye(width), 2, axis=0), np.diff(np.eye(width), axis=0)
    differ = np.concatenate([bends, math.sqrt(gains.shorten) * steps])
    # per stretch and axis (x, y): the differences are fixed + matrix @ e
    matrix = differ * right[tiles].transpose(0, 2, 1)[:, :, None, :]
    fixed = (differ @ middle[tiles]).transpose(0, 2, 1)[..., None]
    transposed = matrix.transpose(0, 1, 3, 2)
    hessian, slope = (transposed @ matrix).sum(axis=1), (transposed @ fixed).sum(axis=1)
    # 1 / rate bounds what differences can grow by, squared: bends (1 + 2 + 1)², steps (1 + 1)²
    rate, room = 1 / (16 + 4 * gains.shorten), HALF_ROAD - gains.margin
    e = ahead = np.zeros((len(middle), width, 1))
    momentum = 1.0
    for _ in range(SWEEPS):
        new = np.clip(ahead - rate * (hessian @ ahead + slope), -room, room)
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead, e, momentum = new + (momentum - 1) / grown * (new - e), new, grown
    return middle[tiles] + e * right[tiles]


class _Car(NamedTuple):
    """What the driver reads from the car. The heading is a unit vector."""

    at: tuple[float, float]
    heading: tuple[float, float]
    speed: float  # forward, units/s
    slip: float  # angle between velocity and heading, positive when sliding to the right, rad
    yaw_rate: float  # positive to the left, rad/s
    spin: float  # how much faster the driven wheels roll than the car moves, units/s


class RacingDriver:
    """Drives CarRacing from the track and the car's state: observation → action.

    ``pace`` in (0, 1] is how aggressively it drives: the share of the tyres' grip that it plans
    with. ``DEFAULT_PACE`` is smooth, ``RACER_PACE`` near the limit: some grip goes into what no
    plan foresees, and from about 0.72 on the car slides past tiles. ``env`` is a CarRacing, wrapped
    or not; its resets are noticed. A pickled driver leaves it behind: set ``driver.env`` anew.

    Raises TypeError for another environment, ValueError for a pace that is no share.
    """

    def __init__(self, env: gym.Env, pace: float = DEFAULT_PACE, gains: Gains = GAINS) -> None:
        if not isinstance(getattr(env, "unwrapped", None), CarRacing):
            name = type(self).__name__
            raise TypeError(
                f"{name} drives one CarRacing and was given {env!r}; give it an environment made "
                "from FastCarRacing-v3, PhysicsOnly-v3 or CarRacing-v3"
            )
        if not 0 < pace <= 1:
            raise ValueError(f"pace is {pace}; it is a share of the tyres' grip, above 0 up to 1")
        self.env, self.pace, self.gains = env, pace, gains
        self._track: Any = None  # the track that the lines belong to

    def __getstate__(self) -> dict[str, Any]:
        return {"env": None, "pace": self.pace, "gains": self.gains, "_track": None}

    def __call__(self, observation: object = None) -> np.ndarray:
        """The action here and now: float32, shape (3,): steer −0.4…0.4, gas 0…1, brake 0…1.

        ``observation`` isn't used, but must not be another environment's picture.

        Raises ValueError where it is, gymnasium.error.ResetNeeded before the first reset.
        """
        car, gains = self._read(observation), self.gains
        tile, share = self._place(car)
        # From one tile back on, (AHEAD + 1, 2): between the lines of this tile and of the next.
        this, after = self._lines[tile], self._lines[(tile + 1) % len(self._lines)]
        line = (1 - share) * this[BEHIND - 1 : -1] + share * after[BEHIND - 2 : -2]
        step = np.diff(line, axis=0)
        length = np.sqrt((step * step).sum(axis=1))
        along = np.concatenate([[0.0], np.cumsum(length)])  # of each point, from the first
        here = along[1] + share * length[1]

        # Steer: an arc from here to the line a little ahead (its curvature positive to the right).
        askew = 1 - float(step[1] @ car.heading) / length[1]
        look = here + gains.look_ahead + gains.look_time * car.speed + gains.look_askew * askew
        # (in hairpins, and when fast, that is the end of the line: np.interp goes no further)
        aim_x = float(np.interp(look, along, line[:, 0])) - car.at[0]
        aim_y = float(np.interp(look, along, line[:, 1])) - car.at[1]
        in_front = aim_x * car.heading[0] + aim_y * car.heading[1]
        to_right = aim_x * car.heading[1] - aim_y * car.heading[0]
        distance = math.hypot(aim_x, aim_y)
        sine = to_right / distance if in_front > 0 else math.copysign(1.0, to_right)
        curvature = 2 * sine / distance
        wheel = gains.steer_gain * math.atan(WHEELBASE * curvature)
        wheel += gains.yaw_gain * (car.yaw_rate + car.speed * curvature)
        wheel += gains.slip_gain * car.slip
        steer = min(max(wheel, -WHEEL_LOCK), WHEEL_LOCK)

        # Pedals: in proportion to the speed that is missing or too much.
        allowed = self._allowed_speed(step, length, along[1:-1] - here, share)
        grip_here = self.pace * GRIP / max(abs(curvature), STRAIGHT)
        allowed = min(allowed, gains.turn_share * math.sqrt(grip_here))
        missing = allowed / (1 + gains.slow_askew * askew) - car.speed
        straight = max(0.0, 1 - (car.speed**2 * curvature / GRIP) ** 2)  # grip left by turning
        slide = max(0.0, 1 - gains.gas_slip * abs(car.slip))
        spin = max(0.0, 1 - car.spin / gains.spin_most)
        gas = min(max(gains.gas_gain * missing, 0.0), 1.0) * math.sqrt(straight) * slide * spin
        brake = min(max(-gains.brake_gain * missing, 0.0), gains.brake_most)
        return np.array([steer, gas, brake], dtype=np.float32)

    def _read(self, observation: object) -> _Car:
        env: Any = getattr(self.env, "unwrapped", None)
        if env is None or env.car is None:
            raise gym.error.ResetNeeded(
                "the driver needs an environment (driver.env) that was reset"
            )
        if self._is_foreign(observation, env.state):
            raise ValueError(
                f"this {type(self).__name__} is bound to another environment than the one whose "
                "picture it was given: bind it to the one that is driven"
            )
        if env.track is not self._track:  # a new episode
            self._track = env.track
            road = np.array(env.track)  # per tile: an angle, the road's angle, x, y
            self._middle = road[:, 2:4]
            self._right = np.stack([np.cos(road[:, 1]), np.sin(road[:, 1])], axis=1)
            self._lines = racing_lines(self._middle, self._right, self.gains)
        hull, rear = env.car.hull, env.car.wheels[2:]
        (x, y), (vx, vy) = hull.position, hull.linearVelocity
        hx, hy = -math.sin(hull.angle), math.cos(hull.angle)
        speed = vx * hx + vy * hy
        slip = math.atan2(vx * hy - vy * hx, max(speed, SLIP_SPEED))
        spin = sum(w.omega * w.wheel_rad for w in rear) / 2 - speed
        return _Car((x, y), (hx, hy), max(speed, 0.0), slip, hull.angularVelocity, max(spin, 0.0))

    def _is_foreign(self, observation: object, last: np.ndarray) -> bool:
        """Whether this is a picture, but not the last one. A wrapper may have changed it: no."""
        if observation is last or not isinstance(observation, np.ndarray):
            return False
        if observation.shape != last.shape or np.array_equal(observation, last):
            return False
        return not (self.env.spec and self.env.spec.additional_wrappers)

    def _place(self, car: _Car) -> tuple[int, float]:
        """Where on the road: the last tile end passed, and the share of the next tile done.

        The nearest tile end, where a stretch that runs the car's way is preferred: two stretches
        may lie side by side.
        """
        off, right = np.array(car.at) - self._middle, self._right
        agree = right @ (car.heading[1], -car.heading[0])  # cosine of heading and road
        nearest = (off * off).sum(axis=1) + HEADING_WEIGHT * (1 - agree)
        past = off[:, 1] * right[:, 0] - off[:, 0] * right[:, 1]
        tile = int(nearest.argmin())
        tile = tile if past[tile] >= 0 else tile - 1
        after = (tile + 1) % len(right)
        gap = past[tile] - past[after]  # the tile's length where the car is
        share = min(max(past[tile] / gap, 0.0), 1.0) if gap > 1e-6 else 0.0
        return tile % len(right), float(share)

    def _allowed_speed(
        self, step: np.ndarray, length: np.ndarray, ahead: np.ndarray, share: float
    ) -> float:
        """The most speed here with which the planned grip suffices at each point ahead.

        A bend of curvature κ allows v² = grip / |κ|; braking towards it, v² grows by twice the
        deceleration with each unit of distance. The bend that the car leaves fades out as the
        furthest one fades in, so that nothing jumps from tile to tile.
        """
        grip = self.pace * GRIP
        cross = step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0]
        bend = np.abs(cross) / (length[:-1] * length[1:] * (length[:-1] + length[1:]) / 2)
        bend[0] *= 1 - share
        bend[-1] *= share
        there = grip / np.maximum(bend, STRAIGHT)
        braked = there + 2 * self.gains.brake_share * grip * np.maximum(ahead, 0)
        return min(math.sqrt(braked.min()), self.gains.top_speed * math.sqrt(self.pace))


class KeyboardDriver(RacingDriver):
    """``RacingDriver`` with a human's keys: steer −0.5, 0 or 0.5, gas 0 or 0.2, brake 0 or 0.1.

    It holds the steering key that brings the wheels closest to the angle it wants ``KEY_TIME``
    from now: a key turns them to the lock, letting go turns them back.
    """

    def __init__(self, env: gym.Env, pace: float = KEYBOARD_PACE, gains: Gains = GAINS) -> None:
        super().__init__(env, pace, gains)

    def __call__(self, observation: object = None) -> np.ndarray:
        """The keys held here and now, as an action: float32, shape (3,)."""
        steer, gas, brake = super().__call__(observation)
        wheel = -self.env.unwrapped.car.wheels[0].joint.angle  # type: ignore[attr-defined]
        reach = WHEEL_RATE * KEY_TIME

        def error(key: float) -> float:
            held = min(max(key, -WHEEL_LOCK), WHEEL_LOCK)
            return abs(min(max(held, wheel - reach), wheel + reach) - float(steer))

        key = min((0.0, -STEER_KEY, STEER_KEY), key=error)
        pressed = gas > GAS_KEY / 2, brake > BRAKE_KEY / 2
        return np.array([key, GAS_KEY * pressed[0], BRAKE_KEY * pressed[1]], dtype=np.float32)
