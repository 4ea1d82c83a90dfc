"""Distilling the configs that the toolkits ship, by ``pairs='auto'`` alone."""

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
