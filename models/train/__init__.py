# SPDX-License-Identifier: LGPL-2.1-or-later
"""From photos and captions to a model file."""
