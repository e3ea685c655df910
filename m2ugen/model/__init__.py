"""The model: encoders, adapters, language model, output projector, decoders, and the class that joins them.

Here belongs what computes with tensors. Reading files belongs to media and processor, the order of a request to
pipeline, losses' schedules and data to train.
"""
