"""From the engine's messages to Qt's signals."""
