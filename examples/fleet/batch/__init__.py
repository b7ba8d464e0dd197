# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of archive.py.

inputs: what there is to be captioned. captioner: what a worker does. dataset: where rows go. work: who does what.
"""
