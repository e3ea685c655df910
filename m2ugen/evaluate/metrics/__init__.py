"""Metrics as plain functions of texts, arrays and embeddings; no model is loaded here but BERTScore's."""
