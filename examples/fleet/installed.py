# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the engine's default model and the GStreamer plugin are, without a setting.

setup.sh puts both into the virtual environment, and so does the container file. PALME_MODEL and GST_PLUGIN_PATH of the
environment come first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

MODEL = "palme-default.safetensors"


def model() -> str:
    """The path of the model file: PALME_MODEL, or the default model that setup.sh installed. FileNotFoundError otherwise."""
    named = os.environ.get("PALME_MODEL")
    path = Path(named) if named else Path(sys.prefix) / "share" / "palme" / MODEL
    if not path.is_file():
        remedy = "PALME_MODEL names it" if named else "run sh examples/fleet/setup.sh, or set PALME_MODEL"
        raise FileNotFoundError(f"{path}: there is no model file; {remedy}")
    return str(path)


def let_gstreamer_find_the_plugin() -> None:
    """Puts the plugin's folder onto GST_PLUGIN_PATH of this process; to be called before Gst.init()."""
    folder = Path(sys.prefix) / "lib" / "gstreamer-1.0"
    known = os.environ.get("GST_PLUGIN_PATH")
    if folder.is_dir() and str(folder) not in (known or "").split(os.pathsep):
        os.environ["GST_PLUGIN_PATH"] = os.pathsep.join(filter(None, [known, str(folder)]))
