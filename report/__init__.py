"""Predictions as pictures that a person can open."""
