"""The published absorption vectors of hematoxylin, eosin and DAB; plain numbers, so that nothing is imported.

Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", Analytical and
Quantitative Cytology and Histology 23 (2001) 291-299.
"""

from __future__ import annotations

RUIFROK_HED: tuple[tuple[float, float, float], ...] = (
    (0.65, 0.70, 0.29),
    (0.07, 0.99, 0.11),
    (0.27, 0.57, 0.78),
)
"""Rows hematoxylin, eosin, DAB; columns the optical density of one unit of that stain in R, G, B."""
