# SPDX-License-Identifier: LGPL-2.1-or-later
"""How fast the engine is, and how fast others are."""
