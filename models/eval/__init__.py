# SPDX-License-Identifier: LGPL-2.1-or-later
"""How good a model's captions are."""
