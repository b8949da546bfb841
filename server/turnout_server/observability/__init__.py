"""What the service says of itself: logs, metrics, and the HTTP port on which they are asked for."""
