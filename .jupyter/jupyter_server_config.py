"""jupyter_lab_config.json for a server that is started without it, by Binder or a hub.

Binder finds this file by itself, since the project is its home; a hub finds it where
JUPYTER_CONFIG_PATH names this folder. What opens first is theirs to say.
"""

import json
from pathlib import Path

c = get_config()  # noqa: F821
here = Path(__file__).resolve().parent
ours = json.loads((here.parent / "jupyter_lab_config.json").read_text(encoding="utf-8"))
c.merge(type(c)(ours | {"LabApp": {"app_settings_dir": str(here)}}))
