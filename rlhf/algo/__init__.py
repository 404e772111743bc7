"""The papers as pure functions: tensors and floats in, tensors and floats out."""
