"""From bags of embeddings to grades and attention."""
