"""What makes it move."""
