"""Commands: what each of them does with a checked configuration."""
