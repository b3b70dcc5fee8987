"""Makes all that a notebook would make on the spot (``make data``), and keeps what is there.

Into the reader's own data folder, or, with IL_DATA=folder, into one that many then share: the
notebooks read it where IL_SHARED names it. Interrupted, it goes on with the first part missing.
"""

from collections.abc import Callable

from tqdm.auto import tqdm

from helpers import prerequisites, sized

PARTS: dict[str, Callable[[], object]] = {
    "runs on Mountain Car": lambda: prerequisites.mountain_car_runs(sized(10_000, small=1_000)),
    "racing laps": lambda: prerequisites.racing_laps(sized(30, small=2)),
    "plain clone": prerequisites.plain_racing_clone,
    "disturbed clone": prerequisites.disturbed_racing_clone,
    "DAgger's student": prerequisites.racing_dagger,
}


def main() -> None:
    with tqdm(PARTS.items()) as bar:
        for name, make in bar:
            bar.set_description(name)
            make()


if __name__ == "__main__":
    main()
