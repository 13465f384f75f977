"""The same as the window, through a terminal."""
