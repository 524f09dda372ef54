"""Foundation models: their cards, where their weights lie, and how they are built."""
