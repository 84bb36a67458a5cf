"""What the machine says of itself: its inventory, and (a file a family) its sensors."""
