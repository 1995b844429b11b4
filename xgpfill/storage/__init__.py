"""Models and fields on disk: plain arrays and JSON, written whole or not at all."""
