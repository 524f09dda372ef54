"""Stains: their optical density, and the colours of one slide made like another's."""
