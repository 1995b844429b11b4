"""Panels and maps, paper, ink and colours."""
