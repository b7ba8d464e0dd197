# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checkpoints of our own training and of others as model files."""
