# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model in torch, its file, and the scripts that convert, train, evaluate and compare models."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the project
