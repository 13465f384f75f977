"""Questions. Opened with `open()`, never with `exec()`: the window goes on while one is shown."""
