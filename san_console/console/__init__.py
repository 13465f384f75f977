"""What the window and the command line share: no Qt, and no engine code either."""
