"""Demonstrations to and from Minari, Farama's standard for data of reinforcement learning.

Needs ``pip install -e .[minari]``. Minari keeps its sets in ``~/.minari/datasets``, or where
``MINARI_DATASETS_PATH`` says; ``minari list local`` shows them. Taught in 09-scale-out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

from helpers.demonstrations import SAME_DATA, Demonstrations

OFF_THE_FIELD = -100  # CarRacing's reward where a lap ends, unfinished, beyond the field


def to_minari(demos: Demonstrations, dataset_id: str, **about: Any) -> minari.MinariDataset:
    """Keep demonstrations as a Minari set, equal to the bit.

    dataset_id  a name with a version, as "car-racing/clean-laps-v0"
    about       what `minari.create_dataset_from_buffers` takes beside: author, code_permalink, …

    In each episode Minari has an observation more than actions. The one after the last action was
    not recorded: a copy of the one before it takes its place. An episode that neither finished nor
    left the field counts as truncated, whether by the time limit or by who drove.

    Raises ValueError where there is a set of this name.
    """

    def episodes() -> Iterator[EpisodeBuffer]:
        for one in map(demos.__getitem__, range(len(demos))):
            last = np.arange(one.lengths[0]) == one.lengths[0] - 1
            ended = one.finished[0] or one.rewards[-1] == OFF_THE_FIELD
            yield EpisodeBuffer(
                seed=int(one.seeds[0]),
                observations=np.concatenate([one.observations, one.observations[-1:]]),
                actions=one.actions,
                rewards=one.rewards,
                terminations=last & ended,
                truncations=last & (not ended),
                infos={},
            )

    lossless = {"env": demos.env_id, "jpeg_encoding": False}  # by default, pictures lose detail
    dataset = minari.create_dataset_from_buffers(dataset_id, episodes(), **lossless, **about)
    dataset.storage.update_episode_metadata([{"source": str(name)} for name in demos.sources])
    return dataset


def from_minari(dataset_id: str) -> Demonstrations:
    """The demonstrations in a Minari set of one of our environments, whoever made it.

    A seed that wasn't kept is −1; where it isn't said who acted, it says the set's name.

    Raises FileNotFoundError for a set that isn't on this computer, DemonstrationsError for one of
    another environment.
    """
    dataset = minari.load_dataset(dataset_id)
    name = getattr(dataset.env_spec, "id", "none")
    about = list(dataset.storage.get_episode_metadata(dataset.episode_indices))
    episodes = list(dataset.iterate_episodes())
    return Demonstrations(
        SAME_DATA.get(name, name),
        np.concatenate([episode.observations[:-1] for episode in episodes]),
        np.concatenate([episode.actions for episode in episodes]),
        np.concatenate([episode.rewards for episode in episodes]).astype(np.float32),
        np.array([len(episode) for episode in episodes], np.int64),
        np.array([one.get("seed", -1) for one in about], np.int64),
        np.array([e.terminations[-1] and e.rewards[-1] != OFF_THE_FIELD for e in episodes]),
        np.array([one.get("source", dataset_id) for one in about], np.str_),
    )
