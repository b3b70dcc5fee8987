"""JupyterHub's settings for this series; README.md beside this file says where it goes."""

from pathlib import Path

c = get_config()  # noqa: F821
project = Path(__file__).resolve().parents[2]
CORES = 2  # for each learner, who then needs the memory that costs.csv was measured with

c.Spawner.cmd = [f"{project}/course/hub/start"]
c.Spawner.notebook_dir = "~/imitation-learning"
c.Spawner.default_url = "/lab/tree/notebooks/00-start-here.ipynb"
c.Spawner.environment = {
    "IL_SHARED": f"{project}/data",
    "IL_DATA": "~/imitation-learning/data",
    "JUPYTER_CONFIG_PATH": f"{project}/.jupyter",
    "LOKY_MAX_CPU_COUNT": str(CORES),
    "OMP_NUM_THREADS": "1",
}
c.Spawner.mem_limit = "2G"
c.Spawner.cpu_limit = CORES
