"""Colours, type and the one style sheet of the window."""
