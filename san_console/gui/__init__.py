"""The console window: Qt and nothing else. It asks the engine for everything and waits for nothing."""
