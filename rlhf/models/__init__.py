"""The networks: language models, scalar heads, adapters, and their Hugging Face folders."""
