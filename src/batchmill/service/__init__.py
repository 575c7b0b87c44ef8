"""What the house can do: one verb a file, speaking only to ports and core."""
