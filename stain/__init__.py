"""Stains as optical density."""
