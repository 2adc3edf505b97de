"""Compression techniques: tensors and modules in, tensors and modules out."""
