"""From a slide or a volume to a tissue mask, a patch grid and an ordered stream of patch batches."""
