"""What scores a response: sources, each a model or a function, and their weighted sum."""
