"""From patch batches to embeddings in a store that proves it is whole."""
