# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cameras of a fleet: the parts of cameras.py, which says how they work together."""
